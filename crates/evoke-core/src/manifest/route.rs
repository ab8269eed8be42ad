//! Where requests on the data listener go.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Manifest;
use super::problem::did_you_mean;
use crate::cors::Cors;
use crate::id::{FunctionName, RouteName, VariantName};
use crate::redirect::Redirect;
use crate::upstream::Upstream;

/// A path, and who answers there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// What it is called, where it has a name of its own: see [`Route::id`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<RouteName>,
    /// `/orders/{id}`; a last `{*rest}` takes all further segments.
    pub path: String,
    /// Methods; empty means all.
    pub methods: Vec<String>,
    /// Who answers.
    pub to: RouteTarget,
    /// Which pages of other origins may read it, the app's rules included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
    /// What a request passes before, the outermost first: names of functions, decorators and experiments of the app.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decorators: Vec<FunctionName>,
}

/// Who answers the requests of a route. As JSON, a function is its name and everything else an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteTarget {
    /// Another server.
    Upstream(Box<Upstream>),
    /// Nobody: the client is sent elsewhere.
    Redirect(Redirect),
    /// One of several.
    Experiment {
        /// Its name.
        name: FunctionName,
        /// Where its variants lead, none of them to an experiment.
        variants: BTreeMap<VariantName, RouteTarget>,
    },
    /// A function of the app.
    #[serde(untagged)]
    Function(FunctionName),
}

impl RouteTarget {
    /// The function, if it is one.
    pub fn function(&self) -> Option<&FunctionName> {
        match self {
            Self::Function(name) => Some(name),
            Self::Upstream(_) | Self::Redirect(_) | Self::Experiment { .. } => None,
        }
    }

    /// How people call it: a function's or an experiment's name, or a URL.
    pub fn shown(&self) -> String {
        match self {
            Self::Function(name) | Self::Experiment { name, .. } => name.to_string(),
            Self::Upstream(upstream) => upstream.shown(),
            Self::Redirect(redirect) => redirect.to.to_string(),
        }
    }
}

impl Route {
    /// What tells it from the other routes of its app, across deployments: its name, or else `/orders/{id}`, or
    /// `POST /orders/{id}` where it does not take all methods.
    pub fn id(&self) -> String {
        match (&self.name, self.methods.as_slice()) {
            (Some(name), _) => name.to_string(),
            (None, []) => self.path.clone(),
            (None, methods) => format!("{} {}", methods.join(","), self.path),
        }
    }

    /// The experiments on its way, the outermost first.
    pub fn experiments<'m>(&'m self, manifest: &'m Manifest) -> impl Iterator<Item = &'m FunctionName> {
        let before = self.decorators.iter().filter(|name| manifest.experiments.contains_key(*name));
        let end = match &self.to {
            RouteTarget::Experiment { name, .. } => Some(name),
            _ => None,
        };
        before.chain(end)
    }
}

/// Why a text does not say which route is meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnclearRoute {
    /// None is called so.
    #[error("no route is called {called:?}; {hint}")]
    Unknown {
        /// What was written.
        called: String,
        /// What could be meant.
        hint: String,
    },
    /// Several have that path.
    #[error("several routes have the path {path}: {}", .ids.join("; "))]
    Several {
        /// The path.
        path: String,
        /// What they are called.
        ids: Vec<String>,
    },
}

impl Manifest {
    /// The route that somebody calls so: by its id, or by its path where no other has it.
    pub fn route(&self, called: &str) -> Result<&Route, UnclearRoute> {
        if let Some(route) = self.routes.iter().find(|route| route.id() == called) {
            return Ok(route);
        }
        let mut with_path = self.routes.iter().filter(|route| route.path == called);
        match (with_path.next(), with_path.next()) {
            (Some(route), None) => Ok(route),
            (None, _) => {
                let ids: Vec<String> = self.routes.iter().map(Route::id).collect();
                let hint = did_you_mean(called, ids.iter().map(String::as_str));
                let hint = hint.unwrap_or_else(|| "the app has no routes".to_owned());
                Err(UnclearRoute::Unknown { called: called.to_owned(), hint })
            }
            (Some(_), Some(_)) => {
                let ids = self.routes.iter().filter(|route| route.path == called).map(Route::id).collect();
                Err(UnclearRoute::Several { path: called.to_owned(), ids })
            }
        }
    }
}

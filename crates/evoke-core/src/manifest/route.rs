//! Where requests on the data listener go.

use serde::{Deserialize, Serialize};

use crate::cors::Cors;
use crate::id::FunctionName;
use crate::redirect::Redirect;
use crate::upstream::Upstream;

/// A path, and who answers there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// `/orders/{id}`; a last `{*rest}` takes all further segments.
    pub path: String,
    /// Methods; empty means all.
    pub methods: Vec<String>,
    /// Who answers.
    pub to: RouteTarget,
    /// Which pages of other origins may read it, the app's rules included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
    /// What a request passes before, the outermost first: names of functions of the app.
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
    /// A function of the app.
    #[serde(untagged)]
    Function(FunctionName),
}

impl RouteTarget {
    /// The function, if it is one.
    pub fn function(&self) -> Option<&FunctionName> {
        match self {
            Self::Function(name) => Some(name),
            Self::Upstream(_) | Self::Redirect(_) => None,
        }
    }
}

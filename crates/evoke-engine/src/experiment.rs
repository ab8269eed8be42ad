//! Experiments on routes: where a request's way splits, and which variant has been made the only one.
//!
//! A promotion is of one experiment on one route. It is durable, holds from the moment it is acknowledged, and outlives
//! deployments for as long as the manifest still has that experiment on that route with that variant: whoever promotes and has
//! not committed the change yet must not get the losers back by deploying something else. It ends with the deployment that no
//! longer has it, or by [`Engine::demote`].

mod promotion;
mod split;

use std::sync::Arc;

use evoke_core::id::{AppName, FunctionName, VariantName};
use evoke_core::manifest::{Manifest, Route, UnclearRoute};
use evoke_core::store::StoreError;
use evoke_core::time::Timestamp;
use evoke_core::weights::Point;

use crate::Engine;
use crate::deploy::Deployment;
pub(crate) use promotion::{Promotions, ended, follow, load, reload};
pub use split::{Split, Way};

/// A variant that has been made the only one of its experiment on a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promotion {
    /// The route's id.
    pub route: String,
    /// The experiment.
    pub experiment: FunctionName,
    /// The variant.
    pub variant: VariantName,
    /// Since when.
    pub promoted_at: Timestamp,
}

/// Why nothing was promoted or demoted.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PromoteError {
    /// The app is not deployed.
    #[error("app {0} is not deployed")]
    NoApp(AppName),
    /// It is not clear which route is meant.
    #[error(transparent)]
    Route(#[from] UnclearRoute),
    /// The route has no experiment, or none of that name.
    #[error("route {route} has no experiment{}{}", named(.experiment.as_ref()), others(.known))]
    NoExperiment {
        /// The route.
        route: String,
        /// What was asked for.
        experiment: Option<FunctionName>,
        /// The experiments it has.
        known: Vec<FunctionName>,
    },
    /// None of the route's experiments has such a variant.
    #[error("no experiment on route {route} has a variant {variant}; they have {}", .known.join(", "))]
    NoVariant {
        /// The route.
        route: String,
        /// What was asked for.
        variant: VariantName,
        /// What there is: `experiment/variant`.
        known: Vec<String>,
    },
    /// Several could be meant.
    #[error("route {route} has several experiments that could be meant; say which: {}", .experiments.join(", "))]
    Ambiguous {
        /// The route.
        route: String,
        /// Their names.
        experiments: Vec<String>,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn named(experiment: Option<&FunctionName>) -> String {
    experiment.map(|name| format!(" {name}")).unwrap_or_default()
}

fn others(names: &[FunctionName]) -> String {
    match names {
        [] => String::new(),
        names => {
            format!("; it has {}", names.iter().map(FunctionName::as_str).collect::<Vec<_>>().join(", "))
        }
    }
}

impl Engine {
    /// Makes a variant the only one of its experiment on a route, at once and durably. Says what was promoted before, which may be
    /// the same. `experiment` may be left out where only one on the route has a variant of that name.
    pub async fn promote(
        &self,
        app: &AppName,
        route: &str,
        experiment: Option<&FunctionName>,
        variant: &VariantName,
    ) -> Result<(Promotion, Option<VariantName>), PromoteError> {
        let inner = &self.0;
        let _turn = inner.directory.changing.lock().await;
        let deployment = deployed(self, app)?;
        let (manifest, route) = (&deployment.manifest, deployment.manifest.route(route)?);
        let candidates = candidates(manifest, route, experiment)?;
        let with = candidates.iter().filter(|name| manifest.experiments[**name].position(variant).is_some());
        let experiment = match with.copied().collect::<Vec<_>>().as_slice() {
            [one] => (*one).clone(),
            [] => {
                let all = candidates.iter().flat_map(|name| {
                    let variants = &manifest.experiments[*name].variants;
                    variants.iter().map(move |variant| format!("{name}/{}", variant.name))
                });
                let (route, known) = (route.id(), all.collect());
                return Err(PromoteError::NoVariant { route, variant: variant.clone(), known });
            }
            several => return Err(ambiguous(route, several)),
        };
        let promoted_at = inner.now();
        let promotion = Promotion { route: route.id(), experiment, variant: variant.clone(), promoted_at };
        let before = inner.promotions.of(app, &promotion.route, &promotion.experiment);
        promotion::put(inner, app, &promotion).await?;
        Ok((promotion, before.map(|before| before.variant)))
    }

    /// Ends a promotion: the experiment on the route goes on with its weights. `None` when there was none.
    pub async fn demote(
        &self,
        app: &AppName,
        route: &str,
        experiment: Option<&FunctionName>,
    ) -> Result<Option<Promotion>, PromoteError> {
        let inner = &self.0;
        let _turn = inner.directory.changing.lock().await;
        let deployment = deployed(self, app)?;
        let (manifest, route) = (&deployment.manifest, deployment.manifest.route(route)?);
        let candidates = candidates(manifest, route, experiment)?;
        let id = route.id();
        let promoted = candidates.iter().filter_map(|name| inner.promotions.of(app, &id, name));
        match promoted.collect::<Vec<_>>().as_slice() {
            [] => Ok(None),
            [one] => {
                promotion::remove(inner, app, one).await?;
                Ok(Some(one.clone()))
            }
            several => Err(ambiguous(route, &several.iter().map(|one| &one.experiment).collect::<Vec<_>>())),
        }
    }

    /// What is promoted on an app's routes.
    pub fn promotions(&self, app: &AppName) -> Vec<Promotion> {
        self.0.promotions.of_app(app)
    }

    /// A point by chance.
    pub fn chance_point(&self) -> Point {
        Point(self.0.chance.lock().jitter.u64(..))
    }
}

fn deployed(engine: &Engine, app: &AppName) -> Result<Arc<Deployment>, PromoteError> {
    engine.app(app).ok_or_else(|| PromoteError::NoApp(app.clone()))
}

/// The experiments on the route, or the one that is asked for.
fn candidates<'m>(
    manifest: &'m Manifest,
    route: &'m Route,
    asked: Option<&FunctionName>,
) -> Result<Vec<&'m FunctionName>, PromoteError> {
    let all: Vec<&FunctionName> = route.experiments(manifest).collect();
    let found: Vec<_> = all.iter().copied().filter(|name| asked.is_none_or(|asked| asked == *name)).collect();
    if found.is_empty() {
        let known = all.into_iter().cloned().collect();
        return Err(PromoteError::NoExperiment { route: route.id(), experiment: asked.cloned(), known });
    }
    Ok(found)
}

fn ambiguous(route: &Route, several: &[&FunctionName]) -> PromoteError {
    let experiments = several.iter().map(ToString::to_string).collect();
    PromoteError::Ambiguous { route: route.id(), experiments }
}

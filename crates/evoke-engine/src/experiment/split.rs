//! A place on a route's way where requests take one of several.

use std::sync::Arc;

use evoke_core::experiment::Experiment;
use evoke_core::id::{AppName, FunctionName, VariantName};
use evoke_core::weights::{Point, Weights};

use crate::Engine;
use crate::route::{Decorator, Destination};

/// An experiment as it stands on one route.
#[derive(Debug)]
pub struct Split {
    /// The app.
    pub app: AppName,
    /// The route's id.
    pub route: String,
    /// The experiment's name.
    pub name: FunctionName,
    /// What the manifest says of it.
    pub experiment: Experiment,
    /// Where each of its variants leads, by position.
    pub ways: Vec<Way>,
    weights: Weights,
}

/// Where a variant leads.
#[derive(Debug, Clone)]
pub enum Way {
    /// Past these, and then on along the route.
    Decorators(Arc<[Decorator]>),
    /// To what answers.
    To(Destination),
}

impl Split {
    /// `None` when nothing could be chosen, which no manifest that was checked has.
    pub(crate) fn new(
        app: &AppName,
        route: String,
        name: &FunctionName,
        experiment: &Experiment,
        ways: Vec<Way>,
    ) -> Option<Self> {
        let weights = experiment.weights().ok()?;
        let (app, name, experiment) = (app.clone(), name.clone(), experiment.clone());
        Some(Self { app, route, name, experiment, ways, weights })
    }

    /// The position of the variant that a request with this point takes.
    pub fn choose(&self, point: Point) -> usize {
        self.weights.choose(point)
    }

    /// The point of the client that `key` stands for.
    pub fn point(&self, key: &[u8]) -> Point {
        Experiment::point(self.app.as_str(), self.name.as_str(), key)
    }

    /// The name of a variant.
    pub fn variant(&self, at: usize) -> &VariantName {
        &self.experiment.variants[at].name
    }
}

impl Engine {
    /// The position of the variant that has been made the only one there.
    pub fn promoted(&self, split: &Split) -> Option<usize> {
        let promotions = &self.0.promotions;
        if promotions.are_none() {
            return None;
        }
        let promotion = promotions.of(&split.app, &split.route, &split.name)?;
        split.experiment.position(&promotion.variant)
    }
}

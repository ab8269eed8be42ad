//! Decorators: what a request passes on its way along a route, and the answer on its way back.
//!
//! Each is asked in turn and goes on to the next by itself, or answers. The bodies stay here: a function that goes on without
//! having read one, or answers with the one it was answered with, only names it (`source`, `next`).

pub(crate) mod builtin;
mod function;
mod next;
mod source;

use std::sync::Arc;

use axum::body::Body as HttpBody;
use axum::response::Response;
use evoke_engine::next::Onward;
use evoke_engine::route::{Decorator, RouteMatch};
use futures_util::future::BoxFuture;
use http::{HeaderName, Request};

use crate::gateway::Shared;
use crate::problem::Refusal;
use crate::{data, experiment};

/// Names a body that is not sent along: `incoming` in a request to `/v1/next`, a number in answers.
pub(crate) const BODY: HeaderName = HeaderName::from_static("evoke-body");

/// A route that a request goes along.
pub(crate) struct Line {
    pub shared: Arc<Shared>,
    pub route: RouteMatch,
    /// The line it is a part of, and where on that it goes on.
    pub then: Option<(Arc<Line>, usize)>,
}

impl Line {
    /// All of a route.
    pub fn new(shared: Arc<Shared>, route: RouteMatch) -> Self {
        Self { shared, route, then: None }
    }

    /// Goes on from decorator `at`, or to what the route leads to. `from`: the decorator before, when it is a function. Dropping
    /// the future or the response's body ends all that was begun.
    pub fn go(
        self: Arc<Self>,
        at: usize,
        request: Request<HttpBody>,
        from: Option<Onward>,
    ) -> BoxFuture<'static, Result<Response, Refusal>> {
        Box::pin(async move {
            match self.route.decorators.get(at) {
                Some(Decorator::Function(name)) => {
                    function::answer(&self, at, name.clone(), request, from).await
                }
                Some(Decorator::BuiltIn(name, rule)) => {
                    builtin::answer(&self, at, (name, rule), request, from).await
                }
                Some(Decorator::Experiment(split)) => experiment::pass(&self, at, split, request, from).await,
                None if let Some((line, at)) = &self.then => line.clone().go(*at, request, from).await,
                None => data::reach(&self.shared, self.route.clone(), request, from).await,
            }
        })
    }
}

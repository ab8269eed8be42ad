//! Experiments on the way along a route: which variant a request takes, and copies for those that are shadows.
//!
//! One file a step: `sticky` finds what stands for the client, `tee` keeps what passes, `copy` asks shadows and compares. The
//! client's own request goes its way as if there were no copies.

mod copy;
mod sticky;
mod tee;

use std::sync::Arc;

use axum::body::Body as HttpBody;
use axum::response::Response;
use evoke_core::experiment::{Copied, Share};
use evoke_engine::experiment::{Split, Way};
use evoke_engine::next::Onward;
use evoke_engine::route::RouteMatch;
use futures_util::future::BoxFuture;
use http::header::{SET_COOKIE, VARY};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use tokio::sync::Semaphore;

use crate::client::Client;
use crate::decorate::Line;
use crate::figures::{Key, Series, Timing};
use crate::gateway::Shared;
use crate::problem::Refusal;
use copy::Copying;
use sticky::Stuck;

/// Says which variant of which experiment a request takes (`greeting=new`), to what is behind, and with the answer.
pub(crate) const VARIANT: HeaderName = HeaderName::from_static("evoke-variant");
/// Says that a request is a copy, and for whom.
pub(crate) const SHADOW: HeaderName = HeaderName::from_static("evoke-shadow");

/// Passes a request along one of the ways of `split`, which stands at `at` of the line.
pub(crate) fn pass(
    line: &Arc<Line>,
    at: usize,
    split: &Arc<Split>,
    request: Request<HttpBody>,
    from: Option<Onward>,
) -> BoxFuture<'static, Result<Response, Refusal>> {
    let (line, split) = (line.clone(), split.clone());
    Box::pin(async move { Crossing { line, at, split }.answer(request, from).await })
}

/// Answers a request with one of those that the route leads to.
pub(crate) fn reach(
    shared: &Arc<Shared>,
    route: RouteMatch,
    split: Arc<Split>,
    request: Request<HttpBody>,
    from: Option<Onward>,
) -> BoxFuture<'static, Result<Response, Refusal>> {
    let line = Arc::new(Line::new(shared.clone(), route));
    Box::pin(async move { Crossing { line, at: 0, split }.answer(request, from).await })
}

/// An experiment, met by a request.
#[derive(Clone)]
struct Crossing {
    line: Arc<Line>,
    at: usize,
    split: Arc<Split>,
}

impl Crossing {
    async fn answer(self, request: Request<HttpBody>, from: Option<Onward>) -> Result<Response, Refusal> {
        let (shared, split) = (&self.line.shared, &self.split);
        let (mut parts, body) = request.into_parts();
        let promoted = shared.engine.promoted(split);
        let https = parts.extensions.get::<Client>().is_some_and(|client| client.https);
        let stuck = match promoted {
            Some(_) => Stuck::default(),
            None => Stuck::of(&shared.engine, split, &parts.headers, https),
        };
        let at = promoted.unwrap_or_else(|| split.choose(stuck.point(&shared.engine)));
        let is_copy = parts.extensions.get::<Copied>().is_some();
        let shadows = if is_copy || promoted.is_some() { Vec::new() } else { self.shadows() };
        let (body, copying) = match shadows.is_empty() {
            true => (body, None),
            false => Copying::begin(&self, shadows, &parts, body, from.as_ref()),
        };
        self.name_variant(at, &mut parts.headers);
        let timing = Timing::begin(if is_copy { None } else { self.series(at) });
        let answer = self.way(at).go(0, Request::from_parts(parts, body), from).await;
        timing.end(match &answer {
            Ok(response) => response.status(),
            Err(refusal) => refusal.status(),
        });
        let mut response = match (answer, copying) {
            (Ok(response), None) => response,
            (Ok(response), Some(copying)) => copying.watch(response),
            (Err(refusal), copying) => {
                if let Some(copying) = copying {
                    copying.refused(refusal.status());
                }
                return Err(refusal);
            }
        };
        let headers = response.headers_mut();
        self.name_variant(at, headers);
        if let Some(cookie) = stuck.cookie.filter(|_| !is_copy) {
            headers.append(SET_COOKIE, cookie);
        }
        if let Some(field) = stuck.by {
            headers.append(VARY, field);
        }
        Ok(response)
    }

    /// The line from here on for those who take this way.
    fn way(&self, at: usize) -> Arc<Line> {
        let Line { shared, route, .. } = &*self.line;
        Arc::new(match &self.split.ways[at] {
            Way::Decorators(decorators) => Line {
                shared: shared.clone(),
                route: RouteMatch { decorators: decorators.clone(), ..route.clone() },
                then: Some((self.line.clone(), self.at + 1)),
            },
            Way::To(to) => {
                let route = RouteMatch { to: to.clone(), decorators: Arc::default(), ..route.clone() };
                Line::new(shared.clone(), route)
            }
        })
    }

    /// Variants that get a copy of this request.
    fn shadows(&self) -> Vec<usize> {
        let engine = &self.line.shared.engine;
        let is_due = |share| match share {
            Share::Weight(_) => false,
            Share::Shadow(100) => true,
            Share::Shadow(percent) => engine.chance_point().0 % 100 < u64::from(percent),
        };
        let variants = self.split.experiment.variants.iter().enumerate();
        variants.filter(|(_, variant)| is_due(variant.share)).map(|(at, _)| at).collect()
    }

    fn series(&self, at: usize) -> Option<Arc<Series>> {
        let Split { app, name, .. } = &*self.split;
        let variant = Some((name.clone(), self.split.variant(at).clone()));
        self.line.shared.series(&Key { app: app.clone(), route: self.line.route.id.clone(), variant })
    }

    fn name_variant(&self, at: usize, headers: &mut HeaderMap) {
        let text = format!("{}={}", self.split.name, self.split.variant(at));
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.append(VARIANT, value);
        }
    }
}

impl Shared {
    /// Places for copies of an experiment's requests, as it is deployed now.
    fn copyists(&self, split: &Split) -> Arc<Semaphore> {
        let most = split.experiment.copies.concurrency;
        let places = || Arc::new(Semaphore::new(most as usize));
        self.copyists.of(&self.engine, (&split.app, &split.name), &most, places).as_ref().clone()
    }

    /// Where something is counted; `None` when too much is already.
    pub(crate) fn series(&self, key: &Key) -> Option<Arc<Series>> {
        let is_deployed = |key: &Key| {
            let app = self.engine.app(&key.app);
            app.is_some_and(|app| app.manifest.routes.iter().any(|route| *route.id() == *key.route))
        };
        self.figures.of(key, self.engine.now(), is_deployed)
    }
}

//! A sync call whose state changed under it is made again, where nobody can tell (`docs/decisions/0025`).
//!
//! Of an attempt that ended in a state conflict nothing was kept. So it can be made again unless the function may have done
//! something that cannot be taken back, a connection to the outside or a call of another function, and for as long as its
//! request is there to be handed over once more. All attempts together have the time of one.

use std::time::Duration;

use evoke_core::body::Body;
use evoke_core::id::RunId;
use evoke_core::runtime::Request;
use evoke_core::store::RunQuery;
use http::{HeaderMap, Method};
use tokio::time::Instant;

use crate::engine::Inner;
use crate::route::Target;

/// Attempts of one call. Each conflict means that another call came through, so with as many at once as this, all do.
const ATTEMPTS_MAX: u32 = 8;
/// The longest pause before the second attempt; later ones are longer.
const PAUSE: Duration = Duration::from_millis(5);

/// Whether a call can be made again, and what it takes.
pub(super) struct Again {
    number: u32,
    /// The request, when it is whole and repeating it is safe.
    kept: Option<Kept>,
    timeout: Duration,
    /// When all attempts have to be over: the caller's own, then what the first attempt got.
    until: Option<Instant>,
}

struct Kept {
    method: Method,
    uri: String,
    headers: HeaderMap,
    params: Vec<(String, String)>,
    client: Option<String>,
    body: bytes::Bytes,
}

impl Again {
    pub fn new(target: &Target, request: &Request, deadline: Option<Instant>) -> Self {
        let settings = &target.settings;
        let kept = if settings.egress.is_empty() { Kept::of(request) } else { None };
        Self { number: 1, kept, timeout: settings.timeout, until: deadline }
    }

    /// The number of the attempt that is made.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// An attempt begins: when it has to be over, if that is before its own time limit.
    pub fn begin(&mut self) -> Option<Instant> {
        let whole = Instant::now() + self.timeout;
        let so_far = self.until;
        self.until = Some(so_far.map_or(whole, |until| until.min(whole)));
        so_far
    }

    /// Whether this attempt may be followed by another one.
    pub fn is_possible(&self) -> bool {
        self.kept.is_some() && self.number < ATTEMPTS_MAX
    }

    /// How long the next attempt may wait for an instance.
    pub fn patience(&self, patience: Instant) -> Instant {
        self.until.map_or(patience, |until| until.min(patience))
    }

    /// The request of the next attempt, after a pause; `None` when there is to be none.
    pub async fn next(&mut self, inner: &Inner) -> Option<Request> {
        if !self.is_possible() {
            return None;
        }
        let at = Instant::now() + PAUSE.mul_f64(f64::from(self.number) * inner.random());
        if self.until.is_some_and(|until| until <= at) {
            return None;
        }
        tokio::time::sleep_until(at).await;
        self.number += 1;
        self.kept.as_ref().map(Kept::request)
    }
}

impl Kept {
    fn of(request: &Request) -> Option<Self> {
        let Body::Full(body) = &request.body else { return None };
        let Request { method, uri, headers, params, client, .. } = request;
        Some(Self {
            method: method.clone(),
            uri: uri.clone(),
            headers: headers.clone(),
            params: params.clone(),
            client: client.clone(),
            body: body.clone(),
        })
    }

    fn request(&self) -> Request {
        let Self { method, uri, headers, params, client, body } = self;
        Request {
            method: method.clone(),
            uri: uri.clone(),
            headers: headers.clone(),
            params: params.clone(),
            client: client.clone(),
            body: Body::Full(body.clone()),
        }
    }
}

/// Whether the store has this run, whose effects it may have kept: then its own record of it is the right one. A store
/// that does not say so now says it later, and is not to be told the contrary.
pub(super) async fn is_kept(inner: &Inner, run: &RunId) -> bool {
    let query = RunQuery { id: Some(run.clone()), limit: 1, ..RunQuery::default() };
    inner.store.runs(&query).await.map_or(true, |found| !found.is_empty())
}

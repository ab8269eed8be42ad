//! What follows a decorator on its route. The gateway knows what that is; the engine knows who asks for it, and when that has to
//! be over.

use std::sync::Arc;
use std::time::Duration;

use evoke_core::record::Cause;
use evoke_core::runtime::{PlatformRequest, PlatformResponse};
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::Engine;
use crate::arrival::Arrival;
use crate::route::App;
use crate::trace::TraceParent;

/// Answers a decorator's requests to `/v1/next…` of the platform API, for as long as its attempt lasts: when that ends, what is
/// under way is dropped.
pub type Next = Arc<dyn Fn(PlatformRequest, Onward) -> BoxFuture<'static, PlatformResponse> + Send + Sync>;

/// Who goes on: the attempt of a decorator, as the cause of what follows.
#[derive(Clone)]
pub struct Onward {
    pub(crate) cause: Cause,
    /// The version of the app that goes on.
    pub(crate) of: Option<Arc<App>>,
    /// What follows has to be over by then.
    pub(crate) deadline: Instant,
}

impl Onward {
    /// What a copy of a request is caused by: what the request itself is, but marked, and with a time of its own. `from`: the
    /// decorator before, when it is a function; otherwise it came from outside as `arrival`.
    pub fn of_copy(engine: &Engine, from: Option<&Self>, arrival: &Arrival, timeout: Duration) -> Self {
        let cause = match from {
            Some(from) => from.cause.clone(),
            None => engine.0.cause_of_arrival(None, arrival),
        };
        let of = from.and_then(|from| from.of.clone());
        Self { cause: Cause { shadow: true, ..cause }, of, deadline: Instant::now() + timeout }
    }

    /// The same with another time by which what follows has to be over.
    pub fn until(&self, deadline: Instant) -> Self {
        Self { cause: self.cause.clone(), of: self.of.clone(), deadline }
    }

    /// The value of `traceparent` for what follows.
    pub fn traceparent(&self) -> String {
        TraceParent::header(&self.cause)
    }
}

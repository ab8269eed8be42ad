//! What follows a decorator on its route. The gateway knows what that is; the engine knows who asks for it, and when that has to
//! be over.

use std::sync::Arc;

use evoke_core::record::Cause;
use evoke_core::runtime::{PlatformRequest, PlatformResponse};
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::trace::TraceParent;

/// Answers a decorator's requests to `/v1/next…` of the platform API, for as long as its attempt lasts: when that ends, what is
/// under way is dropped.
pub type Next = Arc<dyn Fn(PlatformRequest, Onward) -> BoxFuture<'static, PlatformResponse> + Send + Sync>;

/// Who goes on: the attempt of a decorator, as the cause of what follows.
#[derive(Debug, Clone)]
pub struct Onward {
    pub(crate) cause: Cause,
    /// What follows has to be over by then.
    pub(crate) deadline: Instant,
}

impl Onward {
    /// The value of `traceparent` for what follows.
    pub fn traceparent(&self) -> String {
        TraceParent::header(&self.cause)
    }
}

//! A connector that does not take for ever, whatever it wraps.

use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::Uri;
use tower_service::Service;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// `inner`, given up after `limit`.
#[derive(Clone)]
pub(super) struct Timed<S> {
    pub inner: S,
    pub limit: Duration,
}

/// It was given up.
#[derive(Debug, thiserror::Error)]
#[error("no connection within {} ms", limit.as_millis())]
pub(super) struct TooLong {
    limit: Duration,
}

impl<S> Service<Uri> for Timed<S>
where
    S: Service<Uri, Error = BoxError>,
    S::Future: Send + 'static,
    S::Response: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<S::Response, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (connecting, limit) = (self.inner.call(uri), self.limit);
        Box::pin(async move {
            tokio::time::timeout(limit, connecting).await.unwrap_or_else(|_| Err(TooLong { limit }.into()))
        })
    }
}

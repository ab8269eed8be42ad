//! Servers behind routes: for each a pool of kept connections, and so many requests at once.
//!
//! One file a step: [`lent`] is the request's body on its way there, `exchange` sends and tries again, [`answer`] is the
//! answer's body on its way back.

mod answer;
mod connect;
mod exchange;
mod lent;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use evoke_core::egress::Reach;
use evoke_core::experiment::Copied;
use evoke_core::upstream::{Passing, Upstream, UpstreamError};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::client::{HEAD_BYTES_MAX, IDLE};
use crate::connect::{Connector, Dial};
use crate::trust::Trust;
use answer::Answer;
use connect::Timed;
use lent::Lent;

/// Connections to one server that are kept for the next request.
const IDLE_PER_UPSTREAM: usize = 32;
/// Pools that are remembered before those nobody uses are let go of.
const POOLS: usize = 256;

/// The pools of all upstreams. Clones share them.
#[derive(Clone)]
pub struct Upstreams(Arc<Inner>);

struct Inner {
    connector: HttpsConnector<Connector>,
    pools: Mutex<HashMap<Key, Arc<Pool>>>,
}

/// Routes with the same of these share connections, and the bound on requests. Copies have their own, so that no client waits for
/// one.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    origin: String,
    connect_timeout: Duration,
    concurrency: u32,
    copies: bool,
}

struct Pool {
    http: legacy::Client<Timed<HttpsConnector<Connector>>, Lent>,
    places: Arc<Semaphore>,
    size: usize,
}

impl Upstreams {
    /// Connects through `dial`.
    pub fn new(dial: Dial, trust: &Trust) -> Self {
        // An author who writes http wants it, as with `egress`; which addresses there are is the operator's part.
        let connector = Connector { dial, plain: Reach::Public }.with_tls(trust);
        Self(Arc::new(Inner { connector, pools: Mutex::default() }))
    }

    /// Sends a request and waits for the head of the answer. Dropping the future, or the answer's body, ends both.
    pub async fn forward(
        &self,
        upstream: &Upstream,
        request: Request<Passing>,
    ) -> Result<Response<Passing>, UpstreamError> {
        let pool = self.pool(upstream, request.extensions().get::<Copied>().is_some());
        let busy = |_| UpstreamError::Busy { limit: upstream.concurrency };
        let place = pool.places.clone().try_acquire_owned().map_err(busy)?;
        let end = upstream.total_timeout.map(|limit| (Instant::now() + limit, limit));
        let exchange = exchange::head(&pool.http, upstream, request);
        let response = match end {
            None => exchange.await?,
            Some((end, limit)) => {
                let what = "the answer's head was not there";
                let late = |_| UpstreamError::TimedOut { what, limit };
                tokio::time::timeout_at(end, exchange).await.map_err(late)??
            }
        };
        let place = Arc::new(place);
        let (mut parts, body) = response.into_parts();
        // An upgraded connection has no body to hold it.
        parts.extensions.insert(place.clone());
        let end = end.map(|(end, _)| end);
        let body = Answer::new(body, upstream.idle_timeout, end, place).boxed_unsync();
        Ok(Response::from_parts(parts, body))
    }

    fn pool(&self, upstream: &Upstream, copies: bool) -> Arc<Pool> {
        let Upstream { origin, connect_timeout, concurrency, .. } = upstream;
        let (connect_timeout, concurrency) = (*connect_timeout, *concurrency);
        let key = Key { origin: origin.clone(), connect_timeout, concurrency, copies };
        let mut pools = self.0.pools.lock();
        if pools.len() >= POOLS && !pools.contains_key(&key) {
            pools.retain(|_, pool| pool.places.available_permits() < pool.size);
        }
        pools.entry(key).or_insert_with(|| Arc::new(self.new_pool(upstream))).clone()
    }

    fn new_pool(&self, upstream: &Upstream) -> Pool {
        let concurrency = upstream.concurrency as usize;
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(concurrency.min(IDLE_PER_UPSTREAM))
            .http1_max_buf_size(HEAD_BYTES_MAX)
            .build(Timed { inner: self.0.connector.clone(), limit: upstream.connect_timeout });
        Pool { http, places: Arc::new(Semaphore::new(concurrency)), size: concurrency }
    }
}

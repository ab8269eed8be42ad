//! How many requests pass, of one client, of one value of a field, or of all.

use std::hash::{BuildHasher as _, RandomState};
use std::num::NonZeroU32;
use std::time::Duration;

use axum::body::Body as HttpBody;
use evoke_core::decorator::{Rate, RateBy};
use evoke_core::id::FunctionName;
use governor::clock::{Clock as _, DefaultClock};
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use http::Request;

use crate::client::Client;
use crate::problem::{Refusal, kind};
use crate::report::network;

/// Counted at once; when there are more, those that have been quiet are forgotten, and if that is not enough, newcomers count
/// as one.
const COUNTED: usize = 100_000;

/// A rate and who it counts. Values are kept as hashes nobody outside can choose.
pub(crate) struct Limiter {
    each: RateLimiter<u64, HashMapStateStore<u64>, DefaultClock>,
    hash: RandomState,
}

impl Limiter {
    pub fn new(rate: &Rate) -> Self {
        let requests = NonZeroU32::new(rate.requests).unwrap_or(NonZeroU32::MIN);
        let each = (rate.per / requests.get()).max(Duration::from_nanos(1));
        let quota = Quota::with_period(each).unwrap_or(Quota::per_second(requests)).allow_burst(requests);
        Self { each: RateLimiter::hashmap(quota), hash: RandomState::new() }
    }

    /// Counts one request, or says when to come again.
    pub fn admit(
        &self,
        name: &FunctionName,
        rate: &Rate,
        request: &Request<HttpBody>,
    ) -> Result<(), Refusal> {
        let mut key = match &rate.by {
            RateBy::All => 0,
            RateBy::Client => {
                let client = request.extensions().get::<Client>();
                self.hash.hash_one(client.map(|client| network(client.address)))
            }
            RateBy::Header(header) => self.hash.hash_one(request.headers().get(header)),
        };
        if self.each.len() > COUNTED {
            self.each.retain_recent();
            if self.each.len() > COUNTED {
                key = 0;
            }
        }
        let Err(until) = self.each.check_key(&key) else { return Ok(()) };
        let wait = until.wait_time_from(DefaultClock::default().now()).max(Duration::from_secs(1));
        let per = evoke_core::manifest::units::format_duration(rate.per);
        let detail = format!("decorator {name} lets {} requests pass in {per}", rate.requests);
        Err(Refusal::new(kind::RATE_LIMITED, detail).limit("rate", rate.requests.into()).retry_after(wait))
    }
}

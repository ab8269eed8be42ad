//! How much pages may report: so much a minute from one address, so much from all together.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use evoke_core::id::AppName;
use evoke_core::manifest::Beacon;
use governor::clock::{Clock, DefaultClock};
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use parking_lot::Mutex;

use crate::problem::{Refusal, kind};

/// Addresses remembered of one beacon before those that have been quiet are forgotten. More come only as fast as the
/// rate of all together lets them.
const ADDRESSES: usize = 10_000;

type All = RateLimiter<NotKeyed, InMemoryState, DefaultClock>;
type Each = RateLimiter<IpAddr, governor::state::keyed::HashMapStateStore<IpAddr>, DefaultClock>;

/// The rates of all beacons. There are as many as are deployed.
#[derive(Default)]
pub(crate) struct Rates(Mutex<HashMap<(AppName, String), Arc<Rate>>>);

struct Rate {
    rate: u32,
    rate_total: u32,
    all: All,
    each: Each,
}

impl Rates {
    /// Counts one report of `address`, or says when to come again.
    pub fn admit(&self, app: &AppName, beacon: &Beacon, address: IpAddr) -> Result<(), Refusal> {
        let rate = self.of(app, beacon);
        // All together first, so that what is refused is not remembered.
        let (limit, wait) = match rate.all.check() {
            Err(until) => {
                (("rate_total", beacon.rate_total), until.wait_time_from(DefaultClock::default().now()))
            }
            Ok(()) => match rate.each.check_key(&network(address)) {
                Err(until) => (("rate", beacon.rate), until.wait_time_from(DefaultClock::default().now())),
                Ok(()) => return Ok(()),
            },
        };
        let (name, limit) = limit;
        let detail = format!("the beacon {} takes {limit} reports a minute", beacon.path);
        let wait = wait.max(Duration::from_secs(1));
        Err(Refusal::new(kind::OVERLOADED, detail).limit(name, limit.into()).retry_after(wait))
    }

    fn of(&self, app: &AppName, beacon: &Beacon) -> Arc<Rate> {
        let mut rates = self.0.lock();
        let key = (app.clone(), beacon.path.clone());
        let known = rates
            .get(&key)
            .filter(|known| (known.rate, known.rate_total) == (beacon.rate, beacon.rate_total));
        if let Some(rate) = known {
            if rate.each.len() > ADDRESSES {
                rate.each.retain_recent();
            }
            return rate.clone();
        }
        let quota = |a_minute| Quota::per_minute(NonZeroU32::new(a_minute).unwrap_or(NonZeroU32::MIN));
        let rate = Arc::new(Rate {
            rate: beacon.rate,
            rate_total: beacon.rate_total,
            all: RateLimiter::direct(quota(beacon.rate_total)),
            each: RateLimiter::hashmap(quota(beacon.rate)),
        });
        rates.insert(key, rate.clone());
        rate
    }
}

/// One household has a whole /64 of IPv6.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address => address,
    }
}

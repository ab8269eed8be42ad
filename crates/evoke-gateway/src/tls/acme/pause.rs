//! How long an ACME server is left alone after a failure: later and later, and no sooner than it says (RFC 8555, 6.6).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use evoke_core::time::{Clock, Timestamp};
use http::header::{HeaderMap, RETRY_AFTER};
use parking_lot::Mutex;

use super::Fetch;

/// The first pause, doubled after each further failure up to the second.
const FIRST: Duration = Duration::from_secs(60);
const LAST: Duration = Duration::from_secs(6 * 60 * 60);
/// The longest that a server can put off the next try. The limits of Let's Encrypt let one more through within 34 hours.
const PUT_OFF_MAX: Duration = Duration::from_secs(48 * 60 * 60);

/// The pauses between tries.
pub(super) struct Pause {
    next: Duration,
    put_off: Arc<Mutex<Option<Timestamp>>>,
    clock: Arc<dyn Clock>,
}

impl Pause {
    /// Before the first try.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { next: FIRST, put_off: Arc::default(), clock }
    }

    /// Listens to what the server says of when to come again, in answers that refuse.
    pub fn listening(&self, fetch: Fetch) -> Fetch {
        let (put_off, clock) = (self.put_off.clone(), self.clock.clone());
        Arc::new(move |request| {
            let (answer, put_off, clock) = (fetch(request), put_off.clone(), clock.clone());
            Box::pin(async move {
                let answer = answer.await?;
                // An answer of success says when to ask for its state again, which is another matter.
                if answer.status().is_client_error() || answer.status().is_server_error() {
                    *put_off.lock() = told(answer.headers(), clock.now());
                }
                Ok(answer)
            })
        })
    }

    /// How long to pause after a failure.
    pub fn failed(&mut self) -> Duration {
        let told = self.put_off.lock().take().map(|until| until.since(self.clock.now()));
        let pause = self.next.max(told.unwrap_or_default().min(PUT_OFF_MAX));
        self.next = (self.next * 2).min(LAST);
        pause
    }

    /// Begins again from the first.
    pub fn succeeded(&mut self) {
        self.next = FIRST;
        *self.put_off.lock() = None;
    }
}

/// The time of a `Retry-After`: seconds, or a date (RFC 9110, 10.2.3).
fn told(headers: &HeaderMap, now: Timestamp) -> Option<Timestamp> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(now.after(Duration::from_secs(seconds).min(PUT_OFF_MAX)));
    }
    let at = httpdate::parse_http_date(text).ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(Timestamp(0).after(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_to_come_again_is_said_in_seconds_or_as_a_date_and_bounded() {
        let now = Timestamp::parse_rfc3339("2026-11-21T10:00:00Z").unwrap();
        let of = |text: &str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            told(&headers, now).map(|at| at.since(now))
        };
        assert_eq!(of("120"), Some(Duration::from_secs(120)));
        assert_eq!(of("Sat, 21 Nov 2026 11:00:00 GMT"), Some(Duration::from_secs(3600)));
        assert_eq!(of("99999999999999"), Some(PUT_OFF_MAX));
        assert_eq!((of("soon"), of("-1")), (None, None));
    }
}

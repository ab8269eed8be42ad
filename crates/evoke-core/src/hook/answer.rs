//! What an endpoint's answer means.

use std::time::{Duration, UNIX_EPOCH};

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};

use crate::time::Timestamp;

/// What an answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judged {
    /// It was delivered.
    Delivered,
    /// The endpoint wants no more, ever.
    Gone,
    /// It was not delivered.
    Failed {
        /// Not to be tried again before so long.
        retry_after: Option<Duration>,
    },
}

/// Judges an answer by its head, by the table of Standard Webhooks: 2xx is delivered, 410 is gone, all else has failed,
/// redirects too. With 429 and 503 `Retry-After` counts (RFC 9110, 10.2.3), seconds or a date, up to `longest`.
pub fn judge(status: StatusCode, headers: &HeaderMap, now: Timestamp, longest: Duration) -> Judged {
    if status.is_success() {
        return Judged::Delivered;
    }
    match status {
        StatusCode::GONE => Judged::Gone,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            let asked = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            Judged::Failed { retry_after: asked.and_then(|text| pause(text, now)).map(|p| p.min(longest)) }
        }
        _ => Judged::Failed { retry_after: None },
    }
}

/// The pause that a `Retry-After` asks for; none for what has passed or is neither form.
fn pause(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number has are for ever.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    let now = UNIX_EPOCH + Duration::from_millis(now.as_millis());
    date.duration_since(now).ok()
}

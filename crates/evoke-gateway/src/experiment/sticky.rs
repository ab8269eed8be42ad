//! What stands for a client, so that it keeps its variant.

use evoke_core::experiment::{Sticky, own_cookie};
use evoke_core::weights::Point;
use evoke_engine::Engine;
use evoke_engine::experiment::Split;
use http::header::COOKIE;
use http::{HeaderMap, HeaderName, HeaderValue};

/// How long a browser keeps the cookie that Evoke sets.
const COOKIE_AGE_S: u64 = 90 * 24 * 60 * 60;
/// Bytes of a value that stands for a client; of a longer one the beginning does.
const KEY_BYTES: usize = 4 << 10;

/// What was found of the client, and what the answer has to say of that.
#[derive(Default)]
pub(super) struct Stuck {
    point: Option<Point>,
    /// A cookie that it gets.
    pub cookie: Option<HeaderValue>,
    /// The field by which answers differ, for caches.
    pub by: Option<HeaderValue>,
}

impl Stuck {
    /// Finds what stands for the client. One that has nothing to keep its variant by has it by chance, but for a cookie that
    /// Evoke sets. `https`: what the client spoke, with a proxy that is trusted or with this server.
    pub fn of(engine: &Engine, split: &Split, headers: &HeaderMap, https: bool) -> Self {
        let point = |key: &[u8]| Some(split.point(&key[..key.len().min(KEY_BYTES)]));
        match &split.experiment.sticky {
            None => Self::default(),
            Some(Sticky::Header(name)) => {
                let value = headers.get(name).filter(|value| !value.is_empty());
                let by = HeaderValue::from_str(name).ok();
                Self { point: value.and_then(|value| point(value.as_bytes())), cookie: None, by }
            }
            Some(Sticky::Cookie(name)) => {
                let value = cookie(headers, name).filter(|value| !value.is_empty());
                let by = Some(COOKIE.into());
                Self { point: value.and_then(|value| point(value.as_bytes())), cookie: None, by }
            }
            Some(Sticky::OwnCookie) => {
                let (name, by) = (own_cookie(&split.name), Some(HeaderName::into(COOKIE)));
                if let Some(value) = cookie(headers, &name).filter(|value| is_own(value)) {
                    return Self { point: point(value.as_bytes()), cookie: None, by };
                }
                let value = format!("{:016x}{:016x}", engine.chance_point().0, engine.chance_point().0);
                // Over http a browser would not take one that is `Secure`.
                let secure = if https { "; Secure" } else { "" };
                let set =
                    format!("{name}={value}; Path=/; Max-Age={COOKIE_AGE_S}; HttpOnly; SameSite=Lax{secure}");
                Self { point: point(value.as_bytes()), cookie: HeaderValue::from_str(&set).ok(), by }
            }
        }
    }

    /// Where it is among the variants.
    pub fn point(&self, engine: &Engine) -> Point {
        self.point.unwrap_or_else(|| engine.chance_point())
    }
}

/// Whether Evoke could have made it.
fn is_own(value: &str) -> bool {
    value.len() == 32 && value.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// The first cookie of that name.
fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let fields = headers.get_all(COOKIE).iter().filter_map(|field| field.to_str().ok());
    let pairs = fields.flat_map(|field| field.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(|(other, _)| *other == name).map(|(_, value)| value.trim_matches('"')).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_cookie_of_the_name_counts_whichever_field_it_is_in() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_static("a=1; bb=2;b = 3"));
        headers.append(COOKIE, HeaderValue::from_static("c=\"4=4\"; b=5"));
        let found = |name| cookie(&headers, name);
        assert_eq!(
            (found("a"), found("bb"), found("c"), found("d")),
            (Some("1"), Some("2"), Some("4=4"), None)
        );
        assert_eq!(found("b"), Some("5"));
    }
}

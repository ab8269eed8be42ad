//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header-07): a structured-field string, and, as most clients send
//! it, the bare characters.

use http::header::{HeaderMap, HeaderName};

use crate::problem::{Refusal, kind};

const FIELD: HeaderName = HeaderName::from_static("idempotency-key");
const CHARACTERS_MAX: usize = 255;

/// The key, when there is one. `"k"` and `k` are the same key.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let mut values = headers.get_all(FIELD).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(refused("is given more than once"));
    }
    let text = value.to_str().map_err(|_| refused("has characters that are not visible ASCII"))?.trim();
    let key = match text.strip_prefix('"') {
        Some(rest) => unquote(rest)?,
        None => text.to_owned(),
    };
    if key.is_empty() {
        return Err(refused("is empty"));
    }
    if key.len() > CHARACTERS_MAX {
        return Err(
            refused("is longer than 255 characters").limit("idempotency_key_bytes", CHARACTERS_MAX as u64)
        );
    }
    if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(refused("has characters that are not visible ASCII"));
    }
    Ok(Some(key))
}

/// What stands in a structured-field string (RFC 9651, section 3.3.3) after its opening quote.
fn unquote(rest: &str) -> Result<String, Refusal> {
    let mut key = String::with_capacity(rest.len());
    let mut characters = rest.chars();
    loop {
        match characters.next() {
            Some('"') if characters.as_str().is_empty() => return Ok(key),
            Some('\\') => match characters.next() {
                Some(c @ ('"' | '\\')) => key.push(c),
                _ => return Err(refused("has a backslash that escapes neither a quote nor a backslash")),
            },
            Some('"') => return Err(refused("goes on after its closing quote")),
            Some(c) => key.push(c),
            None => return Err(refused("has no closing quote")),
        }
    }
}

fn refused(what: &str) -> Refusal {
    let rule = "it is 1 to 255 visible ASCII characters, bare or as a quoted string";
    Refusal::new(kind::INVALID_REQUEST, format!("header Idempotency-Key {what}: {rule}"))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn key(value: &[u8]) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(FIELD, HeaderValue::from_bytes(value).unwrap());
        idempotency_key(&headers).ok().flatten()
    }

    #[test]
    fn bare_and_quoted_keys_are_the_same_key() {
        assert_eq!(key(b"order-7").as_deref(), Some("order-7"));
        assert_eq!(key(b"\"order-7\"").as_deref(), Some("order-7"));
        assert_eq!(key(br#""a\"b\\c""#).as_deref(), Some(r#"a"b\c"#));
        assert_eq!(key(&[b'k'; 255]).map(|key| key.len()), Some(255));
    }

    #[test]
    fn keys_that_are_none_are_refused() {
        for bad in
            [&b""[..], b"\"\"", b"\"a", b"\"a\"b", b"\"a\\x\"", b"a b", b"\"a b\"", b"\xc3\xa4", &[b'k'; 256]]
        {
            assert_eq!(key(bad), None, "{:?}", String::from_utf8_lossy(bad));
        }
        let mut twice = HeaderMap::new();
        twice.append(FIELD, "a".parse().unwrap());
        twice.append(FIELD, "b".parse().unwrap());
        assert!(idempotency_key(&twice).is_err());
        assert!(matches!(idempotency_key(&HeaderMap::new()), Ok(None)));
    }
}

//! The header field `CDN-Loop` (RFC 8586): every server that forwards a request adds its name, so that one that comes back
//! is known by it.
//!
//! Evoke's entry has the depth of the chain as a parameter: `evoke-4f1c; depth=3`. Whoever forwards the field without
//! understanding it still brings the depth back.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The field's name.
pub const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");
const DEPTH: &str = "depth";

/// How deep the request already is, by the entries of the server `id`: the largest depth they name, or how many there are
/// when that is more. 0 when it has not been here.
pub fn depth(headers: &HeaderMap, id: &str) -> u32 {
    let values = headers.get_all(CDN_LOOP).iter().filter_map(|value| value.to_str().ok());
    let mine = values.flat_map(|value| value.split(',')).filter_map(|entry| {
        let mut parts = entry.split(';').map(str::trim);
        if !parts.next()?.eq_ignore_ascii_case(id) {
            return None;
        }
        let parameter = parts.filter_map(|part| part.split_once('=')).find(|(name, _)| name.trim() == DEPTH);
        Some(parameter.and_then(|(_, value)| value.trim().trim_matches('"').parse().ok()).unwrap_or(0))
    });
    let (count, deepest) =
        mine.fold((0_u32, 0_u32), |(count, deepest), depth: u32| (count + 1, deepest.max(depth)));
    count.max(deepest)
}

/// The entry of the server `id` for a request that leaves at `depth`.
pub fn entry(id: &str, depth: u32) -> String {
    format!("{id}; {DEPTH}={depth}")
}

/// Adds it after those the request came with, as the RFC asks.
pub fn add(headers: &mut HeaderMap, id: &str, depth: u32) {
    if let Ok(value) = HeaderValue::from_str(&entry(id, depth)) {
        headers.append(CDN_LOOP, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (CDN_LOOP, HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn the_depth_is_read_from_this_servers_entries_only() {
        assert_eq!(depth(&headers(&[]), "evoke-1"), 0);
        assert_eq!(depth(&headers(&["other, another; depth=9"]), "evoke-1"), 0);
        assert_eq!(depth(&headers(&["other; x=1, evoke-1; depth=3", "EVOKE-1;depth=\"5\""]), "evoke-1"), 5);
        assert_eq!(depth(&headers(&["evoke-1, evoke-1, evoke-1; depth=none"]), "evoke-1"), 3);
    }

    #[test]
    fn an_entry_that_was_added_is_found_again() {
        let mut fields = headers(&["other"]);
        add(&mut fields, "evoke-1", 7);
        assert_eq!(depth(&fields, "evoke-1"), 7);
        assert_eq!(fields.get_all(CDN_LOOP).iter().count(), 2);
    }
}

//! `CDN-Loop` (RFC 8586): how a chain goes on through other servers.
//!
//! A request that leaves a function says `evoke-0123456789ab;span=b7ad6b7169203331;depth=3`: this server's name, the attempt
//! that sent it, and how many invocations what it causes has before it. RFC 8586 wants every server on the way to pass the
//! field on and to add to it, so when the request comes back, however long the way was, it tells of itself. The span finds
//! the chain; the depth is for when nobody remembers the span any more.

/// The name of the header field.
pub const CDN_LOOP: &str = "cdn-loop";

/// Bytes of the field that are passed on; what is older is left out first.
const PASSED_ON_BYTES: usize = 2_048;

/// One time that a request left a function of this server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// The attempt that sent it.
    pub span: String,
    /// Invocations before what it causes.
    pub depth: u32,
}

impl Hop {
    /// The newest of `server` in a field value. `None` too for what this server never writes.
    pub fn last(field: &str, server: &str) -> Option<Self> {
        entries(field).filter_map(|entry| Self::read(entry, server)).last()
    }

    /// The field value of the requests that an attempt sends, which got `before` itself.
    pub fn after(&self, before: Option<&str>, server: &str) -> String {
        let Self { span, depth } = self;
        let own = format!("{server};span={span};depth={depth}");
        let mut passed: Vec<&str> = Vec::new();
        let mut room = PASSED_ON_BYTES.saturating_sub(own.len());
        let before: Vec<&str> = before.map(|field| entries(field).collect()).unwrap_or_default();
        for entry in before.into_iter().rev() {
            let Some(left) = room.checked_sub(entry.len() + 2) else { break };
            room = left;
            passed.push(entry);
        }
        passed.into_iter().rev().chain([own.as_str()]).collect::<Vec<_>>().join(", ")
    }

    fn read(entry: &str, server: &str) -> Option<Self> {
        let mut parts = entry.split(';').map(str::trim);
        if !parts.next()?.eq_ignore_ascii_case(server) {
            return None;
        }
        let (mut span, mut depth) = (None, None);
        for part in parts {
            match part.split_once('=')? {
                ("span", value) if is_span(value) => span = Some(value.to_owned()),
                ("depth", value) => depth = value.parse().ok(),
                _ => {}
            }
        }
        Some(Self { span: span?, depth: depth? })
    }
}

/// Entries that are not empty, trimmed. No name or parameter of this server has a comma or a quotation mark.
fn entries(field: &str) -> impl Iterator<Item = &str> {
    field.split(',').map(str::trim).filter(|entry| !entry.is_empty())
}

fn is_span(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(depth: u32) -> Hop {
        Hop { span: "b7ad6b7169203331".to_owned(), depth }
    }

    #[test]
    fn what_was_written_is_read_again_among_what_others_add() {
        let field = hop(3).after(Some("cdn.example;v=\"1\""), "evoke-1");
        assert_eq!(field, "cdn.example;v=\"1\", evoke-1;span=b7ad6b7169203331;depth=3");
        assert_eq!(Hop::last(&format!("{field}, other"), "evoke-1"), Some(hop(3)));
        let twice = hop(4).after(Some(&field), "evoke-1");
        assert_eq!(Hop::last(&twice, "Evoke-1"), Some(hop(4)));
        assert_eq!(Hop::last(&twice, "evoke-2"), None);
    }

    #[test]
    fn what_is_not_of_this_form_says_nothing() {
        for field in [
            "",
            ",",
            "evoke-1",
            "evoke-1;span=B7AD6B7169203331;depth=1",
            "evoke-1;depth=1",
            "evoke-1;span",
            ";;",
        ] {
            assert_eq!(Hop::last(field, "evoke-1"), None, "{field}");
        }
        assert_eq!(Hop::last("evoke-1;span=b7ad6b7169203331;depth=-1", "evoke-1"), None);
    }

    #[test]
    fn a_field_that_grows_too_long_loses_its_oldest_entries() {
        let long = (0..500).map(|n| format!("cdn{n}")).collect::<Vec<_>>().join(",");
        let field = hop(1).after(Some(&long), "evoke-1");
        assert!(field.len() <= PASSED_ON_BYTES, "{}", field.len());
        assert!(field.contains("cdn499, evoke-1;") && !field.contains("cdn0,"), "{field}");
    }
}

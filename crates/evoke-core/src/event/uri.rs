//! URI syntax (RFC 3986), checked and not interpreted: the `url` crate resolves and repairs, which would let
//! through what other receivers refuse.

/// Whether this is a `URI-reference`: absolute, or relative to something the receiver knows.
pub fn is_reference(text: &str) -> bool {
    match scheme(text) {
        Scheme::None => hierarchy(text),
        Scheme::Ends(at) => hierarchy(&text[at..]),
        Scheme::Broken => false,
    }
}

/// Whether this is a `URI`, which has a scheme.
pub fn is_absolute(text: &str) -> bool {
    match scheme(text) {
        Scheme::Ends(at) => hierarchy(&text[at..]),
        Scheme::None | Scheme::Broken => false,
    }
}

enum Scheme {
    /// The first segment has no colon.
    None,
    /// What follows the colon starts here.
    Ends(usize),
    /// The first segment has a colon, but what is before it is no scheme.
    Broken,
}

fn scheme(text: &str) -> Scheme {
    let first = &text[..text.find(['/', '?', '#']).unwrap_or(text.len())];
    let Some(colon) = first.find(':') else { return Scheme::None };
    let name = &first.as_bytes()[..colon];
    let starts = name.first().is_some_and(u8::is_ascii_alphabetic);
    if starts && name.iter().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b)) {
        Scheme::Ends(colon + 1)
    } else {
        Scheme::Broken
    }
}

/// `["//" authority] path ["?" query] ["#" fragment]`
fn hierarchy(text: &str) -> bool {
    let (text, fragment) = text.split_once('#').unwrap_or((text, ""));
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    let (authority, path) = match path.strip_prefix("//") {
        Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
        None => ("", path),
    };
    is_authority(authority) && only(path, b":@/") && only(query, b":@/?") && only(fragment, b":@/?")
}

fn is_authority(text: &str) -> bool {
    let (user, host) = text.rsplit_once('@').unwrap_or(("", text));
    let (host_ok, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((literal, port)) => (is_ip_literal(literal), port),
            None => return false,
        },
        None => {
            let (name, port) = host.split_at(host.find(':').unwrap_or(host.len()));
            (only(name, b""), port)
        }
    };
    let port_ok =
        port.is_empty() || port.strip_prefix(':').is_some_and(|p| p.bytes().all(|b| b.is_ascii_digit()));
    host_ok && port_ok && only(user, b":")
}

fn is_ip_literal(text: &str) -> bool {
    text.parse::<std::net::Ipv6Addr>().is_ok() || (text.starts_with(['v', 'V']) && only(text, b":"))
}

/// Only `unreserved`, `pct-encoded`, `sub-delims` and the characters in `more`.
fn only(text: &str, more: &[u8]) -> bool {
    let bytes = text.as_bytes();
    bytes.iter().enumerate().all(|(at, b)| match b {
        b'%' => bytes.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)),
        b => b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(b) || more.contains(b),
    })
}

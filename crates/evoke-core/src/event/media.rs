//! Media types (RFC 2046 with the token and quoted-string of RFC 9110), as far as events need to tell them apart.

/// Whether this is `type/subtype` with well-formed parameters.
pub fn is_media_type(text: &str) -> bool {
    let (essence, mut rest) = split(text);
    let Some((ty, subtype)) = essence.split_once('/') else { return false };
    if !is_token(ty) || !is_token(subtype) {
        return false;
    }
    while !rest.is_empty() {
        let Some((name, after)) = rest.split_once('=') else { return false };
        let Some(end) = value_end(after) else { return false };
        let tail = after[end..].trim_start_matches([' ', '\t']);
        if !is_token(name.trim_matches([' ', '\t'])) || !(tail.is_empty() || tail.starts_with(';')) {
            return false;
        }
        rest = tail.strip_prefix(';').unwrap_or_default();
    }
    true
}

/// Whether it declares JSON: subtype `json`, or one that ends in `+json`.
pub fn is_json(text: &str) -> bool {
    split(text).0.split_once('/').is_some_and(|(_, subtype)| {
        let subtype = subtype.as_bytes();
        subtype.eq_ignore_ascii_case(b"json") || ends_with(subtype, b"+json")
    })
}

/// Whether it declares text in UTF-8: `text/*` or XML, and no other charset.
pub fn is_utf8_text(text: &str) -> bool {
    let (essence, rest) = split(text);
    let essence = essence.as_bytes();
    let textual = essence.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"text/"))
        || essence.eq_ignore_ascii_case(b"application/xml")
        || ends_with(essence, b"+xml");
    textual && charset(rest).is_none_or(is_utf8_name)
}

/// The parameter `charset` declares something other than UTF-8 or its subset ASCII.
pub fn has_foreign_charset(text: &str) -> bool {
    charset(split(text).1).is_some_and(|name| !is_utf8_name(name))
}

/// `type/subtype`, and the parameters without their first semicolon.
pub fn split(text: &str) -> (&str, &str) {
    let (essence, rest) = text.split_once(';').unwrap_or((text, ""));
    (essence.trim_matches([' ', '\t']), rest)
}

fn charset(parameters: &str) -> Option<&str> {
    parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
    })
}

fn is_utf8_name(name: &str) -> bool {
    ["utf-8", "utf8", "us-ascii"].iter().any(|known| name.eq_ignore_ascii_case(known))
}

fn ends_with(text: &[u8], end: &[u8]) -> bool {
    text.len() >= end.len() && text[text.len() - end.len()..].eq_ignore_ascii_case(end)
}

/// Where the parameter value at the start of `text` ends.
fn value_end(text: &str) -> Option<usize> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([';', ' ', '\t']).unwrap_or(text.len());
        return is_token(&text[..end]).then_some(end);
    };
    let mut escaped = false;
    for (at, c) in quoted.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(at + 2),
            _ => {}
        }
    }
    None
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

//! The attribute rules: sections 3 ("Context Attributes") and 4 ("Type System") of the specification.

use std::borrow::Cow;

use super::{Attribute, CAUSATION_ID, CORRELATION_ID, Data, Event, EventError, media, uri};

/// Characters of an attribute name. The specification recommends 20 and sets no limit.
const NAME_CHARS_MAX: usize = 64;
/// Extension attributes of one event, besides those in [`ADDED`].
const EXTENSIONS_MAX: usize = 64;
/// Extensions Evoke adds to an event it accepts, which must not push that event over the bound.
const ADDED: [&str; 3] = [CORRELATION_ID, CAUSATION_ID, "traceparent"];
/// Names an extension cannot have: the context attributes, and `data`, which the specification reserves.
const RESERVED: [&str; 9] =
    ["specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema", "data"];

pub(super) fn event(event: &Event) -> Result<(), EventError> {
    text("id", &event.id)?;
    text("source", &event.source)?;
    text("type", &event.ty)?;
    if !uri::is_reference(&event.source) {
        return wrong("source", &event.source, "is no URI-reference (RFC 3986)");
    }
    optional("subject", event.subject.as_deref(), |_| true, "")?;
    optional(
        "time",
        event.time.as_deref(),
        is_rfc3339,
        "is no RFC 3339 timestamp such as 2026-11-21T01:42:00Z",
    )?;
    optional("dataschema", event.data_schema.as_deref(), uri::is_absolute, "is no absolute URI (RFC 3986)")?;
    let content_type = event.data_content_type.as_deref();
    optional(
        "datacontenttype",
        content_type,
        media::is_media_type,
        "is no media type such as application/json",
    )?;
    let count = event.extensions.keys().filter(|name| !ADDED.contains(&name.as_str())).count();
    if count > EXTENSIONS_MAX {
        return Err(EventError::new(format!("{count} extension attributes are more than {EXTENSIONS_MAX}")));
    }
    for (name, value) in &event.extensions {
        extension_name(name)?;
        if let Attribute::String(value) = value {
            characters(name, value)?;
        }
    }
    data_agrees(event.data.as_ref(), content_type)
}

/// At most 80 characters of `text`, for an error message.
pub(super) fn shortened(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(80) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

fn extension_name(name: &str) -> Result<(), EventError> {
    let wrong = |why: &str| Err(EventError::new(format!("extension attribute {:?} {why}", shortened(name))));
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
        return wrong("may only have the characters a-z and 0-9 in its name");
    }
    if name.len() > NAME_CHARS_MAX {
        return wrong("has more than 64 characters in its name");
    }
    if RESERVED.contains(&name) {
        return wrong("has a name that the specification reserves");
    }
    Ok(())
}

fn data_agrees(data: Option<&Data>, content_type: Option<&str>) -> Result<(), EventError> {
    match (data, content_type) {
        (Some(Data::Json(_)), Some(given)) if !media::is_json(given) => {
            wrong("datacontenttype", given, "is not JSON, but the data is a JSON value")
        }
        (Some(Data::Text(_)), None) => Err(EventError::new("data is text but there is no datacontenttype")),
        (Some(Data::Text(_)), Some(given)) if media::is_json(given) => {
            wrong("datacontenttype", given, "is JSON, but the data is text")
        }
        _ => Ok(()),
    }
}

fn optional(
    name: &str,
    value: Option<&str>,
    ok: impl Fn(&str) -> bool,
    rule: &str,
) -> Result<(), EventError> {
    let Some(value) = value else { return Ok(()) };
    text(name, value)?;
    if ok(value) { Ok(()) } else { wrong(name, value, rule) }
}

fn text(name: &str, value: &str) -> Result<(), EventError> {
    if value.is_empty() {
        return Err(EventError::new(format!("attribute {name} is empty")));
    }
    characters(name, value)
}

/// Section 4, "String": no control characters, no noncharacters. Rust's `str` has no surrogates.
fn characters(name: &str, value: &str) -> Result<(), EventError> {
    if value.bytes().all(|b| (0x20..0x7f).contains(&b)) {
        return Ok(());
    }
    match value.chars().find(|c| c.is_control() || is_noncharacter(*c)) {
        Some(bad) => {
            let code = u32::from(bad);
            Err(EventError::new(format!(
                "attribute {name} has the character U+{code:04X}, which is not allowed"
            )))
        }
        None => Ok(()),
    }
}

fn is_noncharacter(c: char) -> bool {
    let code = u32::from(c);
    (0xfdd0..=0xfdef).contains(&code) || code & 0xfffe == 0xfffe
}

fn wrong(name: &str, value: &str, rule: &str) -> Result<(), EventError> {
    Err(EventError::new(format!("attribute {name}: {:?} {rule}", shortened(value))))
}

/// RFC 3339 `date-time`, to the letter: also the leap second, and lower-case `t` and `z`.
fn is_rfc3339(text: &str) -> bool {
    fn number(digits: &[u8]) -> Option<u32> {
        digits.iter().try_fold(0, |sum, b| b.is_ascii_digit().then(|| sum * 10 + u32::from(b - b'0')))
    }
    fn check(text: &[u8]) -> Option<bool> {
        let (date_time, rest) = text.split_at_checked(19)?;
        let [y @ .., b'-', m0, m1, b'-', d0, d1, b'T' | b't', h0, h1, b':', n0, n1, b':', s0, s1] = date_time
        else {
            return None;
        };
        let year = number(y)?;
        let leap = year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
        let days = match number(&[*m0, *m1])? {
            2 if leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => return None,
        };
        let in_range = (1..=days).contains(&number(&[*d0, *d1])?)
            && number(&[*h0, *h1])? <= 23
            && number(&[*n0, *n1])? <= 59
            && number(&[*s0, *s1])? <= 60;
        let zone = match rest {
            [b'.', fraction @ ..] => {
                let digits = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
                fraction.get(digits..).filter(|_| digits > 0)?
            }
            zone => zone,
        };
        let zone_ok = match zone {
            [b'Z' | b'z'] => true,
            [b'+' | b'-', h0, h1, b':', m0, m1] => number(&[*h0, *h1])? <= 23 && number(&[*m0, *m1])? <= 59,
            _ => false,
        };
        Some(in_range && zone_ok)
    }
    check(text.as_bytes()).unwrap_or(false)
}

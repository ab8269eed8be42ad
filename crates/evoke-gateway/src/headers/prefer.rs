//! `Prefer: respond-async` and `Prefer: wait=` (RFC 7240).

use http::header::{HeaderMap, HeaderName, HeaderValue};

const PREFER: HeaderName = HeaderName::from_static("prefer");

/// What was done about them.
pub(crate) const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// The preference this module knows, as `Preference-Applied` names it.
pub(crate) const RESPOND_ASYNC: HeaderValue = HeaderValue::from_static("respond-async");

/// The sender does not want to wait for the answer, or not for longer than so many seconds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RespondAsync {
    /// Of `wait=`.
    pub wait: Option<u64>,
}

/// Whether the sender does not want to wait. What is applied with that is taken out, `wait=` included; other preferences stay
/// for the function.
pub(crate) fn take_respond_async(headers: &mut HeaderMap) -> Option<RespondAsync> {
    let values: Vec<String> =
        headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok()).map(str::to_owned).collect();
    let preferences: Vec<&str> = values.iter().flat_map(|value| split_quoted(value, ',')).collect();
    if !preferences.iter().any(|preference| is(preference, "respond-async")) {
        return None;
    }
    let wait = preferred_wait(headers);
    headers.remove(PREFER);
    let others =
        preferences.iter().filter(|preference| !is(preference, "respond-async") && !is(preference, "wait"));
    for preference in others {
        if let Ok(value) = HeaderValue::from_str(preference) {
            headers.append(PREFER, value);
        }
    }
    Some(RespondAsync { wait })
}

/// The seconds of `Prefer: wait=`, by which the sender wants an answer. Of several the first counts (RFC 7240, section 2).
pub(crate) fn preferred_wait(headers: &HeaderMap) -> Option<u64> {
    let values = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    let mut preferences = values.flat_map(|value| split_quoted(value, ','));
    let wait = preferences.find(|preference| name(preference).eq_ignore_ascii_case("wait"))?;
    let value = wait.split(';').next()?.split_once('=')?.1.trim().trim_matches('"');
    value.parse().ok()
}

/// Says that a wait was granted, if it was, beside what else is applied.
pub(crate) fn apply_wait(headers: &mut HeaderMap, seconds: Option<u64>) {
    if let Some(value) = seconds.and_then(|seconds| HeaderValue::from_str(&format!("wait={seconds}")).ok()) {
        headers.append(PREFERENCE_APPLIED, value);
    }
}

fn is(preference: &str, wanted: &str) -> bool {
    name(preference).eq_ignore_ascii_case(wanted)
}

/// The name of a preference: what stands before its value and its parameters.
fn name(preference: &str) -> &str {
    preference.split(['=', ';']).next().unwrap_or_default().trim()
}

/// The non-empty members of a list, trimmed; a separator within a quoted string separates nothing.
fn split_quoted(text: &str, separator: char) -> Vec<&str> {
    let (mut members, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            c if c == separator && !quoted => {
                members.push(&text[start..at]);
                start = at + c.len_utf8();
            }
            _ => {}
        }
    }
    members.push(&text[start..]);
    members.into_iter().map(str::trim).filter(|member| !member.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(values: &[&str]) -> (bool, Vec<String>) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(PREFER, value.parse().unwrap());
        }
        let taken = take_respond_async(&mut headers);
        (
            taken.is_some(),
            headers.get_all(PREFER).iter().map(|value| value.to_str().unwrap().to_owned()).collect(),
        )
    }

    #[test]
    fn respond_async_is_found_in_any_form_the_specification_allows() {
        for form in [
            "respond-async",
            "Respond-Async",
            "respond-async, wait=10",
            " wait=10 ,, respond-async ; foo=\"a,b\"",
            "return=minimal;x=\"respond-async, y\", respond-async",
            "respond-async=",
        ] {
            assert!(taken(&[form]).0, "{form}");
        }
        assert!(taken(&["wait=10", "respond-async"]).0, "in a second field");
    }

    #[test]
    fn how_long_the_sender_waits_all_the_same_is_taken_with_it() {
        let of = |value: &str| {
            take_respond_async(&mut HeaderMap::from_iter([(
                "prefer".parse().unwrap(),
                value.parse().unwrap(),
            )]))
        };
        assert_eq!(of("respond-async, wait=10"), Some(RespondAsync { wait: Some(10) }));
        assert_eq!(of("respond-async, wait=soon"), Some(RespondAsync { wait: None }));
        assert_eq!(of("wait=10"), None);
    }

    #[test]
    fn what_only_looks_like_it_is_left_alone() {
        for form in
            ["", "respond-asynchronously", "wait=respond-async", "x=\"a, respond-async\"", "x;respond-async"]
        {
            assert_eq!(taken(&[form]), (false, vec![form.to_owned()]), "{form}");
        }
    }

    #[test]
    fn the_first_wait_counts() {
        let waits = |value: &str| {
            preferred_wait(&HeaderMap::from_iter([("prefer".parse().unwrap(), value.parse().unwrap())]))
        };
        for (value, seconds) in [
            ("wait=30", Some(30)),
            ("return=minimal, Wait = \"5\" ;x=1, wait=9", Some(5)),
            ("wait", None),
            ("wait=-1", None),
            ("respond-async; wait=4", None),
        ] {
            assert_eq!(waits(value), seconds, "{value}");
        }
    }

    #[test]
    fn other_preferences_stay_for_the_function() {
        let (taken, left) = taken(&["respond-async, wait=10", "return=minimal;x=\"a, b\""]);
        assert!(taken);
        assert_eq!(left, ["return=minimal;x=\"a, b\""]);
    }
}

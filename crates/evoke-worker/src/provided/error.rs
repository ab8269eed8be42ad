//! Errors as runtime clients post them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use evoke_core::outcome::{Failure, FailureCode};
use http::HeaderMap;
use serde_json::Value;

/// Says what kind of error it is, as header or trailer.
pub(super) const TYPE: &str = "lambda-runtime-function-error-type";
/// The error itself in base64, as trailer.
const BODY: &str = "lambda-runtime-function-error-body";
/// Characters kept of a type, a message, a stack trace.
const KEPT: [usize; 3] = [256, 16 << 10, 64 << 10];

/// An error of the function, told by its client.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct GuestError {
    ty: String,
    message: String,
    stack: Option<String>,
}

impl GuestError {
    /// Out of the body of a post: `{ errorMessage, errorType, stackTrace }`, or any text. Not all clients send the header.
    pub(super) fn parse(body: &[u8], headers: &HeaderMap) -> Self {
        let ty = headers.get(TYPE).and_then(|ty| ty.to_str().ok()).unwrap_or_default();
        let told: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |name: &str| told[name].as_str();
        let message = match (&told, text("errorMessage")) {
            (_, Some(message)) => message.to_owned(),
            (Value::Object(_), None) => String::new(),
            _ => String::from_utf8_lossy(body).into_owned(),
        };
        let stack = ["stackTrace", "trace", "stack"].iter().find_map(|name| lines(&told[*name]));
        let cut = |text: &str, kept: usize| text.chars().take(kept).collect::<String>();
        Self {
            ty: cut(text("errorType").filter(|ty| !ty.is_empty()).unwrap_or(ty), KEPT[0]),
            message: cut(&message, KEPT[1]),
            stack: stack.map(|stack| cut(&stack, KEPT[2])),
        }
    }

    /// Out of the trailers of a streamed answer; `None` where they tell of no error.
    pub(super) fn in_trailers(trailers: &HeaderMap) -> Option<Self> {
        if !trailers.contains_key(TYPE) && !trailers.contains_key(BODY) {
            return None;
        }
        let body = trailers.get(BODY).map(|body| STANDARD.decode(body.as_bytes()).unwrap_or_default());
        Some(Self::parse(&body.unwrap_or_default(), trailers))
    }

    /// As the end of a call.
    pub(super) fn into_failure(self, code: FailureCode) -> Failure {
        let Self { ty, message, stack } = self;
        // What Python raises where there are no cgroups.
        let code = if ty == "MemoryError" { FailureCode::OutOfMemory } else { code };
        let message = match (ty.is_empty(), message.is_empty()) {
            (true, true) => "the function reported an error without a word".to_owned(),
            (true, false) => message,
            (false, true) => ty,
            (false, false) => format!("{ty}: {message}"),
        };
        Failure { stack, ..Failure::new(code, message) }
    }
}

/// A stack trace: text, or an array of lines.
fn lines(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Array(lines) => {
            let line = |line: &Value| line.as_str().map_or_else(|| line.to_string(), str::to_owned);
            lines.iter().map(|text| line(text).trim_end().to_owned()).collect::<Vec<_>>().join("\n")
        }
        _ => return None,
    };
    (!text.trim().is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(body: &str, header: Option<&'static str>) -> Failure {
        let mut headers = HeaderMap::new();
        headers.extend(header.map(|ty| (http::HeaderName::from_static(TYPE), ty.parse().unwrap())));
        GuestError::parse(body.as_bytes(), &headers).into_failure(FailureCode::FunctionError)
    }

    #[test]
    fn the_type_is_that_of_the_body_or_else_of_the_header() {
        let body = r#"{"errorMessage":"no such order","errorType":"KeyError","stackTrace":["a\n","b\n"]}"#;
        let told = failure(body, Some("Runtime.Unhandled"));
        assert_eq!((told.message.as_str(), told.stack.as_deref()), ("KeyError: no such order", Some("a\nb")));
        assert_eq!(failure("it broke", Some("Oops")).message, "Oops: it broke");
        assert_eq!(failure("", None).message, "the function reported an error without a word");
        assert_eq!(failure(r#"{"errorType":"MemoryError"}"#, None).code, FailureCode::OutOfMemory);
    }

    #[test]
    fn trailers_tell_of_an_error_in_base64() {
        let mut trailers = HeaderMap::new();
        assert_eq!(GuestError::in_trailers(&trailers), None);
        trailers.insert(TYPE, "Broken".parse().unwrap());
        trailers.insert(BODY, STANDARD.encode(r#"{"errorMessage":"half-way"}"#).parse().unwrap());
        let told = GuestError::in_trailers(&trailers).unwrap().into_failure(FailureCode::FunctionError);
        assert_eq!(told.message, "Broken: half-way");
    }
}

//! W3C Trace Context (<https://www.w3.org/TR/trace-context/>): the `traceparent` header.

use evoke_core::record::Cause;
use http::HeaderName;

/// A parsed `traceparent`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceParent {
    /// 32 lower-case hex digits, not all zero.
    pub trace_id: String,
    /// 16 lower-case hex digits, not all zero: the span that caused what carries this.
    pub span_id: String,
}

impl TraceParent {
    /// The header's name, and that of the attribute of the CloudEvents distributed tracing extension.
    pub const NAME: &str = "traceparent";
    /// The same as a field's name.
    pub const FIELD: HeaderName = HeaderName::from_static(Self::NAME);

    /// Reads a header value. `None` when it breaks the specification; the request is then treated as if it had none.
    pub fn parse(value: &str) -> Option<Self> {
        let hex = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let mut parts = value.trim().split('-');
        let (version, trace_id, span_id, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let whole = version.len() == 2
            && hex(version)
            && version != "ff"
            && (version != "00" || parts.next().is_none())
            && flags.len() == 2
            && hex(flags);
        let ids = trace_id.len() == 32 && hex(trace_id) && span_id.len() == 16 && hex(span_id);
        let zero = |text: &str| text.bytes().all(|b| b == b'0');
        (whole && ids && !zero(trace_id) && !zero(span_id))
            .then(|| Self { trace_id: trace_id.to_owned(), span_id: span_id.to_owned() })
    }

    /// The header value for whatever this cause leads to. Always marked as sampled: Evoke records every run.
    pub fn header(cause: &Cause) -> String {
        ["00-", &cause.trace_id, "-", &cause.span_id, "-01"].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_valid_traceparent_is_read_and_others_are_ignored() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(TraceParent::parse(good).unwrap().span_id, "b7ad6b7169203331");
        assert!(TraceParent::parse("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what").is_some());
        for bad in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        ] {
            assert_eq!(TraceParent::parse(bad), None, "{bad}");
        }
    }
}

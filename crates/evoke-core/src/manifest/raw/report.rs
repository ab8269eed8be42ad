//! `[[webhooks]]` and `[[beacons]]` as people write them: where others report what happened.

use schemars::JsonSchema;

use super::super::table::{At, Table};
use super::{DURATION_PATTERN, OneOrMore, SIZE_PATTERN};

/// A path where another service reports what happened; a report that is signed becomes an event.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Webhook {
    /// The path, without parameters.
    #[schemars(required, regex(pattern = "^/"), extend("examples" = ["/hooks/github"]))]
    pub path: Option<At<String>>,
    /// How reports are signed: github (X-Hub-Signature-256), standard (Standard Webhooks), stripe, hmac (HMAC-SHA256 of the
    /// body in a header field), or cloudevents (a bearer token; the body is a CloudEvent).
    #[schemars(required, extend("enum" = ["github", "standard", "stripe", "hmac", "cloudevents"]))]
    pub provider: Option<At<String>>,
    /// The secret's name, or several names while one replaces another; `evoke secrets set` sets them.
    #[schemars(required, with = "Option<OneOrMore>", extend("examples" = ["GITHUB_WEBHOOK", ["NEW", "OLD"]]))]
    pub secret: Option<At<Vec<At<String>>>>,
    /// Type of the events. {type} is what the service calls it.
    #[schemars(extend("examples" = ["github.{type}", "build_requested"]))]
    pub event: Option<At<String>>,
    /// Source of the events. /webhooks and the path when left out.
    pub source: Option<At<String>>,
    /// Where a report says its type: header:NAME, or members of the JSON body such as action or event.kind.
    #[schemars(rename = "type", extend("examples" = ["header:X-Event", "event.kind"]))]
    pub ty: Option<At<String>>,
    /// Where a report has its id: the same twice is one event.
    #[schemars(extend("examples" = ["header:X-Delivery", "id"]))]
    pub id: Option<At<String>>,
    /// Where the subject of the event is.
    #[schemars(extend("examples" = ["repository.full_name"]))]
    pub subject: Option<At<String>>,
    /// For hmac: the header field with the signature.
    #[schemars(extend("examples" = ["X-Signature"]))]
    pub header: Option<At<String>>,
    /// For hmac: how the signature is written.
    #[schemars(extend("enum" = ["hex", "base64"], "default" = "hex"))]
    pub encoding: Option<At<String>>,
    /// For hmac: what stands before the signature.
    #[schemars(extend("examples" = ["sha256="]))]
    pub prefix: Option<At<String>>,
    /// For standard and stripe: how far the time of a report may be from this server's clock, 1s to 1h.
    #[schemars(regex(pattern = DURATION_PATTERN), extend("default" = "5m"))]
    pub tolerance: Option<At<String>>,
    /// Bytes of a report at most, 1B to 6MiB.
    #[schemars(regex(pattern = SIZE_PATTERN), extend("default" = "1MiB"))]
    pub max_body: Option<At<String>>,
    /// Origins that may send after the handshake of the CloudEvents webhook specification; * for all.
    #[schemars(with = "Option<Vec<String>>", extend("examples" = [["eventemitter.example.com"]]))]
    pub origins: Option<At<Vec<At<String>>>>,
}

/// A path where pages of a web site report what happened; what they send becomes an event.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Beacon {
    /// The path, without parameters.
    #[schemars(required, regex(pattern = "^/"), extend("examples" = ["/beacons/clicks"]))]
    pub path: Option<At<String>>,
    /// Type of the events, always this one.
    #[schemars(required, extend("examples" = ["page_click"]))]
    pub event: Option<At<String>>,
    /// Source of the events. /beacons and the path when left out.
    pub source: Option<At<String>>,
    /// Origins whose pages may send; * for all, also for requests that name none.
    #[schemars(required, with = "Option<Vec<String>>", extend("examples" = [["https://www.example.com"]]))]
    pub origins: Option<At<Vec<At<String>>>>,
    /// Reports a minute from one address at most, 1 to 100000.
    #[schemars(range(min = 1, max = 100_000), extend("default" = 60))]
    pub rate: Option<At<i64>>,
    /// Reports a minute from all addresses together at most, 1 to 100000.
    #[schemars(range(min = 1, max = 100_000), extend("default" = 6_000))]
    pub rate_total: Option<At<i64>>,
    /// Bytes of a report at most, 1B to 64KiB.
    #[schemars(regex(pattern = SIZE_PATTERN), extend("default" = "8KiB"))]
    pub max_body: Option<At<String>>,
}

impl Webhook {
    pub(super) fn read(mut table: Table<'_, '_, '_>) -> Self {
        let webhook = Self {
            path: table.required_text("path", r#""/hooks/github""#),
            provider: table.required_text("provider", r#""github""#),
            secret: table.required_text_or_texts("secret", r#""GITHUB_WEBHOOK""#),
            event: table.text("event", r#""github.{type}""#),
            source: table.text("source", r#""/github""#),
            ty: table.text("type", r#""header:X-Event""#),
            id: table.text("id", r#""header:X-Delivery""#),
            subject: table.text("subject", r#""repository.full_name""#),
            header: table.text("header", r#""X-Signature""#),
            encoding: table.text("encoding", r#""hex""#),
            prefix: table.text("prefix", r#""sha256=""#),
            tolerance: table.text("tolerance", r#""5m""#),
            max_body: table.text("max_body", r#""1MiB""#),
            origins: table.texts("origins", r#"["eventemitter.example.com"]"#),
        };
        table.finish(&[]);
        webhook
    }
}

impl Beacon {
    pub(super) fn read(mut table: Table<'_, '_, '_>) -> Self {
        let beacon = Self {
            path: table.required_text("path", r#""/beacons/clicks""#),
            event: table.required_text("event", r#""page_click""#),
            source: table.text("source", r#""/www""#),
            origins: table.required_texts("origins", r#"["https://www.example.com"]"#),
            rate: table.number("rate", "60"),
            rate_total: table.number("rate_total", "6000"),
            max_body: table.text("max_body", r#""8KiB""#),
        };
        table.finish(&[]);
        beacon
    }
}

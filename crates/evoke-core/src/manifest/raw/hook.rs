//! `[hooks.NAME]` as people write it.

use std::collections::BTreeMap;

use schemars::JsonSchema;

use super::super::table::{At, Table};
use super::{DURATION_PATTERN, OneOrMore, Retry, Subscription};

/// An endpoint that events are sent to.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Hook {
    /// Where: https. http only leads to addresses that the operator opened with --egress-allow.
    #[schemars(required, regex(pattern = "^https?://"), extend("examples" = ["https://partner.example.com/hooks/shop"]))]
    pub url: Option<At<String>>,
    /// The name of the secret that signs, whsec_ and 24 to 64 bytes in base64, or several names while one replaces another: the
    /// newest first, one signature each. `evoke secrets set` sets them.
    #[schemars(required, with = "Option<OneOrMore>", extend("examples" = ["PARTNER_HOOK", ["NEW", "OLD"]]))]
    pub secret: Option<At<Vec<At<String>>>>,
    /// Header fields that go with each request.
    #[schemars(with = "Option<BTreeMap<String, String>>", extend("examples" = [{"X-Shop": "eu"}]))]
    pub headers: Vec<(At<String>, At<String>)>,
    /// Header fields whose values are secrets: the names of those.
    #[schemars(with = "Option<BTreeMap<String, String>>", extend("examples" = [{"Authorization": "PARTNER_TOKEN"}]))]
    pub secret_headers: Vec<(At<String>, At<String>)>,
    /// How an event travels: structured is one JSON object, binary the data as the body and the attributes as ce- header
    /// fields, which are not signed.
    #[schemars(extend("enum" = ["structured", "binary"], "default" = "structured"))]
    pub mode: Option<At<String>>,
    /// How long an answer may take, 1s to 1m.
    #[schemars(regex(pattern = DURATION_PATTERN), extend("default" = "20s"))]
    pub timeout: Option<At<String>>,
    /// Requests at once, at most.
    #[schemars(range(min = 1, max = 100), extend("default" = 10))]
    pub concurrency: Option<At<i64>>,
    /// How deliveries are tried again. By itself 10 attempts with the pauses of Standard Webhooks, over three days.
    pub retry: Option<Retry>,
    /// The events that are sent. At least one, unless the hook is a destination.
    #[schemars(with = "Option<Vec<Subscription>>")]
    pub on: Vec<Subscription>,
}

impl Hook {
    pub(super) fn read(mut table: Table<'_, '_, '_>) -> Self {
        let header = table.place.replacen("hook ", "hooks.", 1) + ".on";
        let retry = format!("{}: retry", table.place);
        let hook = Self {
            url: table.required_text("url", r#""https://partner.example.com/hooks/shop""#),
            secret: table.required_text_or_texts("secret", r#""PARTNER_HOOK""#),
            headers: table.text_map("headers", r#"{ X-Shop = "eu" }"#),
            secret_headers: table.text_map("secret_headers", r#"{ Authorization = "PARTNER_TOKEN" }"#),
            mode: table.text("mode", r#""binary""#),
            timeout: table.text("timeout", r#""20s""#),
            concurrency: table.number("concurrency", "10"),
            retry: table.table("retry", &retry, Retry::read),
            on: table.tables("on", &header, |hook, nth| format!("{hook}: on {nth}"), Subscription::read),
        };
        table.finish(&[]);
        hook
    }
}

//! `[decorators.NAME]` as people write it.

use std::collections::BTreeMap;

use schemars::JsonSchema;

use super::{DURATION_PATTERN, SIZE_PATTERN};
use crate::manifest::table::{At, Located, Table};

/// A decorator that needs no code, of one of these kinds: request and response (header fields), defaults, schema,
/// max_body, basic, bearer, api_key, rate, cache.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Decorator {
    /// Header fields of requests that are set and removed.
    pub request: Option<FieldChanges>,
    /// Header fields of answers that are set and removed.
    pub response: Option<FieldChanges>,
    /// Members that a JSON object in a request's body is given if it lacks them.
    #[schemars(with = "Option<BTreeMap<String, serde_json::Value>>", extend("examples" = [{"currency": "EUR"}]))]
    pub defaults: Option<Located>,
    /// A JSON Schema that a JSON body of a request has to be valid by: a file of the app, or the schema itself.
    #[schemars(
        with = "Option<serde_json::Value>",
        extend("type" = ["object", "string"], "examples" = ["order.schema.json"])
    )]
    pub schema: Option<Located>,
    /// Bytes that a request's body may have, up to 1GiB.
    #[schemars(regex(pattern = SIZE_PATTERN), extend("examples" = ["64KiB"]))]
    pub max_body: Option<At<String>>,
    /// Who passes with a name and a password (Authorization: Basic): users, and for each the name of a secret, or sha256: and the
    /// digest of the password.
    #[schemars(with = "Option<BTreeMap<String, String>>", extend("examples" = [{"ada": "ADA_PASSWORD"}]))]
    pub basic: Vec<(At<String>, At<String>)>,
    /// Who passes with a token (Authorization: Bearer): names of secrets, or sha256: and the digest of a token.
    #[schemars(with = "Option<Vec<String>>", extend("examples" = [["API_TOKEN"]]))]
    pub bearer: Option<At<Vec<At<String>>>>,
    /// Who passes with a key in a field of its own: names of secrets, or sha256: and the digest of a key.
    #[schemars(with = "Option<Vec<String>>", extend("examples" = [["PARTNER_KEY"]]))]
    pub api_key: Option<At<Vec<At<String>>>>,
    /// The field of api_key.
    #[schemars(extend("default" = "x-api-key"))]
    pub header: Option<At<String>>,
    /// Requests that pass, 1 to 1000000, also at once; one more is refused with 429.
    #[schemars(range(min = 1, max = 1_000_000), extend("examples" = [60]))]
    pub rate: Option<At<i64>>,
    /// The time of rate, 1s to 1d.
    #[schemars(regex(pattern = DURATION_PATTERN), extend("default" = "1m"))]
    pub per: Option<At<String>>,
    /// Who counts as one for rate: client (an address), all, or header:NAME (a value of that field).
    #[schemars(regex(pattern = "^(client|all|header:.+)$"), extend("default" = "client"))]
    pub by: Option<At<String>>,
    /// Memory for answers that are kept and given again, as long as their Cache-Control says: 64KiB to 256MiB.
    #[schemars(regex(pattern = SIZE_PATTERN), extend("examples" = ["16MiB"]))]
    pub cache: Option<At<String>>,
}

/// Changes of header fields: first those that are removed, then those that are set.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct FieldChanges {
    /// Fields and their new values.
    #[schemars(with = "Option<BTreeMap<String, String>>", extend("examples" = [{"X-Frame-Options": "DENY"}]))]
    pub set: Vec<(At<String>, At<String>)>,
    /// Fields that go.
    #[schemars(with = "Option<Vec<String>>", extend("examples" = [["Server"]]))]
    pub remove: Option<At<Vec<At<String>>>>,
}

impl Decorator {
    pub(super) fn read(mut table: Table<'_, '_, '_>) -> Self {
        let (request, response) = (format!("{}: request", table.place), format!("{}: response", table.place));
        let decorator = Self {
            request: table.table("request", &request, FieldChanges::read),
            response: table.table("response", &response, FieldChanges::read),
            defaults: table.json("defaults"),
            schema: table.json("schema"),
            max_body: table.text("max_body", r#""64KiB""#),
            basic: table.text_map("basic", r#"{ ada = "ADA_PASSWORD" }"#),
            bearer: table.texts("bearer", r#"["API_TOKEN"]"#),
            api_key: table.texts("api_key", r#"["PARTNER_KEY"]"#),
            header: table.text("header", r#""x-api-key""#),
            rate: table.number("rate", "60"),
            per: table.text("per", r#""1m""#),
            by: table.text("by", r#""client""#),
            cache: table.text("cache", r#""16MiB""#),
        };
        table.finish(&[]);
        decorator
    }
}

impl FieldChanges {
    fn read(mut table: Table<'_, '_, '_>) -> Self {
        let changes = Self {
            set: table.text_map("set", r#"{ X-Frame-Options = "DENY" }"#),
            remove: table.texts("remove", r#"["Server"]"#),
        };
        table.finish(&[]);
        changes
    }
}

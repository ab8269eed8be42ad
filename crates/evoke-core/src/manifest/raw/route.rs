//! `[[routes]]` as people write it, with what is for upstreams, redirects and pages of other origins.

use schemars::JsonSchema;

use super::super::table::{At, Table};
use super::{DURATION_PATTERN, NAME_PATTERN};

/// A path, and the function its requests go to.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(deny_unknown_fields, extend("anyOf" = [{"required": ["to"]}, {"required": ["redirect"]}]))]
pub struct Route {
    /// What it is called in `evoke routes`; its methods and path when left out.
    #[schemars(regex(pattern = NAME_PATTERN), extend("examples" = ["hello"]))]
    pub name: Option<At<String>>,
    /// The path. {id} takes one segment, a last {*rest} all further ones.
    #[schemars(required, regex(pattern = "^/"), extend("examples" = ["/orders/{id}", "/files/{*path}"]))]
    pub path: Option<At<String>>,
    /// Methods. All when left out.
    #[schemars(with = "Option<Vec<String>>", extend("examples" = [["GET", "POST"]], "minItems" = 1))]
    pub methods: Option<At<Vec<At<String>>>>,
    /// The function, or an http(s):// URL: the server that requests are passed on to, or an experiment. This or redirect.
    #[schemars(extend("examples" = ["checkout", "https://legacy.example.com/api"]))]
    pub to: Option<At<String>>,
    /// Where clients are sent instead. This or to.
    pub redirect: Option<Redirect>,
    /// What is taken off the path before it is put behind that of the URL.
    #[schemars(regex(pattern = "^/"), extend("examples" = ["/legacy"]))]
    pub strip_prefix: Option<At<String>>,
    /// For a URL: which Host the server is sent, its own (upstream) or the one the client asked for (client).
    #[schemars(extend("enum" = ["upstream", "client"], "default" = "upstream"))]
    pub host: Option<At<String>>,
    /// For a URL: how long connecting may take, 1ms to 10s.
    #[schemars(regex(pattern = DURATION_PATTERN), extend("default" = "5s"))]
    pub connect_timeout: Option<At<String>>,
    /// For a URL: how long the server may take to begin its answer, 1ms to 15m.
    #[schemars(regex(pattern = DURATION_PATTERN), extend("default" = "30s"))]
    pub timeout: Option<At<String>>,
    /// For a URL: how long an answer that has begun, or a WebSocket, may be silent, 1s to 1d.
    #[schemars(regex(pattern = DURATION_PATTERN), extend("default" = "5m"))]
    pub idle_timeout: Option<At<String>>,
    /// For a URL: how long all of it may take, 1ms to 1d. No limit when left out.
    #[schemars(regex(pattern = DURATION_PATTERN), extend("examples" = ["1h"]))]
    pub total_timeout: Option<At<String>>,
    /// For a URL: how often a request is tried again when that is safe, 0 to 5.
    #[schemars(range(min = 0, max = 5), extend("default" = 1))]
    pub retries: Option<At<i64>>,
    /// For a URL: requests at once, 1 to 1000; one more is refused.
    #[schemars(range(min = 1, max = 1_000), extend("default" = 100))]
    pub concurrency: Option<At<i64>>,
    /// Which pages of other origins may read the answers; those of the app when left out.
    pub cors: Option<Cors>,
    /// What a request passes on its way there, and the answer on its way back, the outermost first: functions,
    /// decorators and experiments of the app.
    #[schemars(with = "Option<Vec<String>>", extend("examples" = [["defaults", "validate"]], "maxItems" = 8))]
    pub decorators: Option<At<Vec<At<String>>>>,
}

/// Where clients are sent.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Redirect {
    /// An http(s):// URL or a path, with the parameters of the route's path.
    #[schemars(required, regex(pattern = "^(https?://|/)"), extend("examples" = ["https://www.example.com/orders/{id}"]))]
    pub to: Option<At<String>>,
    /// 301 or 308 for ever, 302 or 307 for now, 303 to be fetched with GET. 307 and 308 keep the method.
    #[schemars(extend("enum" = [301, 302, 303, 307, 308], "default" = 307))]
    pub status: Option<At<i64>>,
}

/// Which pages of other origins may read what a route answers.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Cors {
    /// Origins whose pages may; * for all. Empty for none, where the app has some.
    #[schemars(required, with = "Option<Vec<String>>", extend("examples" = [["https://www.example.com"]]))]
    pub origins: Option<At<Vec<At<String>>>>,
    /// Methods that pages may use; those of the route when left out.
    #[schemars(with = "Option<Vec<String>>", extend("examples" = [["GET", "POST"]]))]
    pub methods: Option<At<Vec<At<String>>>>,
    /// Header fields that pages may send; * for any.
    #[schemars(with = "Option<Vec<String>>", extend("default" = ["content-type"]))]
    pub headers: Option<At<Vec<At<String>>>>,
    /// Header fields of the answer that pages may read.
    #[schemars(with = "Option<Vec<String>>", extend("examples" = [["x-total"]]))]
    pub expose: Option<At<Vec<At<String>>>>,
    /// Whether cookies and Authorization go along; never with origins = ["*"].
    #[schemars(extend("default" = false))]
    pub credentials: Option<At<bool>>,
    /// How long a browser may remember what it was told, 0s to 1d.
    #[schemars(regex(pattern = DURATION_PATTERN), extend("default" = "10m"))]
    pub max_age: Option<At<String>>,
}

impl Route {
    pub(super) fn read(mut table: Table<'_, '_, '_>) -> Self {
        let redirect = format!("{}: redirect", table.place);
        let cors = format!("{}: cors", table.place);
        let route = Self {
            name: table.text("name", r#""hello""#),
            path: table.required_text("path", r#""/orders/{id}""#),
            methods: table.texts("methods", r#"["POST"]"#),
            to: table.text("to", r#""checkout""#),
            redirect: table.table("redirect", &redirect, Redirect::read),
            strip_prefix: table.text("strip_prefix", r#""/legacy""#),
            host: table.text("host", r#""client""#),
            connect_timeout: table.text("connect_timeout", r#""5s""#),
            timeout: table.text("timeout", r#""30s""#),
            idle_timeout: table.text("idle_timeout", r#""5m""#),
            total_timeout: table.text("total_timeout", r#""1h""#),
            retries: table.number("retries", "1"),
            concurrency: table.number("concurrency", "100"),
            cors: table.table("cors", &cors, Cors::read),
            decorators: table.texts("decorators", r#"["defaults", "validate"]"#),
        };
        if route.to.is_none() && route.redirect.is_none() {
            table.require(
                "to",
                r#"write to = "checkout", to = "https://…" or redirect = { to = "https://…" }"#,
            );
        }
        table.finish(&[]);
        route
    }
}

impl Route {
    /// The same without what is for upstreams.
    pub(in super::super) fn bare(&self) -> Self {
        Self {
            strip_prefix: None,
            host: None,
            connect_timeout: None,
            timeout: None,
            idle_timeout: None,
            total_timeout: None,
            retries: None,
            concurrency: None,
            ..self.clone()
        }
    }
}

impl Redirect {
    pub(super) fn read(mut table: Table<'_, '_, '_>) -> Self {
        let redirect = Self {
            to: table.required_text("to", r#""https://www.example.com/orders/{id}""#),
            status: table.number("status", "308"),
        };
        table.finish(&[]);
        redirect
    }
}

impl Cors {
    pub(super) fn read(mut table: Table<'_, '_, '_>) -> Self {
        let cors = Self {
            origins: table.required_texts("origins", r#"["https://www.example.com"]"#),
            methods: table.texts("methods", r#"["GET", "POST"]"#),
            headers: table.texts("headers", r#"["content-type", "authorization"]"#),
            expose: table.texts("expose", r#"["x-total"]"#),
            credentials: table.flag("credentials", "true"),
            max_age: table.text("max_age", r#""10m""#),
        };
        table.finish(&[]);
        cors
    }
}

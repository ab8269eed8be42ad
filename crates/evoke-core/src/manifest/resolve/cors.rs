//! Rules for pages of other origins, of a route or of the app.

use std::time::Duration;

use http::HeaderName;

use super::Resolver;
use crate::cors::Cors;
use crate::manifest::bounds::{CORS_AGE_MAX, CORS_NAMES_MAX};
use crate::manifest::raw;
use crate::manifest::table::At;

const MAX_AGE: Duration = Duration::from_secs(10 * 60);

impl Resolver<'_, '_> {
    /// `None` where no origin is named: nobody may.
    pub(super) fn cors(&mut self, place: &str, raw: &raw::Cors) -> Option<Cors> {
        let origins = self.origins(place, raw.origins.as_ref());
        for origin in raw.origins.iter().flat_map(|origins| &origins.value) {
            let text = &origin.value;
            if text != "*" && text != "null" && !text.contains("://") {
                let message = format!("{place}: origin {text:?} has no scheme");
                self.problems
                    .add("invalid_value", origin.span.clone(), message)
                    .help(format!("write \"https://{text}\""));
            }
        }
        let credentials = raw.credentials.as_ref().is_some_and(|credentials| credentials.value);
        if let Some(flag) =
            raw.credentials.as_ref().filter(|_| credentials && origins.iter().any(|o| o == "*"))
        {
            let message = format!("{place}: credentials go to named origins only, not to \"*\"");
            self.problems
                .add("invalid_value", flag.span.clone(), message)
                .help("name the origins, such as \"https://www.example.com\"");
        }
        let methods = match raw.methods.as_ref() {
            Some(methods) => self.methods(place, Some(methods)).unwrap_or_default(),
            None => Vec::new(),
        };
        let headers = match &raw.headers {
            Some(headers) => self.field_names(place, "headers", headers),
            None => vec!["content-type".to_owned()],
        };
        if let Some(any) = raw.headers.as_ref().filter(|_| credentials && headers.iter().any(|h| h == "*")) {
            let message = format!("{place}: headers = [\"*\"] does not go with credentials");
            self.problems
                .add("invalid_value", any.span.clone(), message)
                .help("name the header fields, such as \"content-type\"");
        }
        let expose = raw.expose.as_ref().map(|names| self.field_names(place, "expose", names));
        let range = Duration::ZERO..=CORS_AGE_MAX;
        let max_age = self.duration(place, "max_age", raw.max_age.as_ref(), range).unwrap_or(MAX_AGE);
        let cors =
            Cors { origins, methods, headers, expose: expose.unwrap_or_default(), credentials, max_age };
        (!cors.origins.is_empty()).then_some(cors)
    }

    /// Names of header fields, in lower case; `*` stands for any.
    fn field_names(&mut self, place: &str, key: &str, names: &At<Vec<At<String>>>) -> Vec<String> {
        if names.value.len() > CORS_NAMES_MAX {
            let message =
                format!("{place}: {} {key} are more than the limit of {CORS_NAMES_MAX}", names.value.len());
            self.problems.add("out_of_range", names.span.clone(), message);
        }
        let mut fields = Vec::new();
        for name in names.value.iter().take(CORS_NAMES_MAX) {
            if HeaderName::from_bytes(name.value.as_bytes()).is_err() {
                let message = format!("{place}: {key}: {:?} is no name of a header field", name.value);
                self.problems.add("invalid_name", name.span.clone(), message);
            }
            fields.push(name.value.to_ascii_lowercase());
        }
        fields
    }
}

//! Webhooks: their schemes, and where in a report the attributes of the event are.

use std::time::Duration;

use http::HeaderName;

use super::Resolver;
use crate::manifest::bounds::*;
use crate::manifest::problem::did_you_mean;
use crate::manifest::table::At;
use crate::manifest::{Route, Webhook, raw};
use crate::webhook::{Encoding, Mapping, Place, Scheme};

const PROVIDERS: [&str; 5] = ["github", "standard", "stripe", "hmac", "cloudevents"];
const TOLERANCE: Duration = Duration::from_secs(5 * 60);
const BODY_BYTES: u64 = 1 << 20;

impl Resolver<'_, '_> {
    /// The webhooks in file order. Their paths are literal, and no route takes POST there.
    pub(super) fn webhooks(&mut self, raw: &[raw::Webhook], routes: &[Route]) -> Vec<Webhook> {
        if let Some(path) = raw.get(WEBHOOKS_MAX).and_then(|webhook| webhook.path.as_ref()) {
            let message = format!("{} webhooks are more than the limit of {WEBHOOKS_MAX}", raw.len());
            self.problems.add("out_of_range", path.span.clone(), message);
        }
        let mut webhooks: Vec<Webhook> = Vec::new();
        for (at, raw) in raw.iter().take(WEBHOOKS_MAX).enumerate() {
            let place = format!("webhook {}", at + 1);
            let taken: Vec<String> = webhooks.iter().map(|other| other.path.clone()).collect();
            let path = raw.path.as_ref().and_then(|path| self.own_path(&place, path, routes, &taken));
            let secrets = self.secrets(&place, raw.secret.as_ref());
            if let Some(names) = raw.secret.as_ref().filter(|names| names.value.is_empty()) {
                let message = format!("{place}: secret names none, so that no report could be verified");
                self.problems.add("invalid_value", names.span.clone(), message);
            }
            let scheme = raw.provider.as_ref().and_then(|provider| self.scheme(&place, provider, raw));
            let body_bytes = self.size(&place, "max_body", raw.max_body.as_ref(), 1..=WEBHOOK_BYTES_MAX);
            let origins = self.origins(&place, raw.origins.as_ref());
            let (Some(path), Some(scheme)) = (path, scheme) else { continue };
            let mapping = self.mapping(&place, &path, &scheme, raw);
            let body_bytes = body_bytes.unwrap_or(BODY_BYTES);
            webhooks.push(Webhook { path, scheme, secrets, mapping, body_bytes, origins });
        }
        webhooks
    }

    /// A literal path that is no route's for POST and not in `taken`.
    pub(super) fn own_path(
        &mut self,
        place: &str,
        path: &At<String>,
        routes: &[Route],
        taken: &[String],
    ) -> Option<String> {
        if !self.path_syntax(place, path) {
            return None;
        }
        if path.value.contains('{') {
            let message = format!("{place}: path {:?} has a parameter", path.value);
            self.problems
                .add("invalid_value", path.span.clone(), message)
                .help("write a path without parameters; declare one for each sender");
            return None;
        }
        let posts =
            |route: &Route| route.methods.is_empty() || route.methods.iter().any(|name| name == "POST");
        if routes.iter().any(|route| route.path == path.value && posts(route)) || taken.contains(&path.value)
        {
            let message = format!("{place}: POST {} is already taken in this file", path.value);
            self.problems
                .add("duplicate", path.span.clone(), message)
                .help("one request goes to one place; choose another path");
            return None;
        }
        Some(path.value.clone())
    }

    fn scheme(&mut self, place: &str, provider: &At<String>, raw: &raw::Webhook) -> Option<Scheme> {
        let timed = matches!(provider.value.as_str(), "standard" | "stripe");
        let range = TOLERANCE_MIN..=TOLERANCE_MAX;
        let tolerance = self.duration(place, "tolerance", raw.tolerance.as_ref(), range).unwrap_or(TOLERANCE);
        if let Some(text) = raw.tolerance.as_ref().filter(|_| !timed) {
            self.out_of_place(place, "tolerance", text, "standard and stripe, whose signatures have a time");
        }
        if provider.value != "hmac" {
            for (key, text) in [("header", &raw.header), ("encoding", &raw.encoding), ("prefix", &raw.prefix)]
            {
                if let Some(text) = text {
                    self.out_of_place(place, key, text, "hmac; the others have a form of their own");
                }
            }
        }
        match provider.value.as_str() {
            "github" => Some(Scheme::Github),
            "standard" => Some(Scheme::Standard { tolerance }),
            "stripe" => Some(Scheme::Stripe { tolerance }),
            "cloudevents" => Some(Scheme::Cloudevents),
            "hmac" => self.hmac(place, provider, raw),
            other => {
                let message = format!("{place}: provider {other:?} is not known");
                self.problems
                    .add("invalid_value", provider.span.clone(), message)
                    .maybe_help(did_you_mean(other, PROVIDERS.into_iter()));
                None
            }
        }
    }

    fn hmac(&mut self, place: &str, provider: &At<String>, raw: &raw::Webhook) -> Option<Scheme> {
        let Some(header) = &raw.header else {
            let message = format!("{place}: key header is missing, which provider hmac needs");
            self.problems
                .add("missing_key", provider.span.clone(), message)
                .help("write header = \"X-Signature\", the field that has the signature");
            return None;
        };
        let header = self.header_name(place, "header", header, &header.value)?;
        let encoding = match raw.encoding.as_ref().map(|text| (text, text.value.as_str())) {
            None | Some((_, "hex")) => Encoding::Hex,
            Some((_, "base64")) => Encoding::Base64,
            Some((text, other)) => {
                let message = format!("{place}: encoding {other:?} is not known");
                self.problems
                    .add("invalid_value", text.span.clone(), message)
                    .help("write \"hex\" or \"base64\"");
                return None;
            }
        };
        let prefix = raw.prefix.as_ref().map(|text| text.value.clone()).unwrap_or_default();
        Some(Scheme::Hmac { header, encoding, prefix })
    }

    fn out_of_place(&mut self, place: &str, key: &str, text: &At<String>, of: &str) {
        let message = format!("{place}: {key} is only for {of}");
        self.problems.add("invalid_value", text.span.clone(), message).help("leave it out");
    }

    fn mapping(&mut self, place: &str, path: &str, scheme: &Scheme, raw: &raw::Webhook) -> Mapping {
        let header = |name: &str| Some(Place::Header(name.to_owned()));
        let body = |path: &str| Some(Place::Body(path.split('.').map(str::to_owned).collect()));
        let (event, ty, id, subject) = match scheme {
            Scheme::Github => (
                "github.{type}",
                header("x-github-event"),
                header("x-github-delivery"),
                body("repository.full_name"),
            ),
            Scheme::Standard { .. } => ("{type}", body("type"), header("webhook-id"), None),
            Scheme::Stripe { .. } => ("stripe.{type}", body("type"), body("id"), body("data.object.id")),
            Scheme::Hmac { .. } => ("", None, None, None),
            Scheme::Cloudevents => ("{type}", None, None, None),
        };
        let given_type = raw.ty.as_ref().and_then(|text| self.place(place, "type", text));
        let given_id = raw.id.as_ref().and_then(|text| self.place(place, "id", text));
        let given_subject = raw.subject.as_ref().and_then(|text| self.place(place, "subject", text));
        let mapping = Mapping {
            event: raw.event.as_ref().map_or(event, |text| text.value.as_str()).to_owned(),
            source: raw.source.as_ref().map_or_else(|| format!("/webhooks{path}"), |text| text.value.clone()),
            ty: given_type.or(ty),
            id: given_id.or(id),
            subject: given_subject.or(subject),
        };
        if *scheme == Scheme::Cloudevents {
            for (key, text) in [
                ("event", &raw.event),
                ("source", &raw.source),
                ("type", &raw.ty),
                ("id", &raw.id),
                ("subject", &raw.subject),
            ] {
                if let Some(text) = text {
                    self.out_of_place(place, key, text, "other providers: a CloudEvent has it already");
                }
            }
            return mapping;
        }
        self.event_type(place, &mapping, raw);
        if let Some(event) = &raw.event {
            self.is_of_the_app(&format!("{place}: event"), event);
        }
        if let Some(source) = &raw.source
            && crate::event::Event::new("x", &source.value, "x").check().is_err()
        {
            let message = format!("{place}: source {:?} is no URI reference", source.value);
            self.problems.add("invalid_value", source.span.clone(), message).help("write \"/github\"");
        }
        mapping
    }

    fn event_type(&mut self, place: &str, mapping: &Mapping, raw: &raw::Webhook) {
        let span = |text: &Option<At<String>>| text.as_ref().map(|text| text.span.clone());
        let span = span(&raw.event).or_else(|| span(&raw.provider)).unwrap_or(0..0);
        let fixed = mapping.event.replace("{type}", "");
        let wrong = if mapping.event.is_empty() {
            Some(("key event is missing", "write event = \"build_requested\", the type of the events"))
        } else if fixed.contains(['{', '}']) || fixed.chars().any(|c| c.is_whitespace() || c.is_control()) {
            Some(("event is no type", "only {type} is replaced, and there is no white space"))
        } else if mapping.event.contains("{type}") && mapping.ty.is_none() {
            Some(("event has {type}, but nothing says where that is", "write type = \"header:X-Event\""))
        } else {
            None
        };
        if let Some((reason, help)) = wrong {
            self.problems.add("invalid_value", span, format!("{place}: {reason}")).help(help);
        }
    }

    /// `header:NAME`, or members of the body.
    fn place(&mut self, place: &str, key: &str, text: &At<String>) -> Option<Place> {
        if let Some(name) = text.value.strip_prefix("header:") {
            return self.header_name(place, key, text, name).map(Place::Header);
        }
        let path: Vec<String> = text.value.split('.').map(str::to_owned).collect();
        if path.iter().any(String::is_empty) || path.len() > 16 {
            let message = format!("{place}: {key} {:?} names no place in a report", text.value);
            self.problems
                .add("invalid_value", text.span.clone(), message)
                .help("write \"header:X-Event\", or members of the JSON body as in \"repository.full_name\"");
            return None;
        }
        Some(Place::Body(path))
    }

    fn header_name(&mut self, place: &str, key: &str, text: &At<String>, name: &str) -> Option<String> {
        match HeaderName::from_bytes(name.as_bytes()) {
            Ok(name) => Some(name.as_str().to_owned()),
            Err(_) => {
                let message = format!("{place}: {key} {name:?} is no name of a header field");
                self.problems.add("invalid_value", text.span.clone(), message);
                None
            }
        }
    }

    /// Origins as they stand in the file, or `*`.
    pub(super) fn origins(&mut self, place: &str, origins: Option<&At<Vec<At<String>>>>) -> Vec<String> {
        let Some(origins) = origins else { return Vec::new() };
        if origins.value.len() > ORIGINS_MAX {
            let message =
                format!("{place}: {} origins are more than the limit of {ORIGINS_MAX}", origins.value.len());
            self.problems.add("out_of_range", origins.span.clone(), message);
        }
        for origin in &origins.value {
            let text = &origin.value;
            let partly = text.contains('*') && text != "*";
            if text.is_empty() || partly || text.ends_with('/') || text.chars().any(char::is_whitespace) {
                let message = format!("{place}: origin {text:?} is none");
                self.problems
                    .add("invalid_value", origin.span.clone(), message)
                    .help("write it whole and without a slash at its end, or \"*\" for all");
            }
        }
        origins.value.iter().take(ORIGINS_MAX).map(|origin| origin.value.clone()).collect()
    }
}

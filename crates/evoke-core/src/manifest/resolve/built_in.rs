//! `[decorators.NAME]`: decorators that need no code. Each has the key of exactly one kind.

mod check;
mod schema;

use std::collections::BTreeMap;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use serde_json::Value;

use super::Resolver;
use crate::decorator::{BuiltIn, FieldChanges, Rate, RateBy};
use crate::id::FunctionName;
use crate::manifest::bounds::{
    BUILT_INS_MAX, CACHE_BYTES_MAX, CACHE_BYTES_MIN, DECORATED_BODY_MAX, FIELD_CHANGES_MAX, RATE_MAX,
    RATE_PER_MAX, RATE_PER_MIN,
};
use crate::manifest::raw;
use crate::manifest::table::At;

const KINDS: &str =
    "write one of request/response, defaults, schema, max_body, basic, bearer, api_key, rate, cache";

impl Resolver<'_, '_> {
    /// The built-in decorators, by name. No function has the name of one.
    pub(super) fn built_ins(
        &mut self,
        raw: &[(At<String>, raw::Decorator)],
        declared: &[&str],
    ) -> BTreeMap<FunctionName, BuiltIn> {
        if let Some((name, _)) = raw.get(BUILT_INS_MAX) {
            let message = format!("{} decorators are more than the limit of {BUILT_INS_MAX}", raw.len());
            self.problems.add("out_of_range", name.span.clone(), message);
        }
        let mut found = BTreeMap::new();
        for (name, raw) in raw.iter().take(BUILT_INS_MAX) {
            if declared.contains(&name.value.as_str()) {
                let message = format!("decorator {} has the name of a function", name.value);
                self.problems
                    .add("duplicate", name.span.clone(), message)
                    .help("give one of them another name");
                continue;
            }
            let rule = self.built_in(name, raw);
            match FunctionName::new(&name.value) {
                Ok(name) => found.extend(rule.map(|rule| (name, rule))),
                Err(error) => self.invalid_name(name, error.to_string()),
            }
        }
        found
    }

    fn built_in(&mut self, name: &At<String>, raw: &raw::Decorator) -> Option<BuiltIn> {
        let place = format!("decorator {}", name.value);
        let kinds = [
            raw.request.is_some() || raw.response.is_some(),
            raw.defaults.is_some(),
            raw.schema.is_some(),
            raw.max_body.is_some(),
            !raw.basic.is_empty(),
            raw.bearer.is_some(),
            raw.api_key.is_some(),
            raw.rate.is_some(),
            raw.cache.is_some(),
        ];
        if kinds.iter().filter(|is_there| **is_there).count() != 1 {
            let message = format!("{place} has to be of one kind");
            self.problems.add("invalid_value", name.span.clone(), message).help(KINDS);
            return None;
        }
        self.companions(&place, raw);
        if raw.request.is_some() || raw.response.is_some() {
            let request = self.field_changes(&place, raw.request.as_ref());
            let response = self.field_changes(&place, raw.response.as_ref());
            return Some(BuiltIn::Headers { request: request?, response: response? });
        }
        if let Some(defaults) = &raw.defaults {
            return match &defaults.value {
                Value::Object(members) if !members.is_empty() => Some(BuiltIn::Defaults(members.clone())),
                _ => {
                    let message = format!("{place}: defaults has no members");
                    let found = self.problems.add("invalid_value", defaults.place.span.clone(), message);
                    found.help("write defaults = { currency = \"EUR\" }");
                    None
                }
            };
        }
        if let Some(schema) = &raw.schema {
            return self.schema(&place, schema).map(BuiltIn::Schema);
        }
        if let Some(max) = &raw.max_body {
            return self.size(&place, "max_body", Some(max), 0..=DECORATED_BODY_MAX).map(BuiltIn::MaxBody);
        }
        if let Some(bytes) = &raw.cache {
            let range = CACHE_BYTES_MIN..=CACHE_BYTES_MAX;
            return self.size(&place, "cache", Some(bytes), range).map(BuiltIn::Cache);
        }
        if raw.rate.is_some() {
            return self.rate(&place, raw).map(BuiltIn::Rate);
        }
        self.check(&place, raw).map(BuiltIn::Check)
    }

    /// Keys that only go with another.
    fn companions(&mut self, place: &str, raw: &raw::Decorator) {
        let lonely = [("per", &raw.per, "rate"), ("by", &raw.by, "rate")];
        let lonely = lonely.into_iter().filter(|_| raw.rate.is_none());
        let header = [("header", &raw.header, "api_key")].into_iter().filter(|_| raw.api_key.is_none());
        for (key, text, with) in lonely.chain(header) {
            let Some(text) = text else { continue };
            let message = format!("{place}: {key} goes with {with}");
            self.problems.add("invalid_value", text.span.clone(), message).help("leave it out");
        }
    }

    fn field_changes(&mut self, place: &str, raw: Option<&raw::FieldChanges>) -> Option<FieldChanges> {
        let mut changes = FieldChanges::default();
        let Some(raw) = raw else { return Some(changes) };
        let removed = raw.remove.iter().flat_map(|names| &names.value);
        for name in removed.clone() {
            changes.remove.push(self.field_name(place, name)?);
        }
        for (name, value) in &raw.set {
            if HeaderValue::from_str(&value.value).is_err() {
                let message =
                    format!("{place}: the value of {} is none that a header field can have", name.value);
                self.problems.add("invalid_value", value.span.clone(), message);
                return None;
            }
            changes.set.insert(self.field_name(place, name)?, value.value.clone());
        }
        if changes.set.len() + changes.remove.len() > FIELD_CHANGES_MAX
            && let Some(name) = removed.clone().next().or(raw.set.first().map(|(name, _)| name))
        {
            let message = format!("{place}: more than {FIELD_CHANGES_MAX} header fields");
            self.problems.add("out_of_range", name.span.clone(), message);
        }
        Some(changes)
    }

    /// A field that may be changed: none of a connection or of the message's form.
    fn field_name(&mut self, place: &str, name: &At<String>) -> Option<String> {
        const FIXED: [&str; 9] = [
            "host",
            "connection",
            "content-length",
            "transfer-encoding",
            "te",
            "trailer",
            "upgrade",
            "keep-alive",
            "evoke-body",
        ];
        let lower = name.value.to_ascii_lowercase();
        if HeaderName::from_bytes(lower.as_bytes()).is_ok() && !FIXED.contains(&lower.as_str()) {
            return Some(lower);
        }
        let message = format!("{place}: {:?} is no header field that can be changed here", name.value);
        self.problems.add("invalid_value", name.span.clone(), message);
        None
    }

    fn rate(&mut self, place: &str, raw: &raw::Decorator) -> Option<Rate> {
        let requests = self.count(place, "rate", raw.rate.as_ref(), RATE_MAX)?;
        let per = match &raw.per {
            None => Duration::from_secs(60),
            per => self.duration(place, "per", per.as_ref(), RATE_PER_MIN..=RATE_PER_MAX)?,
        };
        let by = match raw.by.as_ref().map(|by| (by, by.value.split_once(':'))) {
            None => RateBy::Client,
            Some((by, None)) if by.value == "client" => RateBy::Client,
            Some((by, None)) if by.value == "all" => RateBy::All,
            Some((_, Some(("header", name)))) if HeaderName::from_bytes(name.as_bytes()).is_ok() => {
                RateBy::Header(name.to_ascii_lowercase())
            }
            Some((by, _)) => {
                let message = format!("{place}: by {:?} is not known", by.value);
                let found = self.problems.add("invalid_value", by.span.clone(), message);
                found.help("write \"client\", \"all\" or \"header:X-Api-Key\"");
                return None;
            }
        };
        Some(Rate { requests, per, by })
    }
}

//! `[decorators.NAME]`: decorators that need no code. Each has the key of exactly one kind.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use serde_json::Value;

use super::Resolver;
use crate::decorator::{BuiltIn, Check, Credential, FieldChanges, Rate, RateBy};
use crate::id::FunctionName;
use crate::manifest::bounds::{
    BUILT_INS_MAX, CREDENTIALS_MAX, DECORATED_BODY_MAX, FIELD_CHANGES_MAX, RATE_MAX, RATE_PER_MAX,
    RATE_PER_MIN,
};
use crate::manifest::raw;
use crate::manifest::table::At;
use crate::secret::SecretName;

const KINDS: &str = "write one of request/response, defaults, max_body, basic, bearer, api_key, rate";

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
            raw.max_body.is_some(),
            !raw.basic.is_empty(),
            raw.bearer.is_some(),
            raw.api_key.is_some(),
            raw.rate.is_some(),
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
        if let Some(max) = &raw.max_body {
            return self.size(&place, "max_body", Some(max), 0..=DECORATED_BODY_MAX).map(BuiltIn::MaxBody);
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

    fn check(&mut self, place: &str, raw: &raw::Decorator) -> Option<Check> {
        if let Some(tokens) = &raw.bearer {
            return self.credentials(place, tokens).map(Check::Bearer);
        }
        if let Some(keys) = &raw.api_key {
            let header = match &raw.header {
                Some(name) => self.field_name(place, name)?,
                None => "x-api-key".to_owned(),
            };
            return Some(Check::ApiKey { header, keys: self.credentials(place, keys)? });
        }
        let mut users = BTreeMap::new();
        for (user, password) in &raw.basic {
            if user.value.is_empty() || user.value.contains(':') {
                let message = format!("{place}: user {:?} is empty or has a colon", user.value);
                self.problems.add("invalid_value", user.span.clone(), message);
                return None;
            }
            users.insert(user.value.clone(), self.credential(place, password)?);
        }
        if users.len() > CREDENTIALS_MAX {
            let message =
                format!("{place}: {} users are more than the limit of {CREDENTIALS_MAX}", users.len());
            self.problems.add("out_of_range", raw.basic[0].0.span.clone(), message);
        }
        Some(Check::Basic(users))
    }

    fn credentials(&mut self, place: &str, raw: &At<Vec<At<String>>>) -> Option<Vec<Credential>> {
        if raw.value.is_empty() || raw.value.len() > CREDENTIALS_MAX {
            let message =
                format!("{place}: {} values are not within 1 to {CREDENTIALS_MAX}", raw.value.len());
            self.problems.add("out_of_range", raw.span.clone(), message);
            return None;
        }
        raw.value.iter().map(|text| self.credential(place, text)).collect()
    }

    fn credential(&mut self, place: &str, text: &At<String>) -> Option<Credential> {
        if let Some(digest) = text.value.strip_prefix("sha256:") {
            if digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
            {
                return Some(Credential::Sha256(digest.to_owned()));
            }
            let message = format!("{place}: sha256: is followed by 64 lower-case hex digits");
            self.problems.add("invalid_value", text.span.clone(), message);
            return None;
        }
        match SecretName::new(&text.value) {
            Ok(name) => Some(Credential::Secret(name)),
            Err(error) => {
                self.problems.add("invalid_name", text.span.clone(), format!("{place}: {error}")).help(
                    "name a secret of the app, set with `evoke secrets set`, or write sha256: and the digest of the value",
                );
                None
            }
        }
    }
}

//! Who passes a decorator, and by what.

use std::collections::BTreeMap;

use crate::decorator::{Check, Credential};
use crate::manifest::bounds::CREDENTIALS_MAX;
use crate::manifest::raw;
use crate::manifest::resolve::Resolver;
use crate::manifest::table::At;
use crate::secret::SecretName;

impl Resolver<'_, '_> {
    pub(super) fn check(&mut self, place: &str, raw: &raw::Decorator) -> Option<Check> {
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

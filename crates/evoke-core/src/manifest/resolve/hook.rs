//! Hooks: functions whose code is Evoke's own, and sends their events to an endpoint.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::Resolver;
use crate::egress::AllowList;
use crate::hook::{ContentMode, Hook, HookUrl, is_own_header};
use crate::id::FunctionName;
use crate::manifest::bounds::*;
use crate::manifest::problem::did_you_mean;
use crate::manifest::table::At;
use crate::manifest::{Admission, ChainBounds, Destinations, Function, Preload, RuntimeKind, raw};
use crate::retry::RetryPolicy;
use crate::secret::SecretName;

const TIMEOUT: Duration = Duration::from_secs(20);
const CONCURRENCY: u32 = 10;

/// The hooks that are destinations.
fn told_hooks<'r>(
    functions: &'r [(At<String>, raw::Function)],
    hooks: &'r [(At<String>, raw::Hook)],
) -> Vec<&'r str> {
    let on = functions.iter().flat_map(|(_, function)| &function.on);
    let on = on.chain(hooks.iter().flat_map(|(_, hook)| &hook.on));
    let of_on = on.flat_map(|on| [&on.on_success, &on.on_failure]);
    let of_functions =
        functions.iter().flat_map(|(_, function)| [&function.on_success, &function.on_failure]);
    let named = of_functions.chain(of_on).filter_map(|told| told.as_ref()?.hook.as_ref());
    named.map(|name| name.value.as_str()).collect()
}

impl Resolver<'_, '_> {
    /// Adds the hooks to the functions, whose names they share.
    pub(super) fn hooks(
        &mut self,
        raw: &[(At<String>, raw::Hook)],
        functions: &mut BTreeMap<FunctionName, Function>,
        declared: &[(At<String>, raw::Function)],
    ) {
        let told = told_hooks(declared, raw);
        if let Some((name, _)) = raw.get(HOOKS_MAX) {
            let message = format!("{} hooks are more than the limit of {HOOKS_MAX}", raw.len());
            self.problems.add("out_of_range", name.span.clone(), message);
        }
        for (name, raw) in raw.iter().take(HOOKS_MAX) {
            if raw.on.is_empty() && !told.contains(&name.value.as_str()) {
                let message = format!("hook {}: key on is missing", name.value);
                self.problems.add("missing_key", name.span.clone(), message).help(format!(
                    "start each with the line [[hooks.{}.on]], or name the hook in an on_success or on_failure",
                    name.value
                ));
            }
            let hook = self.hook(&name.value, raw);
            if declared.iter().any(|(function, _)| function.value == name.value) {
                let message = format!("hook {}: there is a function of this name", name.value);
                self.problems
                    .add("duplicate", name.span.clone(), message)
                    .help("runs and logs name both by it; choose another one");
                continue;
            }
            match FunctionName::new(&name.value) {
                Ok(name) => functions.extend(hook.map(|hook| (name, hook))),
                Err(mut error) => {
                    error.kind = "hook";
                    self.invalid_name(name, error.to_string());
                }
            }
        }
    }

    fn hook(&mut self, name: &str, raw: &raw::Hook) -> Option<Function> {
        let place = format!("hook {name}");
        let url = raw.url.as_ref().and_then(|url| self.hook_url(&place, url));
        let secrets = self.hook_secrets(&place, raw.secret.as_ref());
        let headers = self.hook_headers(&place, raw);
        let secret_headers = self.hook_secret_headers(&place, raw);
        let mode = raw.mode.as_ref().and_then(|mode| self.content_mode(&place, mode));
        let range = HOOK_TIMEOUT_MIN..=HOOK_TIMEOUT_MAX;
        let timeout = self.duration(&place, "timeout", raw.timeout.as_ref(), range);
        let concurrency =
            self.count(&place, "concurrency", raw.concurrency.as_ref(), INSTANCE_CONCURRENCY_MAX);
        let concurrency = concurrency.unwrap_or(CONCURRENCY);
        let standard = RetryPolicy::standard_webhooks();
        let retry = self.retry(&format!("{place}: retry"), raw.retry.as_ref(), &standard);
        let on = self.subscriptions(&place, &raw.on, &retry);
        let hook = Hook { url: url?, secrets, headers, secret_headers, mode: mode.unwrap_or_default() };
        Some(Function {
            source: PathBuf::new(),
            runtime: RuntimeKind::Hook,
            handler: None,
            timeout: timeout.unwrap_or(TIMEOUT),
            // It has no process of its own.
            memory_bytes: 0,
            concurrency,
            instance_concurrency: concurrency,
            min_instances: 0,
            idle: None,
            reuse: true,
            keeps_instance: false,
            preload: Preload::None,
            env: BTreeMap::new(),
            secrets: hook.all_secrets(),
            emits: Vec::new(),
            calls: None,
            chain: ChainBounds::default(),
            admission: Admission::default(),
            egress: AllowList::default(),
            on,
            retry,
            destinations: Destinations::default(),
            hook: Some(hook),
        })
    }

    fn hook_url(&mut self, place: &str, url: &At<String>) -> Option<HookUrl> {
        match HookUrl::parse(&url.value) {
            Ok(url) => Some(url),
            Err(error) => {
                let message = format!("{place}: url {error}");
                self.problems.add("invalid_value", url.span.clone(), message).help(error.help);
                None
            }
        }
    }

    fn hook_secrets(&mut self, place: &str, names: Option<&At<Vec<At<String>>>>) -> Vec<SecretName> {
        let secrets = self.secrets(place, names);
        let Some(names) = names else { return secrets };
        let wrong = match names.value.len() {
            0 => Some("secret names none, so that nothing could be signed".to_owned()),
            1..=HOOK_SECRETS_MAX => None,
            many => Some(format!("{many} secrets are more than the limit of {HOOK_SECRETS_MAX}")),
        };
        if let Some(wrong) = wrong {
            self.problems
                .add("invalid_value", names.span.clone(), format!("{place}: {wrong}"))
                .help("name the secret that signs, and while it is being replaced the old one behind it");
        }
        secrets
    }

    fn hook_headers(&mut self, place: &str, raw: &raw::Hook) -> BTreeMap<String, String> {
        let count = raw.headers.len() + raw.secret_headers.len();
        let first = raw.headers.first().or(raw.secret_headers.first());
        if let Some((name, _)) = first.filter(|_| count > HOOK_HEADERS_MAX) {
            let message =
                format!("{place}: {count} header fields are more than the limit of {HOOK_HEADERS_MAX}");
            self.problems.add("out_of_range", name.span.clone(), message);
        }
        let mut headers = BTreeMap::new();
        for (name, value) in &raw.headers {
            let field = self.hook_header(place, name, headers.keys());
            let text = value.value.as_str();
            if text.len() > HOOK_HEADER_BYTES_MAX || HeaderValue::from_str(text).is_err() {
                let message = format!(
                    "{place}: header {} has a value of more than {HOOK_HEADER_BYTES_MAX} bytes, or with control characters",
                    name.value
                );
                self.problems.add("invalid_value", value.span.clone(), message);
            }
            headers.extend(field.map(|field| (field, text.to_owned())));
        }
        headers
    }

    fn hook_secret_headers(&mut self, place: &str, raw: &raw::Hook) -> BTreeMap<String, SecretName> {
        let mut headers = BTreeMap::new();
        for (name, secret) in &raw.secret_headers {
            let twice = raw.headers.iter().any(|(other, _)| other.value.eq_ignore_ascii_case(&name.value));
            if twice {
                let message = format!("{place}: header {} is in headers and in secret_headers", name.value);
                self.problems.add("duplicate", name.span.clone(), message).help("leave one of them out");
            }
            let field = self.hook_header(place, name, headers.keys());
            match SecretName::new(&secret.value) {
                Ok(secret) => headers.extend(field.map(|field| (field, secret))),
                Err(error) => {
                    let message = format!("{place}: header {}: {error}", name.value);
                    self.problems
                        .add("invalid_name", secret.span.clone(), message)
                        .help("write the name of a secret; its value is set with `evoke secrets set`");
                }
            }
        }
        headers
    }

    /// The field's name in lower case.
    fn hook_header<'a>(
        &mut self,
        place: &str,
        name: &At<String>,
        mut others: impl Iterator<Item = &'a String>,
    ) -> Option<String> {
        let Ok(field) = HeaderName::from_bytes(name.value.as_bytes()) else {
            let message = format!("{place}: header {:?} is no name of a header field", name.value);
            self.problems.add("invalid_name", name.span.clone(), message);
            return None;
        };
        let (wrong, code) = if is_own_header(field.as_str()) {
            ("is set by Evoke", "reserved_name")
        } else if others.any(|other| other == field.as_str()) {
            ("is there twice", "duplicate")
        } else {
            return Some(field.as_str().to_owned());
        };
        let message = format!("{place}: header {} {wrong}", name.value);
        self.problems.add(code, name.span.clone(), message).help("leave it out");
        None
    }

    fn content_mode(&mut self, place: &str, mode: &At<String>) -> Option<ContentMode> {
        match mode.value.as_str() {
            "structured" => Some(ContentMode::Structured),
            "binary" => Some(ContentMode::Binary),
            other => {
                let message = format!("{place}: mode {other:?} is not known");
                self.problems
                    .add("invalid_value", mode.span.clone(), message)
                    .maybe_help(did_you_mean(other, ["structured", "binary"].into_iter()));
                None
            }
        }
    }
}

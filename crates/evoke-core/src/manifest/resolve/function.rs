//! One function's settings.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use super::Resolver;
use crate::manifest::bounds::*;
use crate::manifest::problem::did_you_mean;
use crate::manifest::table::At;
use crate::manifest::{Destinations, Function, Preload, RuntimeKind, TypePattern, raw, units};
use crate::retry::{Backoff, RetryPolicy};

impl Resolver<'_, '_> {
    /// The function, or `None` when its source is not usable. `declared` are the names of all functions of the file.
    pub(super) fn function(
        &mut self,
        name: &str,
        raw: &raw::Function,
        declared: &[&str],
    ) -> Option<Function> {
        let place = format!("function {name}");
        let source = self.source(&place, raw.source.as_ref(), raw.runtime.as_ref());
        let runtime = source.as_ref().map(|(_, runtime)| *runtime);
        let handler = raw.handler.as_ref().and_then(|handler| self.handler(&place, handler, runtime));
        let timeout = self.timeout(&place, raw.timeout.as_ref());
        let memory_bytes = self.memory(&place, raw.memory.as_ref());
        let instances = self.instances(&place, raw, runtime);
        let preload = raw.preload.as_ref().and_then(|preload| self.preload(&place, preload));
        let env = self.env(&place, &raw.env);
        let secrets = self.secrets(&place, raw.secrets.as_ref());
        self.secrets_beside_env(&place, raw);
        let emits = self.emits(&place, raw.emits.as_ref());
        let calls = self.calls(&place, raw.calls.as_ref(), declared);
        let chain = self.chain(&place, raw.chain.as_ref());
        let admission = self.admission(&place, raw);
        let egress = self.egress(&place, raw.egress.as_ref());
        let retry = self.retry(&format!("{place}: retry"), raw.retry.as_ref(), &RetryPolicy::default());
        let on = self.subscriptions(&place, &raw.on, &retry);
        let (source, runtime) = source?;
        Some(Function {
            source,
            runtime,
            handler,
            timeout: timeout.unwrap_or(Function::TIMEOUT_DEFAULT),
            memory_bytes: memory_bytes.unwrap_or(Function::MEMORY_DEFAULT),
            concurrency: instances.concurrency,
            instance_concurrency: instances.per_instance,
            min_instances: instances.min,
            idle: instances.idle,
            reuse: instances.reuse,
            keeps_instance: instances.keeps_instance,
            preload: preload.unwrap_or_default(),
            env,
            secrets,
            emits,
            calls,
            chain,
            admission,
            egress,
            on,
            retry,
            destinations: Destinations::default(),
            hook: None,
        })
    }

    fn handler(&mut self, place: &str, handler: &At<String>, runtime: Option<RuntimeKind>) -> Option<String> {
        let name = handler.value.as_str();
        if runtime == Some(RuntimeKind::Provided) {
            return self.provided_handler(place, handler);
        }
        if runtime == Some(RuntimeKind::Wasm) {
            let message =
                format!("{place}: handler {name:?} is given, but a component exports one interface");
            self.problems.add("invalid_value", handler.span.clone(), message).help("leave it out");
            return None;
        }
        let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '$');
        if starts && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '$') {
            return Some(name.to_owned());
        }
        let message = format!("{place}: handler {name:?} is no name of an export");
        let found = self.problems.add("invalid_value", handler.span.clone(), message);
        found.help(match name.rsplit_once('.') {
            Some((_, export)) => format!("the file is given by source; write handler = \"{export}\""),
            None => "write the name of a function that the source exports".to_owned(),
        });
        None
    }

    /// Whatever the bootstrap makes of it; the rule is that of AWS Lambda's `Handler`.
    fn provided_handler(&mut self, place: &str, handler: &At<String>) -> Option<String> {
        let name = handler.value.as_str();
        let is_shown = |c: char| !c.is_whitespace() && !c.is_control();
        if (1..=HANDLER_BYTES_MAX).contains(&name.len()) && name.chars().all(is_shown) {
            return Some(name.to_owned());
        }
        let message =
            format!("{place}: handler {name:?} is empty, has spaces, or more than {HANDLER_BYTES_MAX} bytes");
        let found = self.problems.add("invalid_value", handler.span.clone(), message);
        found.help("write what the bootstrap expects in its variable _HANDLER");
        None
    }

    pub(super) fn timeout(&mut self, place: &str, timeout: Option<&At<String>>) -> Option<Duration> {
        self.duration(place, "timeout", timeout, TIMEOUT_MIN..=TIMEOUT_MAX)
    }

    pub(super) fn duration(
        &mut self,
        place: &str,
        key: &str,
        text: Option<&At<String>>,
        range: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let text = text?;
        match units::parse_duration(&text.value) {
            Ok(value) => self.within(place, key, text, value, range, units::format_duration),
            Err(error) => self.unit_error(place, key, text, &error),
        }
    }

    fn memory(&mut self, place: &str, text: Option<&At<String>>) -> Option<u64> {
        self.size(place, "memory", text, MEMORY_MIN..=MEMORY_MAX)
    }

    pub(super) fn size(
        &mut self,
        place: &str,
        key: &str,
        text: Option<&At<String>>,
        range: RangeInclusive<u64>,
    ) -> Option<u64> {
        let text = text?;
        match units::parse_bytes(&text.value) {
            Ok(value) => self.within(place, key, text, value, range, units::format_bytes),
            Err(error) => self.unit_error(place, key, text, &error),
        }
    }

    pub(super) fn unit_error<T>(
        &mut self,
        place: &str,
        key: &str,
        text: &At<String>,
        error: &units::UnitError,
    ) -> Option<T> {
        self.problems
            .add("invalid_value", text.span.clone(), format!("{place}: {key} {error}"))
            .help(error.help);
        None
    }

    pub(super) fn within<T: PartialOrd + Copy>(
        &mut self,
        place: &str,
        key: &str,
        text: &At<impl fmt::Display>,
        value: T,
        range: RangeInclusive<T>,
        show: impl Fn(T) -> String,
    ) -> Option<T> {
        let (side, limit) = if value < *range.start() {
            ("below the minimum of", *range.start())
        } else if value > *range.end() {
            ("above the limit of", *range.end())
        } else {
            return Some(value);
        };
        let message = format!("{place}: {key} {} is {side} {}", text.value, show(limit));
        self.problems.add("out_of_range", text.span.clone(), message).help(format!(
            "it may be from {} to {}",
            show(*range.start()),
            show(*range.end())
        ));
        None
    }

    pub(super) fn count(
        &mut self,
        place: &str,
        key: &str,
        number: Option<&At<i64>>,
        max: u32,
    ) -> Option<u32> {
        let number = number?;
        let value = self.within(place, key, number, number.value, 1..=i64::from(max), |n| n.to_string())?;
        u32::try_from(value).ok()
    }

    fn preload(&mut self, place: &str, preload: &At<String>) -> Option<Preload> {
        match preload.value.as_str() {
            "module" => Some(Preload::Module),
            "none" => Some(Preload::None),
            other => {
                let message = format!("{place}: preload {other:?} is not known");
                let known = ["module", "none"];
                self.problems
                    .add("invalid_value", preload.span.clone(), message)
                    .maybe_help(did_you_mean(other, known.into_iter()));
                None
            }
        }
    }

    fn env(&mut self, place: &str, env: &[(At<String>, At<String>)]) -> BTreeMap<String, String> {
        let bytes: usize = env.iter().map(|(name, value)| name.value.len() + value.value.len()).sum();
        if let Some((first, _)) = env.first().filter(|_| env.len() > ENV_MAX || bytes > ENV_BYTES_MAX) {
            let count = env.len();
            let message = format!(
                "{place}: env has {count} variables of {bytes} bytes, the limit is {ENV_MAX} of {ENV_BYTES_MAX} bytes"
            );
            self.problems.add("out_of_range", first.span.clone(), message);
        }
        for (name, value) in env.iter().take(ENV_MAX) {
            self.variable(place, name, value);
        }
        env.iter().map(|(name, value)| (name.value.clone(), value.value.clone())).collect()
    }

    fn variable(&mut self, place: &str, name: &At<String>, value: &At<String>) {
        let text = name.value.as_str();
        let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !starts || !text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            self.problems
                .add(
                    "invalid_name",
                    name.span.clone(),
                    format!("{place}: env {text:?} is no name of a variable"),
                )
                .help("a name has letters, digits and _ and does not start with a digit");
        } else if let Some(prefix) = ["EVOKE_", "AWS_"].into_iter().find(|prefix| text.starts_with(prefix)) {
            self.problems
                .add("reserved_name", name.span.clone(), format!("{place}: env {text} is reserved"))
                .help(format!("names that start with {prefix} are set by Evoke; choose another"));
        }
        if value.value.contains('\0') {
            self.problems.add(
                "invalid_value",
                value.span.clone(),
                format!("{place}: env {text} has a NUL character"),
            );
        }
    }

    fn emits(&mut self, place: &str, emits: Option<&At<Vec<At<String>>>>) -> Vec<TypePattern> {
        let Some(emits) = emits else { return Vec::new() };
        let mut seen: Vec<TypePattern> = Vec::with_capacity(emits.value.len());
        self.at_most(place, "emits", emits.value.len(), &emits.span);
        for text in emits.value.iter().take(PATTERNS_MAX) {
            let at = format!("{place}: emits");
            let Some(pattern) = self.pattern(&at, text).filter(|_| self.is_of_the_app(&at, text)) else {
                continue;
            };
            if seen.contains(&pattern) {
                let message = format!("{place}: emits names {:?} twice", text.value);
                self.problems.add("duplicate", text.span.clone(), message);
            }
            seen.push(pattern);
        }
        seen
    }

    pub(super) fn at_most(&mut self, place: &str, key: &str, count: usize, span: &Range<usize>) {
        if count > PATTERNS_MAX {
            let message = format!("{place}: {key} has {count} entries, the limit is {PATTERNS_MAX}");
            self.problems.add("out_of_range", span.clone(), message);
        }
    }

    pub(super) fn pattern(&mut self, place: &str, text: &At<String>) -> Option<TypePattern> {
        let wrong = match TypePattern::parse(&text.value) {
            Ok(pattern) => return Some(pattern),
            Err(wrong) => wrong,
        };
        self.problems.add("invalid_value", text.span.clone(), format!("{place} {wrong}")).help(wrong.help);
        None
    }

    pub(super) fn retry(
        &mut self,
        place: &str,
        raw: Option<&raw::Retry>,
        inherited: &RetryPolicy,
    ) -> RetryPolicy {
        let Some(raw) = raw else { return inherited.clone() };
        let attempts = self.count(place, "attempts", raw.attempts.as_ref(), ATTEMPTS_MAX);
        let backoff = raw.backoff.as_ref().and_then(|backoff| self.backoff(place, backoff));
        let initial = self.duration(place, "initial", raw.initial.as_ref(), PAUSE_MIN..=PAUSE_MAX);
        let max = self.duration(place, "max", raw.max.as_ref(), PAUSE_MIN..=PAUSE_MAX);
        let backoff = backoff.unwrap_or(inherited.backoff);
        if backoff == Backoff::StandardWebhooks
            && let Some(initial) = &raw.initial
        {
            let message = format!("{place}: initial has no meaning with the pauses of standard_webhooks");
            self.problems
                .add("invalid_value", initial.span.clone(), message)
                .help("leave it out, or write backoff = \"exponential\"");
        }
        let mut policy = RetryPolicy {
            attempts: attempts.unwrap_or(inherited.attempts),
            backoff,
            initial: initial.unwrap_or(inherited.initial),
            max: max.unwrap_or(inherited.max),
        };
        if policy.initial > policy.max {
            match (raw.max.as_ref(), raw.initial.as_ref()) {
                // Only one of the two was chosen here: the other, which was not, gives way.
                (None, _) => policy.max = policy.initial,
                (Some(_), None) => policy.initial = policy.max,
                (Some(max), Some(initial)) => {
                    let message = format!("{place}: initial {} is above max {}", initial.value, max.value);
                    self.problems.add("invalid_value", initial.span.clone(), message);
                }
            }
        }
        policy
    }

    fn backoff(&mut self, place: &str, backoff: &At<String>) -> Option<Backoff> {
        match backoff.value.as_str() {
            "exponential" => Some(Backoff::Exponential),
            "fixed" => Some(Backoff::Fixed),
            "standard_webhooks" => Some(Backoff::StandardWebhooks),
            other => {
                let message = format!("{place}: backoff {other:?} is not known");
                self.problems.add("invalid_value", backoff.span.clone(), message).maybe_help(did_you_mean(
                    other,
                    ["exponential", "fixed", "standard_webhooks"].into_iter(),
                ));
                None
            }
        }
    }
}

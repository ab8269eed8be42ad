//! Who answers at a route: a function, another server, or nobody because clients are sent elsewhere.

use std::time::Duration;

use url::Url;

use super::Resolver;
use crate::manifest::bounds::*;
use crate::manifest::problem::did_you_mean;
use crate::manifest::table::At;
use crate::manifest::{RouteTarget, raw};
use crate::redirect::Redirect;
use crate::template::{Template, climbs};
use crate::upstream::{HostField, Upstream};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(30);
const IDLE_TIMEOUT: Duration = Duration::from_secs(5 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const RETRIES: u32 = 1;
const CONCURRENCY: u32 = 100;

impl Resolver<'_, '_> {
    pub(super) fn route_target(
        &mut self,
        place: &str,
        raw: &raw::Route,
        declared: &[&str],
    ) -> Option<RouteTarget> {
        let is_url = |text: &str| text.contains("://");
        match (&raw.to, &raw.redirect) {
            (Some(to), Some(_)) => {
                let message = format!("{place}: to and redirect are both there");
                self.problems.add("conflict", to.span.clone(), message).help("leave one of them out");
                None
            }
            (Some(to), None) if is_url(&to.value) => {
                self.upstream(place, to, raw).map(|upstream| RouteTarget::Upstream(Box::new(upstream)))
            }
            (Some(to), None) => {
                self.only_for_upstreams(place, raw);
                self.target(place, to, declared).map(RouteTarget::Function)
            }
            (None, Some(redirect)) => {
                self.only_for_upstreams(place, raw);
                self.redirect(place, redirect, raw).map(RouteTarget::Redirect)
            }
            (None, None) => None,
        }
    }

    pub(super) fn only_for_upstreams(&mut self, place: &str, raw: &raw::Route) {
        let texts = [
            ("strip_prefix", &raw.strip_prefix),
            ("host", &raw.host),
            ("connect_timeout", &raw.connect_timeout),
            ("timeout", &raw.timeout),
            ("idle_timeout", &raw.idle_timeout),
            ("total_timeout", &raw.total_timeout),
        ];
        let texts = texts.into_iter().filter_map(|(key, text)| Some((key, text.as_ref()?.span.clone())));
        let numbers = [("retries", &raw.retries), ("concurrency", &raw.concurrency)];
        let numbers =
            numbers.into_iter().filter_map(|(key, number)| Some((key, number.as_ref()?.span.clone())));
        for (key, span) in texts.chain(numbers) {
            let message = format!("{place}: {key} is only for routes to an http(s):// upstream");
            self.problems
                .add("invalid_value", span, message)
                .help("leave it out; a function has its own settings");
        }
    }

    fn upstream(&mut self, place: &str, to: &At<String>, raw: &raw::Route) -> Option<Upstream> {
        let (origin, path) = self.url(&format!("{place}: to"), to)?;
        if path.contains('?') || path.contains('#') {
            let message = format!("{place}: to {:?} has a query or a fragment", to.value);
            self.problems
                .add("invalid_value", to.span.clone(), message)
                .help("leave it out; the query of each request is passed on");
            return None;
        }
        let path = self.template(place, to, path.trim_end_matches('/'), raw)?;
        let whole = path.parameters().next().is_some();
        let strip_prefix =
            raw.strip_prefix.as_ref().and_then(|prefix| self.prefix(place, prefix, raw, whole));
        let host = raw.host.as_ref().and_then(|host| self.host_field(place, host));
        let short = TIMEOUT_MIN..=TIMEOUT_MAX;
        let connect = TIMEOUT_MIN..=CONNECT_TIMEOUT_MAX;
        let connect = self.duration(place, "connect_timeout", raw.connect_timeout.as_ref(), connect);
        let timeout = self.duration(place, "timeout", raw.timeout.as_ref(), short);
        let idle = Duration::from_secs(1)..=DAY;
        let idle = self.duration(place, "idle_timeout", raw.idle_timeout.as_ref(), idle);
        let total = self.duration(place, "total_timeout", raw.total_timeout.as_ref(), TIMEOUT_MIN..=DAY);
        let concurrency = self.count(place, "concurrency", raw.concurrency.as_ref(), CONCURRENCY_MAX);
        Some(Upstream {
            origin,
            path,
            strip_prefix,
            host: host.unwrap_or_default(),
            connect_timeout: connect.unwrap_or(CONNECT_TIMEOUT),
            timeout: timeout.unwrap_or(TIMEOUT),
            idle_timeout: idle.unwrap_or(IDLE_TIMEOUT),
            total_timeout: total,
            retries: self.retries(place, raw.retries.as_ref()),
            concurrency: concurrency.unwrap_or(CONCURRENCY),
        })
    }

    fn retries(&mut self, place: &str, retries: Option<&At<i64>>) -> u32 {
        let Some(number) = retries else { return RETRIES };
        match u32::try_from(number.value) {
            Ok(value) if number.value <= RETRIES_MAX => value,
            _ => {
                let message = format!("{place}: retries {} is outside of 0 to {RETRIES_MAX}", number.value);
                self.problems.add("out_of_range", number.span.clone(), message);
                RETRIES
            }
        }
    }

    fn redirect(&mut self, place: &str, raw: &raw::Redirect, route: &raw::Route) -> Option<Redirect> {
        let place = format!("{place}: redirect");
        let status = match &raw.status {
            None => Redirect::STATUS_DEFAULT,
            Some(status) => match u16::try_from(status.value) {
                Ok(code) if Redirect::STATUSES.contains(&code) => code,
                _ => {
                    let message = format!("{place}: status {} is none of a redirect", status.value);
                    self.problems
                        .add("invalid_value", status.span.clone(), message)
                        .help("write 301 or 308 for ever, 302 or 307 for now, 303 for another page to GET");
                    Redirect::STATUS_DEFAULT
                }
            },
        };
        let to = raw.to.as_ref()?;
        let text = &to.value;
        if text.starts_with('/') && !text.starts_with("//") {
            return Some(Redirect { to: self.template(&place, to, text, route)?, status });
        }
        let (origin, path) = self.url(&format!("{place}: to"), to)?;
        let to = self.template(&place, to, &format!("{origin}{path}"), route)?;
        Some(Redirect { to, status })
    }

    /// Splits a URL into its origin, as others write it too, and what follows.
    fn url<'u>(&mut self, place: &str, to: &'u At<String>) -> Option<(String, &'u str)> {
        let text = to.value.as_str();
        let mut wrong = |reason: &str, help: &str| {
            let message = format!("{place} {text:?} {reason}");
            self.problems.add("invalid_value", to.span.clone(), message).help(help);
            None
        };
        const EXAMPLE: &str = "write \"https://legacy.example.com/api\"";
        if text.len() > ROUTE_URL_BYTES_MAX {
            return wrong("is longer than 2048 bytes", "shorten it");
        }
        let Some((scheme @ ("https" | "http"), rest)) = text.split_once("://") else {
            return wrong("is neither https:// nor http://", EXAMPLE);
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.contains(['{', '}']) {
            return wrong(
                "has a parameter in its host",
                "a client must not choose the host; write one route for each",
            );
        }
        if authority.contains('@') {
            return wrong("has a user name or a password", "it would be no secret here; leave it out");
        }
        let url = match Url::parse(&format!("{scheme}://{authority}/")) {
            Ok(url) => url,
            Err(cause) => return wrong(&format!("is no URL: {cause}"), EXAMPLE),
        };
        if authority.is_empty() || !url.has_host() {
            return wrong("has no host", EXAMPLE);
        }
        Some((url.origin().ascii_serialization(), path))
    }

    /// A template whose parameters are those of the route's path.
    fn template(&mut self, place: &str, to: &At<String>, text: &str, raw: &raw::Route) -> Option<Template> {
        let template = match Template::parse(text) {
            Ok(template) => template,
            Err(error) => {
                let message = format!("{place}: to {:?} {error}", to.value);
                self.problems.add("invalid_value", to.span.clone(), message);
                return None;
            }
        };
        if climbs(text.split(['?', '#']).next().unwrap_or_default()) {
            let message = format!("{place}: to {:?} has a . or .. segment", to.value);
            self.problems.add("invalid_value", to.span.clone(), message).help("write the path they lead to");
            return None;
        }
        let path = raw.path.as_ref().map_or("", |path| path.value.as_str());
        let known: Vec<&str> =
            path.split('/').filter_map(|s| s.strip_prefix('{')?.strip_suffix('}')).collect();
        for parameter in template.parameters() {
            if !known.contains(&parameter.as_str()) {
                let message =
                    format!("{place}: to {:?} has the parameter {{{parameter}}}, the path has not", to.value);
                let help = did_you_mean(&parameter, known.iter().copied());
                let help = help.unwrap_or_else(|| match known.as_slice() {
                    [] => "the path has none".to_owned(),
                    known => format!("the path has {}", known.join(", ")),
                });
                self.problems.add("unknown_parameter", to.span.clone(), message).help(help);
                return None;
            }
        }
        Some(template)
    }

    fn prefix(&mut self, place: &str, prefix: &At<String>, raw: &raw::Route, whole: bool) -> Option<String> {
        let text = prefix.value.trim_end_matches('/');
        let path = raw.path.as_ref().map_or("", |path| path.value.as_str());
        let begins = path.strip_prefix(text).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let wrong = if whole {
            Some(("is of no use where to has parameters, which make the whole path", "leave it out"))
        } else if text.contains(['{', '}']) {
            Some((
                "has a parameter",
                "write the whole path into to, with the parameters: \"https://…/{*rest}\"",
            ))
        } else if !begins || text.is_empty() {
            Some(("is not what the path begins with", "write the first segments of path"))
        } else {
            None
        };
        if let Some((wrong, help)) = wrong {
            let message = format!("{place}: strip_prefix {:?} {wrong}", prefix.value);
            self.problems.add("invalid_value", prefix.span.clone(), message).help(help);
            return None;
        }
        Some(text.to_owned())
    }

    fn host_field(&mut self, place: &str, host: &At<String>) -> Option<HostField> {
        match host.value.as_str() {
            "upstream" => Some(HostField::Upstream),
            "client" => Some(HostField::Client),
            other => {
                let message = format!("{place}: host {other:?} is not known");
                let near = did_you_mean(other, ["upstream", "client"].into_iter());
                self.problems
                    .add("invalid_value", host.span.clone(), message)
                    .help(near.unwrap_or_else(|| "write \"upstream\" or \"client\"".to_owned()));
                None
            }
        }
    }
}

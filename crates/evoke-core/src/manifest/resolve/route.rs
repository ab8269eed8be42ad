//! Routes: their paths, and that no two of them claim the same request.

use super::Resolver;
use super::experiment::{Raw, Stands};
use crate::id::{FunctionName, RouteName};
use crate::manifest::bounds::{METHODS_MAX, PATH_BYTES_MAX, ROUTES_MAX};
use crate::manifest::problem::did_you_mean;
use crate::manifest::table::At;
use crate::manifest::{Route, RouteTarget, raw};

/// What a route may name.
pub(super) struct Standing<'s> {
    /// Functions.
    pub declared: &'s [&'s str],
    /// Functions and decorators without code.
    pub standing: &'s [&'s str],
    pub experiments: &'s Raw<'s>,
}

/// What a route takes for itself, also one whose target is not known.
struct Claim {
    path: String,
    methods: Vec<String>,
    line: u32,
}

impl Resolver<'_, '_> {
    /// The routes in file order. Their distinct paths can all be put in one `matchit` router; routes with the same
    /// path have different methods.
    pub(super) fn routes(
        &mut self,
        raw: &[raw::Route],
        of: &Standing<'_>,
        app_cors: Option<&raw::Cors>,
    ) -> Vec<Route> {
        let app_cors = app_cors.and_then(|cors| self.cors("app: cors", cors));
        if let Some(path) = raw.get(ROUTES_MAX).and_then(|route| route.path.as_ref()) {
            let message = format!("{} routes are more than the limit of {ROUTES_MAX}", raw.len());
            self.problems.add("out_of_range", path.span.clone(), message);
        }
        let mut table = matchit::Router::new();
        let mut claims: Vec<Claim> = Vec::new();
        let mut routes = Vec::new();
        for (at, raw) in raw.iter().take(ROUTES_MAX).enumerate() {
            let place = format!("route {}", at + 1);
            let path = raw.path.as_ref().filter(|path| self.path_syntax(&place, path));
            let methods = self.methods(&place, raw.methods.as_ref());
            let name = self.route_name(&place, raw, &routes);
            let to = self.leads_to(&place, raw, of);
            let cors = match &raw.cors {
                Some(cors) => self.cors(&format!("{place}: cors"), cors),
                None => app_cors.clone(),
            };
            let decorators = self.decorators(&place, raw, of.standing, of.experiments);
            let (Some(path), Some(methods)) = (path, methods) else { continue };
            if !claims.iter().any(|other| other.path == path.value)
                && let Err(error) = table.insert(path.value.clone(), ())
            {
                self.conflict(&place, path, &error, &claims);
            }
            self.overlap(&place, path, &methods, &claims);
            let line = self.problems.line(&path.span);
            claims.push(Claim { path: path.value.clone(), methods: methods.clone(), line });
            let path = path.value.clone();
            routes.extend(to.map(|to| Route { name, path, methods, to, cors, decorators }));
        }
        routes
    }

    /// Its name, which no route before it has.
    fn route_name(&mut self, place: &str, raw: &raw::Route, before: &[Route]) -> Option<RouteName> {
        let text = raw.name.as_ref()?;
        match RouteName::new(&text.value) {
            Ok(name) if before.iter().any(|other| other.name.as_ref() == Some(&name)) => {
                let message = format!("{place}: another route has the name {name}");
                self.problems.add("duplicate", text.span.clone(), message);
                None
            }
            Ok(name) => Some(name),
            Err(error) => {
                self.invalid_name(text, error.to_string());
                None
            }
        }
    }

    /// A function, an upstream, a redirect, or an experiment of those.
    fn leads_to(&mut self, place: &str, raw: &raw::Route, of: &Standing<'_>) -> Option<RouteTarget> {
        let named = raw.to.as_ref().filter(|_| raw.redirect.is_none());
        match named.and_then(|to| Some((to, of.experiments.get(to.value.as_str())?))) {
            Some((to, (experiment, Stands::AtTheEnd))) => {
                self.experiment_targets(place, (to, experiment), raw, of.declared)
            }
            Some((to, (_, Stands::AmongDecorators))) => {
                let message = format!("{place}: experiment {} is one of decorators", to.value);
                self.problems
                    .add("conflict", to.span.clone(), message)
                    .help("name it in decorators, or give each of its variants a to");
                None
            }
            None => self.route_target(place, raw, of.declared),
        }
    }

    pub(super) fn path_syntax(&mut self, place: &str, path: &At<String>) -> bool {
        let Err((reason, help)) = check_path(&path.value) else { return true };
        let message = format!("{place}: path {:?} {reason}", path.value);
        self.problems.add("invalid_value", path.span.clone(), message).help(help);
        false
    }

    pub(super) fn methods(
        &mut self,
        place: &str,
        methods: Option<&At<Vec<At<String>>>>,
    ) -> Option<Vec<String>> {
        let Some(methods) = methods else { return Some(Vec::new()) };
        if methods.value.is_empty() {
            let message = format!("{place}: methods is empty, so that no request would match");
            self.problems
                .add("invalid_value", methods.span.clone(), message)
                .help("leave it out to take all methods");
            return None;
        }
        if methods.value.len() > METHODS_MAX {
            let message =
                format!("{place}: {} methods are more than the limit of {METHODS_MAX}", methods.value.len());
            self.problems.add("out_of_range", methods.span.clone(), message);
            return None;
        }
        let mut seen: Vec<String> = Vec::with_capacity(methods.value.len());
        for method in &methods.value {
            let name = &method.value;
            let token = !name.is_empty()
                && name.len() <= 32
                && name.bytes().all(|b| b.is_ascii_uppercase() || b == b'-');
            if !token {
                let upper = name.to_ascii_uppercase();
                let message = format!("{place}: method {name:?} is no upper-case method name");
                let found = self.problems.add("invalid_value", method.span.clone(), message);
                found.help(match upper.as_str() {
                    "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS" => {
                        format!("write \"{upper}\"")
                    }
                    _ => "methods are GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS and the like".to_owned(),
                });
            } else if seen.contains(name) {
                self.problems.add(
                    "duplicate",
                    method.span.clone(),
                    format!("{place}: methods names {name} twice"),
                );
            }
            seen.push(name.clone());
        }
        Some(seen)
    }

    pub(super) fn target(&mut self, place: &str, to: &At<String>, declared: &[&str]) -> Option<FunctionName> {
        let name = to.value.as_str();
        if declared.contains(&name) {
            return FunctionName::new(name).ok();
        }
        let near = did_you_mean(name, declared.iter().copied());
        let help = near.unwrap_or_else(|| "declare one with [functions.NAME]".to_owned());
        let message = format!("{place}: to {name:?} is no function of this app");
        self.problems.add("unknown_function", to.span.clone(), message).help(help);
        None
    }

    fn conflict(&mut self, place: &str, path: &At<String>, error: &matchit::InsertError, claims: &[Claim]) {
        let matchit::InsertError::Conflict { with } = error else {
            self.problems.add(
                "invalid_value",
                path.span.clone(),
                format!("{place}: path {:?}: {error}", path.value),
            );
            return;
        };
        let line =
            claims.iter().find(|other| other.path == *with).map(|other| format!(" in line {}", other.line));
        let message = format!("{place}: path {:?} takes the same requests as {with:?}", path.value)
            + &line.unwrap_or_default();
        let help = match path.value.contains("{*") == with.contains("{*") {
            true => {
                "give the parameter the same name in both, with different methods, or leave one of them out"
            }
            false => "one segment and all further ones cannot be told apart here; leave one of them out",
        };
        self.problems.add("conflict", path.span.clone(), message).help(help);
    }

    fn overlap(&mut self, place: &str, path: &At<String>, methods: &[String], claims: &[Claim]) {
        for other in claims.iter().filter(|other| other.path == path.value) {
            let both = match methods.iter().find(|method| other.methods.contains(method)) {
                Some(method) => method.clone(),
                None if methods.is_empty() || other.methods.is_empty() => "all methods".to_owned(),
                None => continue,
            };
            let message = format!("{place}: {both} {} is already routed in line {}", path.value, other.line);
            self.problems
                .add("duplicate", path.span.clone(), message)
                .help("one request goes to one function");
            return;
        }
    }
}

/// `/`-separated segments, each literal, `{name}`, or as the last one `{*name}`. Errors are what is wrong and what is right.
fn check_path(path: &str) -> Result<(), (&'static str, &'static str)> {
    if path.len() > PATH_BYTES_MAX {
        return Err(("is longer than 1024 bytes", "shorten it"));
    }
    let Some(rest) = path.strip_prefix('/') else {
        return Err(("does not start with /", "write \"/orders\""));
    };
    let mut names: Vec<&str> = Vec::new();
    let last = rest.split('/').count() - 1;
    for (at, segment) in rest.split('/').enumerate() {
        if segment.is_empty() && at < last {
            return Err(("has an empty segment", "write one / between segments"));
        }
        let Some(parameter) = segment.strip_prefix('{') else {
            check_literal(segment)?;
            continue;
        };
        let Some(parameter) = parameter.strip_suffix('}') else {
            return Err((
                "has a parameter that is not a whole segment",
                "write /{name}/ with nothing around it",
            ));
        };
        if parameter.starts_with('*') && at < last {
            return Err(("has a {*…} that is not its last segment", "what follows can never match"));
        }
        let name = parameter.strip_prefix('*').unwrap_or(parameter);
        let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !starts || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err((
                "has a parameter without a proper name",
                "a name has letters, digits and _: {order_id}",
            ));
        }
        if names.contains(&name) {
            return Err(("has two parameters of the same name", "give each its own"));
        }
        names.push(name);
    }
    Ok(())
}

fn check_literal(segment: &str) -> Result<(), (&'static str, &'static str)> {
    if segment.contains(['{', '}']) {
        return Err(("has a parameter that is not a whole segment", "write /{name}/ with nothing around it"));
    }
    if segment.starts_with(':') || segment == "*" {
        return Err((
            "has a parameter in another router's style",
            "write {name}, or {*rest} as the last segment",
        ));
    }
    if segment == "." || segment == ".." {
        return Err(("has a . or .. segment", "clients resolve those before they send"));
    }
    if segment.contains(['?', '#']) {
        return Err(("has a query or fragment", "a route matches the path alone"));
    }
    match segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&b)) {
        true => Ok(()),
        false => Err(("has characters that do not stand in a path", "use letters, digits and - . _ ~")),
    }
}

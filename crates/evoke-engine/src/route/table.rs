//! The table of all routes of all apps, and what stands on the way along each.

use std::collections::BTreeMap;
use std::sync::Arc;

use evoke_core::cors::Cors;
use evoke_core::decorator::BuiltIn;
use evoke_core::id::{AppName, FunctionName};
use evoke_core::manifest::{Manifest, Route, RouteTarget};
use percent_encoding::percent_decode_str;

use super::{Decorator, Destination, NoRoute, RouteMatch};
use crate::deploy::Deployment;
use crate::experiment::{Split, Way};

/// Another app has the route already.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RouteTaken {
    pub route: String,
    pub owner: AppName,
}

/// All routes of all apps. Parameters are renamed by position inside, so that `/a/{x}` and `/a/{y}/b` go together.
#[derive(Default)]
pub(crate) struct RouteTable {
    router: matchit::Router<usize>,
    places: Vec<Place>,
    by_path: BTreeMap<String, usize>,
}

#[derive(Default)]
struct Place {
    entries: Vec<RouteEntry>,
}

struct RouteEntry {
    methods: Arc<[String]>,
    app: AppName,
    to: Destination,
    pattern: Arc<str>,
    params: Vec<String>,
    on_way: OnWay,
}

struct OnWay {
    id: Arc<str>,
    cors: Option<Arc<Cors>>,
    decorators: Arc<[Decorator]>,
}

/// What the names on the routes of an app stand for.
struct Ways<'m> {
    manifest: &'m Manifest,
    /// One for all the routes that it stands on.
    built_ins: BTreeMap<&'m FunctionName, Arc<BuiltIn>>,
}

impl<'m> Ways<'m> {
    fn of(manifest: &'m Manifest) -> Self {
        let built_ins = manifest.decorators.iter().map(|(name, rule)| (name, Arc::new(rule.clone())));
        Self { manifest, built_ins: built_ins.collect() }
    }

    /// What the route leads to, and what stands before.
    fn along(&self, route: &Route) -> Option<(Destination, Arc<[Decorator]>)> {
        let to = match &route.to {
            RouteTarget::Experiment { name, variants } => {
                let experiment = self.manifest.experiments.get(name)?;
                let way = |name| simple(variants.get(name)?).map(Way::To);
                let ways = experiment.variants.iter().map(|variant| way(&variant.name));
                Destination::Experiment(self.split(route, name, ways.collect::<Option<_>>()?)?)
            }
            to => simple(to)?,
        };
        let before = route.decorators.iter().map(|name| match self.manifest.experiments.get(name) {
            None => Some(self.decorator(name)),
            Some(experiment) => {
                let passed = experiment.variants.iter().map(|variant| {
                    let names = variant.decorators.iter().flatten();
                    Way::Decorators(names.map(|name| self.decorator(name)).collect())
                });
                self.split(route, name, passed.collect()).map(Decorator::Experiment)
            }
        });
        Some((to, before.collect::<Option<_>>()?))
    }

    fn split(&self, route: &Route, name: &FunctionName, ways: Vec<Way>) -> Option<Arc<Split>> {
        let experiment = self.manifest.experiments.get(name)?;
        Split::new(&self.manifest.app, route.id(), name, experiment, ways).map(Arc::new)
    }

    fn decorator(&self, name: &FunctionName) -> Decorator {
        match self.built_ins.get(name) {
            Some(rule) => Decorator::BuiltIn(name.clone(), rule.clone()),
            None => Decorator::Function(name.clone()),
        }
    }
}

/// `None` for an experiment.
fn simple(target: &RouteTarget) -> Option<Destination> {
    Some(match target {
        RouteTarget::Function(name) => Destination::Function(name.clone()),
        RouteTarget::Upstream(upstream) => Destination::Upstream(Arc::new((**upstream).clone())),
        RouteTarget::Redirect(redirect) => Destination::Redirect(Arc::new(redirect.clone())),
        RouteTarget::Experiment { .. } => return None,
    })
}

impl RouteTable {
    /// Those of deployments of which none takes another one's.
    pub fn of<'a>(deployments: impl Iterator<Item = &'a Deployment>) -> Self {
        let mut routes = Self::default();
        for deployment in deployments {
            if let Err(RouteTaken { route, owner }) = routes.add(deployment) {
                tracing::error!(app = %deployment.manifest.app, route, %owner, "not served: its route is taken");
            }
        }
        routes
    }

    pub fn add(&mut self, deployment: &Deployment) -> Result<(), RouteTaken> {
        let Manifest { app, routes, webhooks, beacons, .. } = &deployment.manifest;
        let ways = Ways::of(&deployment.manifest);
        let routes = routes.iter().filter_map(|route| {
            let (to, decorators) = ways.along(route)?;
            let on_way = OnWay { id: route.id().into(), cors: route.cors.clone().map(Arc::new), decorators };
            Some((&route.path, route.methods.clone(), to, on_way))
        });
        let webhooks = webhooks.iter().enumerate();
        let webhooks = webhooks.map(|(at, webhook)| reported(&webhook.path, Destination::Webhook(at)));
        let beacons = beacons.iter().enumerate();
        let beacons = beacons.map(|(at, beacon)| reported(&beacon.path, Destination::Beacon(at)));
        for (route, methods, to, on_way) in routes.chain(webhooks).chain(beacons) {
            let (path, params) = normalise(route);
            let index = match self.by_path.get(&path) {
                Some(index) => *index,
                None => {
                    let index = self.places.len();
                    let taken = |_| RouteTaken { route: route.clone(), owner: app.clone() };
                    self.router.insert(&path, index).map_err(taken)?;
                    self.places.push(Place::default());
                    self.by_path.insert(path, index);
                    index
                }
            };
            let place = &mut self.places[index];
            if let Some(other) = place.entries.iter().find(|e| e.app != *app && overlap(&e.methods, &methods))
            {
                let methods = if methods.is_empty() { "*".to_owned() } else { methods.join(",") };
                return Err(RouteTaken { route: format!("{methods} {route}"), owner: other.app.clone() });
            }
            let (app, pattern, methods) = (app.clone(), route.as_str().into(), methods.into());
            place.entries.push(RouteEntry { methods, app, to, pattern, params, on_way });
        }
        Ok(())
    }

    pub fn find(&self, method: &str, path: &str) -> Result<RouteMatch, NoRoute> {
        let found = self.router.at(path).map_err(|_| NoRoute::NotFound)?;
        let entries = &self.places[*found.value].entries;
        // A route that names the method wins over one that takes all; HEAD is answered by GET (RFC 9110, 9.3.2).
        let named = |wanted: &str| entries.iter().find(|e| e.methods.iter().any(|m| m == wanted));
        let entry = named(method)
            .or_else(|| (method == "HEAD").then(|| named("GET")).flatten())
            .or_else(|| entries.iter().find(|e| e.methods.is_empty()));
        let Some(entry) = entry else {
            let mut allowed: Vec<String> = entries.iter().flat_map(|e| e.methods.iter().cloned()).collect();
            if allowed.iter().any(|m| m == "GET") {
                allowed.push("HEAD".to_owned());
            }
            allowed.sort();
            allowed.dedup();
            return Err(NoRoute::MethodNotAllowed(allowed));
        };
        let values =
            found.params.iter().map(|(_, value)| percent_decode_str(value).decode_utf8_lossy().into_owned());
        Ok(RouteMatch {
            app: entry.app.clone(),
            to: entry.to.clone(),
            params: entry.params.iter().cloned().zip(values).collect(),
            pattern: entry.pattern.clone(),
            methods: entry.methods.clone(),
            id: entry.on_way.id.clone(),
            cors: entry.on_way.cors.clone(),
            decorators: entry.on_way.decorators.clone(),
        })
    }
}

/// Where reports come to.
fn reported(path: &String, to: Destination) -> (&String, Vec<String>, Destination, OnWay) {
    let on_way = OnWay { id: path.as_str().into(), cors: None, decorators: Arc::default() };
    (path, vec!["POST".to_owned()], to, on_way)
}

/// No methods means all of them.
fn overlap(a: &[String], b: &[String]) -> bool {
    (a.is_empty() && b.is_empty()) || a.iter().any(|m| b.contains(m))
}

/// `/a/{id}/{*rest}` → (`/a/{p0}/{*p1}`, [`id`, `rest`]).
fn normalise(path: &str) -> (String, Vec<String>) {
    let mut names = Vec::new();
    let segments: Vec<String> = path
        .split('/')
        .map(|segment| match segment.strip_prefix('{').and_then(|s| s.strip_suffix('}')) {
            Some(name) => {
                let (star, name) = name.strip_prefix('*').map_or(("", name), |rest| ("*", rest));
                names.push(name.to_owned());
                format!("{{{star}p{}}}", names.len() - 1)
            }
            None => segment.to_owned(),
        })
        .collect();
    (segments.join("/"), names)
}

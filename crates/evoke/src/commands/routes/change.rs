//! The change of an `evoke.toml` that makes a variant the only one: the experiment's place on the route gets what the variant is,
//! and the experiment goes when no other route has it. Everything else stays as it was written, comments included.

use evoke_core::id::{FunctionName, VariantName};
use evoke_core::manifest::{Manifest, UnclearRoute};
use toml_edit::{DocumentMut, Item, TableLike, Value};

/// Keys of a route that only one to an upstream may have.
const OF_UPSTREAMS: [&str; 8] = [
    "strip_prefix",
    "host",
    "connect_timeout",
    "timeout",
    "idle_timeout",
    "total_timeout",
    "retries",
    "concurrency",
];

/// Why there is nothing to change.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoChange {
    /// It is not clear which route is meant.
    #[error("evoke.toml: {0}")]
    Route(#[from] UnclearRoute),
    /// The route has no experiment with such a variant, any more or yet.
    #[error("evoke.toml has no experiment with a variant {variant} on route {route}")]
    Gone {
        /// The route.
        route: String,
        /// What was promoted.
        variant: VariantName,
    },
    /// Several experiments on the route have such a variant.
    #[error("several experiments on route {route} have a variant {variant}; name one: {}", .experiments.join(", "))]
    Several {
        /// The route.
        route: String,
        /// What was asked for.
        variant: VariantName,
        /// How to ask for one: `EXPERIMENT/VARIANT`.
        experiments: Vec<String>,
    },
    /// The file is not as the manifest says that was read from it.
    #[error("evoke.toml cannot be changed: {0}")]
    Broken(String),
}

/// `text`, of which `manifest` was read, with `variant` in the place of its experiment on the route.
pub(super) fn promote(
    text: &str,
    manifest: &Manifest,
    route: &str,
    experiment: Option<&FunctionName>,
    variant: &VariantName,
) -> Result<String, NoChange> {
    let route = manifest.route(route)?;
    let with = route.experiments(manifest).filter(|name| {
        experiment.is_none_or(|asked| asked == *name)
            && manifest.experiments[*name].position(variant).is_some()
    });
    let name = match with.collect::<Vec<_>>().as_slice() {
        [one] => (*one).clone(),
        [] => return Err(NoChange::Gone { route: route.id(), variant: variant.clone() }),
        several => {
            let experiments = several.iter().map(|name| format!("{name}/{variant}")).collect();
            return Err(NoChange::Several { route: route.id(), variant: variant.clone(), experiments });
        }
    };
    let broken = |what: &str| NoChange::Broken(what.to_owned());
    let mut document: DocumentMut =
        text.parse().map_err(|cause: toml_edit::TomlError| NoChange::Broken(cause.to_string()))?;
    let at = manifest.routes.iter().position(|other| other == route).unwrap_or_default();
    let way = way(&document, &name, variant).ok_or_else(|| broken("the variant is not where it was read"))?;
    let table = route_at(&mut document, at).ok_or_else(|| broken("the route is not where it was read"))?;
    match way {
        Way::Decorators(names) => put_decorators(table, &name, &names),
        Way::To(to) => {
            if !to.contains("://") {
                OF_UPSTREAMS.iter().for_each(|key| drop(table.remove(key)));
            }
            put_value(table, "to", to.into());
        }
        Way::Redirect(redirect) => {
            OF_UPSTREAMS.iter().for_each(|key| drop(table.remove(key)));
            table.remove("to");
            table.insert("redirect", Item::Value(redirect));
        }
    }
    let is_elsewhere = manifest
        .routes
        .iter()
        .enumerate()
        .any(|(other, route)| other != at && route.experiments(manifest).any(|used| *used == name));
    if !is_elsewhere {
        let experiments = document.get_mut("experiments").and_then(Item::as_table_like_mut);
        let is_last = experiments.is_some_and(|experiments| {
            experiments.remove(name.as_str());
            experiments.is_empty()
        });
        if is_last {
            document.remove("experiments");
        }
    }
    Ok(document.to_string())
}

/// What a variant is, as the file has it.
enum Way {
    Decorators(Vec<String>),
    To(String),
    Redirect(Value),
}

fn way(document: &DocumentMut, experiment: &FunctionName, variant: &VariantName) -> Option<Way> {
    let experiment = document.get("experiments")?.get(experiment.as_str())?;
    let variant = experiment.get("variants")?.get(variant.as_str())?.as_table_like()?;
    if let Some(names) = variant.get("decorators") {
        let names = names.as_array()?.iter().filter_map(|name| name.as_str().map(str::to_owned));
        return Some(Way::Decorators(names.collect()));
    }
    if let Some(to) = variant.get("to") {
        return Some(Way::To(to.as_str()?.to_owned()));
    }
    let redirect = variant.get("redirect")?.as_table_like()?;
    let mut inline = toml_edit::InlineTable::new();
    for (key, item) in redirect.iter() {
        inline.insert(key, item.as_value()?.clone().decorated(" ", ""));
    }
    inline.fmt();
    Some(Way::Redirect(Value::InlineTable(inline)))
}

/// The route's table, however routes are written.
fn route_at(document: &mut DocumentMut, at: usize) -> Option<&mut dyn TableLike> {
    match document.get_mut("routes")? {
        Item::ArrayOfTables(tables) => tables.get_mut(at).map(|table| table as &mut dyn TableLike),
        Item::Value(Value::Array(tables)) => {
            tables.get_mut(at)?.as_inline_table_mut().map(|table| table as &mut dyn TableLike)
        }
        _ => None,
    }
}

/// The names in the place of the experiment's.
fn put_decorators(route: &mut dyn TableLike, experiment: &FunctionName, names: &[String]) {
    let Some(list) = route.get_mut("decorators").and_then(Item::as_array_mut) else { return };
    let Some(at) = list.iter().position(|name| name.as_str() == Some(experiment.as_str())) else { return };
    let former = list.remove(at);
    let mut next = at;
    for name in names {
        let mut value = Value::from(name.as_str());
        *value.decor_mut() = former.decor().clone();
        if next > at {
            value.decor_mut().set_prefix(if at == 0 { " " } else { former.prefix() });
        }
        list.insert_formatted(next, value);
        next += 1;
    }
    if next == at
        && at == 0
        && let Some(first) = list.get_mut(0)
    {
        // It stands where the experiment stood.
        let prefix = former.decor().prefix().cloned().unwrap_or_default();
        first.decor_mut().set_prefix(prefix);
    }
    let has_comment = |item: &Item| {
        let decor = item.as_value().map(Value::decor);
        let texts = decor.into_iter().flat_map(|decor| [decor.prefix(), decor.suffix()]);
        texts.flatten().any(|text| text.as_str().is_some_and(|text| text.contains('#')))
    };
    if list.is_empty() && !list.trailing().as_str().is_some_and(|text| text.contains('#')) {
        let is_bare = route.get("decorators").is_some_and(|item| !has_comment(item));
        let key_is_bare = route.key("decorators").is_some_and(|key| {
            let prefix = key.leaf_decor().prefix().and_then(|prefix| prefix.as_str());
            !prefix.is_some_and(|prefix| prefix.contains('#'))
        });
        if is_bare && key_is_bare {
            route.remove("decorators");
        }
    }
}

/// Another value where one was, with what stands around it.
fn put_value(route: &mut dyn TableLike, key: &str, mut value: Value) {
    match route.get_mut(key).and_then(Item::as_value_mut) {
        Some(former) => {
            *value.decor_mut() = former.decor().clone();
            *former = value;
        }
        None => drop(route.insert(key, Item::Value(value))),
    }
}

trait Prefix {
    fn prefix(&self) -> &str;
}

impl Prefix for Value {
    fn prefix(&self) -> &str {
        self.decor().prefix().and_then(|prefix| prefix.as_str()).unwrap_or(" ")
    }
}

#[cfg(test)]
mod tests {
    use evoke_core::manifest::{FileKind, parse};

    use super::*;

    const TOML: &str = r#"evoke = "1" # first

[app]
name = "shop"

# What greets.
[functions.greet]
source = "greet.js"   # the new one

[functions.log]
source = "log.js"

[functions.last]
source = "last.js"

[decorators.stamp]
response = { set = { x-new = "1" } }

# Tried since March.
[experiments.greeting]
sticky = "cookie"
variants.old = { weight = 90, decorators = [] }
variants.new = { weight = 10, decorators = ["greet", "stamp"] }

[experiments.backend.variants]
legacy = { weight = 90, to = "http://10.0.0.7/api" } # of 2009
rewrite = { weight = 10, to = "last" }
away = { weight = 0, redirect = { to = "/x", status = 308 } }

# The front page.
[[routes]]
path = "/hello"
decorators = ["greeting"] # in front
to = "last"

[[routes]]
path = "/orders" # all of them
timeout = "3s"
to = "backend"   # one of three

[[routes]]
path = "/more"
decorators = [
  "log",      # first
  "greeting", # then
]
to = "backend"
"#;

    fn manifest(text: &str) -> Manifest {
        parse(text, "evoke.toml", &|_| Some(FileKind::File)).unwrap()
    }

    fn promoted(text: &str, route: &str, variant: &str) -> String {
        let variant = VariantName::new(variant).unwrap();
        let after = promote(text, &manifest(text), route, None, &variant).unwrap();
        manifest(&after);
        after
    }

    fn changed(before: &str, after: &str) -> String {
        similar::TextDiff::from_lines(before, after).unified_diff().context_radius(0).to_string()
    }

    #[test]
    fn the_experiment_stays_while_another_route_has_it() {
        let after = promoted(TOML, "/hello", "new");
        insta::assert_snapshot!("decorators_first_route", changed(TOML, &after));
    }

    #[test]
    fn the_experiment_goes_with_the_last_route() {
        let one = promoted(TOML, "/hello", "old");
        let both = promoted(&one, "/more", "new");
        insta::assert_snapshot!("decorators_last_route", changed(TOML, &both));
        assert!(!both.contains("greeting]"), "{both}");
    }

    #[test]
    fn what_a_route_leads_to_is_replaced_and_loses_what_only_upstreams_have() {
        insta::assert_snapshot!("to_upstream", changed(TOML, &promoted(TOML, "/orders", "legacy")));
        insta::assert_snapshot!("to_function", changed(TOML, &promoted(TOML, "/orders", "rewrite")));
        insta::assert_snapshot!("to_redirect", changed(TOML, &promoted(TOML, "/orders", "away")));
        let one = promoted(TOML, "/orders", "legacy");
        let all = promoted(&promoted(&promoted(&one, "/more", "legacy"), "/more", "old"), "/hello", "old");
        assert!(!all.contains("experiments"), "{all}");
        assert_eq!(manifest(&all).routes[2].decorators.len(), 1);
    }

    #[test]
    fn what_is_not_there_is_said() {
        let variant = VariantName::new("newest").unwrap();
        let refused = promote(TOML, &manifest(TOML), "/hello", None, &variant).unwrap_err();
        assert_eq!(refused.to_string(), "evoke.toml has no experiment with a variant newest on route /hello");
        let refused = promote(TOML, &manifest(TOML), "/x", None, &variant).unwrap_err();
        let said = refused.to_string();
        assert!(
            said.starts_with("evoke.toml: no route is called \"/x\"; known are ") && said.contains("/orders"),
            "{said}"
        );
    }
}

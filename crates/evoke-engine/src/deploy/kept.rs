//! Caches that stand where they give to everybody what somebody was let in for.

use evoke_core::decorator::BuiltIn;
use evoke_core::id::FunctionName;
use evoke_core::manifest::Manifest;

/// A warning for each cache of a route that stands before who is checked: what is kept is given to whoever asks.
pub(super) fn before_checks(manifest: &Manifest) -> Vec<String> {
    let is =
        |name: &FunctionName, kind: fn(&BuiltIn) -> bool| manifest.decorators.get(name).is_some_and(kind);
    let mut warnings = Vec::new();
    for route in &manifest.routes {
        let mut names = route.decorators.iter();
        let Some(cache) = names.find(|name| is(name, |rule| matches!(rule, BuiltIn::Cache(_)))) else {
            continue;
        };
        // What stands before it has been passed by whoever is answered from memory.
        let checked = names.find(|name| is(name, |rule| matches!(rule, BuiltIn::Check(_))));
        warnings.extend(checked.map(|check| {
            format!(
                "route {}: {cache} keeps answers before {check} has checked who asks, and gives them to everybody; \
                 put {check} first",
                route.path
            )
        }));
    }
    warnings
}

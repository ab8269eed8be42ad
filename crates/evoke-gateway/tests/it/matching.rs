//! Which route a path leads to, against a matcher so simple that it can be seen to be right.

use std::collections::BTreeMap;

use evoke_core::id::AppName;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::support::{APP, World, bundle, manifest};

/// One way to the other: all that fit, and of these the one that is literal where the others are not, from the left.
fn reference<'r>(routes: &'r [String], path: &str) -> Option<(&'r str, BTreeMap<String, String>)> {
    let fitting = routes.iter().filter_map(|route| Some((rank(route), route.as_str(), fit(route, path)?)));
    fitting.min_by(|a, b| a.0.cmp(&b.0)).map(|(_, route, params)| (route, params))
}

fn rank(route: &str) -> Vec<u8> {
    let kind = |segment: &str| match segment {
        rest if rest.starts_with("{*") => 2,
        parameter if parameter.starts_with('{') => 1,
        _ => 0,
    };
    route.split('/').skip(1).map(kind).collect()
}

fn fit(route: &str, path: &str) -> Option<BTreeMap<String, String>> {
    let (wanted, given): (Vec<&str>, Vec<&str>) = (route.split('/').collect(), path.split('/').collect());
    let mut params = BTreeMap::new();
    for (at, segment) in wanted.iter().enumerate() {
        let name = segment.strip_prefix('{').and_then(|name| name.strip_suffix('}'));
        match name.map(|name| name.strip_prefix('*').ok_or(name)) {
            Some(Ok(rest)) => {
                let value = given.get(at..)?.join("/");
                params.insert(rest.to_owned(), value.clone());
                return (!value.is_empty()).then_some(params);
            }
            Some(Err(name)) => {
                let value = given.get(at).filter(|value| !value.is_empty())?;
                params.insert(name.to_owned(), (*value).to_owned());
            }
            None if given.get(at) == Some(segment) => {}
            None => return None,
        }
    }
    (wanted.len() == given.len()).then_some(params)
}

fn route() -> impl Strategy<Value = String> {
    let segment = select(vec!["a", "b", "ab", "a-b", "{}", "{}"]);
    (vec(segment, 1..4), any::<bool>()).prop_map(|(mut segments, rest)| {
        if rest {
            segments.push("{*}");
        }
        let named = segments.iter().enumerate().map(|(at, segment)| {
            let name = format!("p{at}");
            segment.replace("{}", &format!("{{{name}}}")).replace("{*}", &format!("{{*{name}}}"))
        });
        named.map(|segment| format!("/{segment}")).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    #[test]
    fn the_most_specific_path_wins(
        routes in vec(route(), 1..8),
        paths in vec(vec(select(vec!["a", "b", "ab", "a-b", "c", ""]), 1..5), 12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::new().await;
            let mut taken: Vec<String> = Vec::new();
            let app = AppName::new(APP).unwrap();
            // Routes that cannot stand beside each other are refused at deploy, which is tried elsewhere.
            for route in routes {
                let lines: Vec<(&str, &str, &str)> =
                    taken.iter().chain([&route]).map(|path| (path.as_str(), "GET", "echo")).collect();
                let text = manifest(&[("echo", "")], &lines);
                if world.engine.deploy(&app, bundle(&text)).await.is_ok() {
                    taken.push(route);
                }
            }
            for path in paths {
                let path = format!("/{}", path.join("/"));
                let found = world.engine.route("GET", &path).ok();
                let found = found.map(|found| (found.pattern, found.params.into_iter().collect::<BTreeMap<_, _>>()));
                let expected = reference(&taken, &path).map(|(route, params)| (route.into(), params));
                prop_assert_eq!(found, expected, "{} with {:?}", path, taken);
            }
            Ok(())
        })?;
    }
}

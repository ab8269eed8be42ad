//! `docs/reference/manifest.md` says what the code does.

use std::path::Path;

use evoke_core::manifest::{FileKind, parse, schema};

use super::read;

fn page() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/manifest.md");
    std::fs::read_to_string(file).unwrap()
}

#[test]
fn example_of_the_reference_is_accepted() {
    let page = page();
    let example = page.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(read(example).unwrap().functions.len(), 2);
}

#[test]
fn manifests_of_the_examples_are_accepted() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut seen = 0;
    for folder in std::fs::read_dir(examples).unwrap().map(|entry| entry.unwrap().path()) {
        let Ok(text) = std::fs::read_to_string(folder.join("evoke.toml")) else { continue };
        let files = |path: &Path| {
            let meta = folder.join(path).metadata().ok()?;
            Some(if meta.is_dir() { FileKind::Folder } else { FileKind::File })
        };
        parse(&text, "evoke.toml", &files).map_err(|errors| errors.to_plain_text()).unwrap();
        seen += 1;
    }
    assert!(seen > 0);
}

#[test]
fn reference_has_a_row_for_every_key_with_its_default() {
    let (page, schema) = (page(), schema());
    let tables = ["/properties", "/properties/app/properties"].map(str::to_owned).into_iter();
    let tables = tables.chain(
        [
            "Install",
            "Archive",
            "ArchiveType",
            "Function",
            "Subscription",
            "Retry",
            "Route",
            "Redirect",
            "Cors",
            "Webhook",
            "Beacon",
            "Hook",
            "Schedule",
            "Batch",
            "Queue",
            "Experiment",
            "Variant",
            "Compare",
            "Copies",
        ]
        .map(|ty| format!("/$defs/{ty}/properties")),
    );
    for table in tables {
        for (key, rule) in schema.pointer(&table).unwrap().as_object().unwrap() {
            let default = rule.get("default").map(|default| format!("`{default}`")).unwrap_or_default();
            let has_row =
                page.lines().any(|line| line.starts_with(&format!("| `{key}` |")) && line.contains(&default));
            assert!(has_row, "no row for {key} with the default {default}");
        }
    }
}

/// What the page lists as not supported yet is refused as such, and not as unknown.
#[test]
fn keys_of_later_versions_are_refused_by_name() {
    let page = page();
    let section = page.split("## Not supported yet").nth(1).unwrap();
    let parts: Vec<&str> = section.split(';').collect();
    let names = |part: &str| part.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let tables = [("[functions.a]", 0), ("[[functions.a.on]]", 1), ("", 2)];
    for (table, part) in tables {
        let keys: Vec<String> = names(parts[part])
            .into_iter()
            .filter(|name| name.chars().all(char::is_alphabetic) && name != "on" && name != "to")
            .collect();
        assert!(!keys.is_empty(), "{table}");
        for key in keys {
            let errors = read(&format!("{table}\n{key} = 1\n")).unwrap_err();
            let code = errors
                .problems()
                .iter()
                .find(|problem| problem.message.contains(&format!("key {key} is not")))
                .map(|p| &*p.code);
            assert_eq!(code, Some("unsupported_key"), "{table} {key}");
        }
    }
}

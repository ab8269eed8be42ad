//! What is committed under `docs/reference` is what the code says.

use std::path::{Path, PathBuf};

fn reference(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference").join(name)
}

/// Compares, or writes when `EVOKE_BLESS` is set.
fn check(name: &str, now: &str) {
    let path = reference(name);
    if std::env::var_os("EVOKE_BLESS").is_some() {
        std::fs::write(&path, now).unwrap();
        return;
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == now,
        "docs/reference/{name} is not what the code says; write it anew with\n  \
         EVOKE_BLESS=1 cargo test -p evoke-gateway --test it documents"
    );
}

#[test]
fn the_openapi_document_is_the_one_the_code_makes() {
    let mut document = evoke_gateway::openapi().to_pretty_json().unwrap();
    document.push('\n');
    check("openapi.json", &document);
}

#[test]
fn the_openapi_document_names_every_operation_once_and_every_schema_it_uses() {
    let document: serde_json::Value =
        serde_json::from_str(&evoke_gateway::openapi().to_json().unwrap()).unwrap();
    assert_eq!(document["openapi"].as_str().unwrap().split('.').take(2).collect::<Vec<_>>(), ["3", "1"]);
    let mut names: Vec<&str> = document["paths"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|item| item.as_object().unwrap().values())
        .filter_map(|operation| operation["operationId"].as_str())
        .collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!((names.len(), count > 15), (count, true));
    let text = document.to_string();
    for used in text.split("#/components/schemas/").skip(1) {
        let name = used.split('"').next().unwrap();
        assert!(document["components"]["schemas"].get(name).is_some(), "schema {name} is used and not there");
    }
}

#[test]
fn the_table_of_problems_is_the_one_the_code_has() {
    let path = reference("http-errors.md");
    let committed = std::fs::read_to_string(&path).unwrap();
    let (begin, end) = ("<!-- problems: begin -->\n", "<!-- problems: end -->");
    let (before, rest) = committed.split_once(begin).unwrap();
    let (_, after) = rest.split_once(end).unwrap();
    check("http-errors.md", &format!("{before}{begin}{}{end}{after}", evoke_gateway::problem_table()));
}

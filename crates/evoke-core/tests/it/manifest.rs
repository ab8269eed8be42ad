//! `evoke.toml`: each folder of `tests/cases/manifest` is a file and what is expected of it, the resolved manifest as
//! `expected.json` or the rendered problems as `expected.txt`. `UPDATE=1` writes what is expected anew.

mod docs;
mod properties;
mod resolved;
mod schema;

use std::path::{Path, PathBuf};

use evoke_core::manifest::{FileKind, Manifest, ManifestErrors, parse};
use miette::{GraphicalReportHandler, GraphicalTheme};

/// The app's files in every case.
const FILES: &[&str] = &[
    "checkout.ts",
    "notify.py",
    "ledger.js",
    "legacy.cjs",
    "modern.mjs",
    "typed.mts",
    "functions/deep.ts",
    "bootstrap",
    "schema.json",
    "tool.rb",
    "resize.rs",
    "resize.wasm",
    "reports/package.json",
    "stats/requirements.txt",
    "tiny/main.py",
    "both/package.json",
    "both/main.py",
    "empty/README",
    "run",
    "rust/bootstrap",
    "ric/bootstrap",
    "ric/requirements.txt",
];

fn files(path: &Path) -> Option<FileKind> {
    let path = path.to_str()?;
    if FILES.contains(&path) {
        return Some(FileKind::File);
    }
    FILES.iter().any(|file| file.starts_with(&format!("{path}/"))).then_some(FileKind::Folder)
}

fn read(text: &str) -> Result<Manifest, ManifestErrors> {
    parse(text, "evoke.toml", &files)
}

fn rendered(errors: &ManifestErrors) -> String {
    let mut text = String::new();
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_width(120);
    handler.render_report(&mut text, errors).unwrap();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n").trim().to_owned() + "\n"
}

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/manifest");
    let mut cases: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    cases
}

/// Compares with the file, or writes it when `UPDATE` is set.
#[track_caller]
fn assert_expected(file: &Path, actual: &str, how: &str) {
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(file, actual).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(file).unwrap_or_default();
    assert!(
        expected == actual,
        "{} is not what it was. If this is meant, run: UPDATE=1 cargo test -p evoke-core --test it {how}\n\
         --- expected\n{expected}\n--- actual\n{actual}",
        file.display()
    );
}

#[test]
fn each_case_is_resolved_or_refused_as_expected() {
    let cases = cases();
    assert!(cases.len() >= 40, "{} cases", cases.len());
    for case in cases {
        let text = std::fs::read_to_string(case.join("evoke.toml")).unwrap();
        match read(&text) {
            Ok(manifest) => {
                let json = serde_json::to_string_pretty(&manifest).unwrap() + "\n";
                assert!(!case.join("expected.txt").exists(), "{} was accepted", case.display());
                assert_expected(&case.join("expected.json"), &json, "manifest");
            }
            Err(errors) => {
                let text = rendered(&errors);
                assert!(!case.join("expected.json").exists(), "{} was refused:\n{text}", case.display());
                assert_expected(&case.join("expected.txt"), &text, "manifest");
            }
        }
    }
}

#[test]
fn problems_are_json_for_programs() {
    let errors = read(
        "evoke = \"1\"\n[app]\nname = \"shop\"\n[functions.a]\nsource = \"notify.py\"\n\ntimeuot = \"1s\"\n",
    )
    .unwrap_err();
    let json = serde_json::json!([{
        "message": "function a: key timeuot is not known", "help": "did you mean timeout?", "code": "unknown_key",
        "file": "evoke.toml", "line": 7, "column": 1, "span": { "offset": 68, "length": 7 }
    }]);
    assert_eq!(serde_json::to_value(&errors).unwrap(), json);
    let back: Vec<evoke_core::manifest::Problem> = serde_json::from_value(json).unwrap();
    assert_eq!(back, errors.problems());
    assert_eq!(
        errors.to_plain_text(),
        "evoke.toml:7:1: function a: key timeuot is not known (did you mean timeout?)"
    );
}

#[test]
fn number_of_problems_is_bounded() {
    let text: String = (0..200).map(|i| format!("x{i} = 1\n")).collect();
    let errors = read(&text).unwrap_err();
    assert_eq!(errors.problems().len(), 50);
}

#[test]
fn size_of_the_file_is_bounded() {
    let errors = read(&"#".repeat((1 << 20) + 1)).unwrap_err();
    assert_eq!(errors.to_plain_text(), "evoke.toml:1:1: evoke.toml has 1048577 bytes, the limit is 1048576");
}

/// The time to refuse them grows with their size and no faster: comparing all with all would take minutes here.
#[test]
fn hostile_files_are_refused_in_time_and_with_short_sentences() {
    let head = "evoke = \"1\"\n[app]\nname = \"shop\"\n";
    let function = format!("{head}[functions.a]\nsource = \"notify.py\"\n");
    let many = |part: &str, times: usize| part.repeat(times);
    let numbered = |part: fn(usize) -> String, times| (0..times).map(part).collect::<String>();
    let long = many("x", 500_000);
    let files = [
        numbered(|i| format!("k{i}=1\n"), 90_000),
        many("]\n", 400_000),
        head.to_owned() + &numbered(|i| format!("[functions.f{i}]\nsource=\"notify.py\"\n"), 20_000),
        function.clone() + &many("[[functions.a.on]]\nevent=\"x\"\n", 30_000),
        format!("{function}emits = [{}]\n", numbered(|i| format!("\"{i}\","), 100_000)),
        format!("{function}env = {{ {} }}\n", numbered(|i| format!("A{i} = \"\", "), 60_000)),
        function.clone() + &many("[[routes]]\npath=\"/{x}\"\nto=\"a\"\n", 25_000),
        format!("{function}[[routes]]\npath=\"/\"\nto=\"a\"\nmethods=[{}]\n", many("\"GET\",", 100_000)),
        format!("{function}handler = \"{long}-\"\n[[routes]]\npath = \"{long}\"\nto = \"{long}\"\n"),
        format!("{function}{long} = 1\n"),
    ];
    for file in files {
        let errors = read(&file).unwrap_err();
        let plain = errors.to_plain_text();
        assert!(plain.len() < 50_000, "{} bytes", plain.len());
    }
}

#[test]
fn columns_count_characters_and_spans_count_bytes() {
    let errors = read("evoke = \"1\"\napp = { 'naïve' = 1, name = \"shop\", 'ü' = 2 }\n").unwrap_err();
    let places: Vec<_> =
        errors.problems().iter().map(|p| (p.line, p.column, p.span.offset, p.span.length)).collect();
    assert_eq!(places, [(2, 9, 20, 8), (2, 37, 49, 4)]);
}

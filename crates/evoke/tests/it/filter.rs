//! `evoke filter`, as a person and as a conformance run uses it.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::evoke::{Said, command, evoke, folder};

const ORDER: &str = r#"{"specversion":"1.0","id":"1","source":"/shop","type":"order.paid","priority":5,"vip":true,
    "hops":"12","datacontenttype":"application/json","data":{"total":42}}"#;

fn filter(args: &[&str]) -> Said {
    evoke(&std::env::temp_dir(), &[&["filter"], args].concat())
}

/// What `--json` prints for an expression and [`ORDER`].
fn answer(expression: &str) -> Value {
    let said = filter(&[expression, "--event", ORDER, "--json"]).ok();
    assert_eq!(said.stderr, "", "{expression}");
    said.json()
}

#[test]
fn json_has_the_value_its_type_and_the_class_of_the_error() {
    let cases = [
        ("priority > 3", json!({ "value": true, "type": "Boolean", "error": null })),
        ("priority", json!({ "value": 5, "type": "Integer", "error": null })),
        ("hops", json!({ "value": "12", "type": "String", "error": null })),
        ("5 / 0", json!({ "value": 0, "type": "Integer", "error": "math" })),
        ("INT('x')", json!({ "value": 0, "type": "Integer", "error": "cast" })),
        ("missing", json!({ "value": false, "type": "Boolean", "error": "missingAttribute" })),
        ("FOO()", json!({ "value": false, "type": "Boolean", "error": "missingFunction" })),
        ("LEFT('ab', -1)", json!({ "value": "ab", "type": "String", "error": "functionEvaluation" })),
        ("ABS(", json!({ "value": false, "type": "Boolean", "error": "parse" })),
        ("", json!({ "value": false, "type": "Boolean", "error": "parse" })),
        ("'grün\n🎉'", json!({ "value": "grün\n🎉", "type": "String", "error": null })),
    ];
    for (expression, expected) in cases {
        assert_eq!(answer(expression), expected, "{expression}");
    }
}

#[test]
fn an_expression_may_start_with_a_sign() {
    for (expression, value) in
        [("-10", -10), ("--10", 10), ("-'10'", -10), ("-TRUE", -1), ("-priority", -5), ("-hops", -12)]
    {
        assert_eq!(answer(expression)["value"], value, "{expression}");
    }
    assert_eq!(filter(&["--json", "--", "-10"]).ok().json()["value"], -10);
}

#[test]
fn without_an_event_there_is_a_minimal_one() {
    let value = |expression: &str| filter(&[expression, "--json"]).ok().json()["value"].clone();
    assert_eq!(value("EXISTS specversion AND EXISTS id AND EXISTS type AND EXISTS SOURCE"), true);
    assert_eq!(value("EXISTS subject OR EXISTS time"), false);
}

#[test]
fn events_and_patterns_come_from_files_and_stdin() {
    let dir =
        folder(&[("event.json", ORDER), ("pattern.json", r#"{"data":{"total":[{"numeric":[">",40]}]}}"#)]);
    let here = |args: &[&str]| evoke(dir.path(), args).ok().stdout;
    assert_eq!(here(&["filter", "vip", "--event", "@event.json"]), "true  Boolean\n");
    assert_eq!(here(&["filter", "--pattern", "@pattern.json", "--event", "@event.json"]), "true  Boolean\n");
    let mut child = command(dir.path())
        .args(["filter", "--pattern", r#"{"type":["x"]}"#, "--event", "-", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(ORDER.as_bytes()).unwrap();
    let said: Value = serde_json::from_slice(&child.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(said, json!({ "value": false, "type": "Boolean", "error": null }));
}

#[test]
fn a_person_is_told_why_an_event_does_not_pass() {
    insta::assert_snapshot!("false", filter(&["vip AND priority > 7", "--event", ORDER]).whole());
    insta::assert_snapshot!("missing", filter(&["vip OR FALSE AND region = 'eu'", "--event", ORDER]).whole());
    insta::assert_snapshot!("parse", filter(&["vip AND\n  priority >> 7"]).whole());
    insta::assert_snapshot!(
        "pattern",
        filter(&["--pattern", r#"{"data":{"total":[{"numeric":["<",9]}]}}"#, "--event", ORDER]).whole()
    );
    insta::assert_snapshot!("pattern_wrong", filter(&["--pattern", r#"{"type":[{"prefx":"a"}]}"#]).whole());
}

#[test]
fn exit_status_tells_whether_the_event_passes_when_asked() {
    let code = |expression: &str| filter(&[expression, "--exit-status", "--event", ORDER]).code;
    assert_eq!([code("vip"), code("NOT vip"), code("priority"), code("missing"), code("(")], [0, 1, 1, 1, 1]);
}

#[test]
fn an_event_that_is_none_and_a_filter_that_is_not_there_are_usage() {
    let not_json = filter(&["TRUE", "--event", "{", "--json"]);
    assert_eq!((not_json.code, not_json.stdout.as_str()), (2, ""));
    let error: Value = serde_json::from_str(&not_json.stderr).unwrap();
    assert_eq!(error["error"]["code"], "usage");
    let no_type = filter(&["TRUE", "--event", r#"{"specversion":"1.0","id":"1","source":"/s"}"#]);
    insta::assert_snapshot!("no_event", no_type.whole());
    for wrong in [
        &[][..],
        &["TRUE", "--event", "@/nowhere"],
        &["TRUE", "--pattern", "{}"],
        &["--pattern", "-", "--event", "-"],
    ] {
        assert_eq!(filter(wrong).code, 2, "{wrong:?}");
    }
}

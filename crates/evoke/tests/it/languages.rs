//! Components that the tools of other languages made (`examples/languages`): JavaScript on two engines, and Python.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::evoke::{Answer, Server, eventually, http};

/// A server that has them, and the folder of their app; nothing where they cannot be made.
fn deployed() -> Option<(Server, PathBuf)> {
    let (app, server) = (made()?, Server::start());
    let mut set = server.command(&app, &["secrets", "set", "SIGNED_BY"]);
    let mut set = set.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    set.stdin.take().unwrap().write_all(b"Ada").unwrap();
    assert!(set.wait().unwrap().success());
    server.evoke(&app, &["deploy"]).ok();
    Some((server, app))
}

/// What `scripts/languages` has made.
fn made() -> Option<PathBuf> {
    let test = std::env::current_exe().unwrap();
    let profile = test.ancestors().find(|path| path.ends_with("debug") || path.ends_with("release")).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/languages");
    let ran = Command::new(script).env("CARGO_TARGET_DIR", profile.parent().unwrap()).output().unwrap();
    let told = String::from_utf8_lossy(&ran.stderr).into_owned();
    match ran.status.code() {
        Some(0) => Some(PathBuf::from(String::from_utf8(ran.stdout).unwrap().trim())),
        Some(3) => {
            eprintln!("SKIPPED: the components of examples/languages cannot be made here: {told}");
            None
        }
        _ => panic!("scripts/languages failed: {told}"),
    }
}

fn value(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}

/// The code of a problem.
fn code(answer: &Answer) -> (u16, String) {
    (answer.status, value(answer)["code"].as_str().unwrap_or_default().to_owned())
}

/// How many lines `/lines/{count}` answered with, in order and nothing else.
fn lines(answer: &Answer) -> usize {
    let all: Vec<&str> = answer.body.lines().collect();
    assert!(all.iter().enumerate().all(|(at, line)| *line == format!("line {}", at + 1)), "{answer:?}");
    all.len()
}

fn logged(server: &Server, app: &Path, function: &str, text: &str) {
    let logs = || server.evoke(app, &["logs", function]).ok().stdout;
    eventually(text, || logs().contains(text).then_some(()));
}

#[test]
fn components_of_other_languages_are_functions() {
    // To compile them takes the machine a while: once for all.
    let Some((server, app)) = deployed() else { return };
    javascript_on_starlingmonkey_is_a_function(&server, &app);
    python_is_a_function_whose_interpreter_is_kept(&server, &app);
    javascript_on_quickjs_answers_while_it_reads(&server);
}

fn javascript_on_starlingmonkey_is_a_function(server: &Server, app: &Path) {
    for number in 1..=2 {
        let answer = server.http("POST", "/till/sales", r#"{"item": "tea", "price": 3}"#);
        assert_eq!(answer.status, 201, "{answer:?}");
        let receipt = json!({ "number": number, "item": "tea", "total": "3 EUR", "by": "Ada" });
        assert_eq!(value(&answer), receipt, "body, variable, secret and the platform's state");
        assert!(answer.head.contains(&format!("x-receipt: {number}")), "{answer:?}");
    }
    logged(server, app, "till", "sold tea");
    assert_eq!(lines(&server.http("GET", "/till/lines/20000", "")), 20_000);
    // What is thrown in a handler, this engine answers for: with a status, and the stack in the log.
    assert_eq!(server.http("POST", "/till/sales", "no json").status, 500);
    logged(server, app, "till", "JSON.parse");
    for path in ["/till/loop", "/till/wait"] {
        assert_eq!(code(&server.http("GET", path, "")), (504, "timed_out".to_owned()), "{path}");
    }
    assert_eq!(server.http("POST", "/till/sales", r#"{"item": "tea", "price": 3}"#).status, 201);
}

fn python_is_a_function_whose_interpreter_is_kept(server: &Server, app: &Path) {
    let calls = || server.http("GET", "/stock/calls", "").body;
    for held in [3, 7] {
        let count = if held == 3 { 3 } else { 4 };
        let goods = json!({ "item": "tea", "count": count }).to_string();
        let answer = server.http("POST", "/stock/goods", &goods);
        assert_eq!(answer.status, 201, "{answer:?}");
        assert_eq!(value(&answer), json!({ "item": "tea", "held": held, "unit": "pieces" }));
        assert!(answer.head.contains("x-stock: python"), "{answer:?}");
    }
    logged(server, app, "stock", "tea: 7 pieces");
    assert_eq!(lines(&server.http("GET", "/stock/lines/2000", "")), 2000);
    assert_eq!(calls(), "4", "one instance for all of them");
    let ends = [
        ("POST", "/stock/goods", "function_error", "JSONDecodeError"),
        ("GET", "/stock/grow", "out_of_memory", "MemoryError"),
        ("GET", "/stock/exit", "function_error", ""),
    ];
    for (method, path, expected, logs) in ends {
        assert_eq!(code(&server.http(method, path, "no json")), (502, expected.to_owned()), "{path}");
        logged(server, app, "stock", logs);
        assert_eq!(calls(), "1", "a fresh instance after {path}");
    }
}

fn javascript_on_quickjs_answers_while_it_reads(server: &Server) {
    let heard = "not so loud, ".repeat(40_000);
    for times in ["1", "2"] {
        let answer = server.http("POST", "/shout", &heard);
        assert_eq!(answer.status, 200);
        assert!(answer.body == format!("{}!", heard.to_uppercase()), "{}", answer.body.len());
        assert!(answer.head.contains(&format!("x-times: {times}")), "{}", answer.head);
    }
    assert_eq!(code(&server.http("GET", "/shout", "")), (502, "function_error".to_owned()));
    assert_eq!(http(&server.data_url, "POST", "/shout", "again").body, "AGAIN!");
}

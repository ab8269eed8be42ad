//! What functions write is somebody else's text: on a terminal it does nothing, to a program it is what it was.

use std::process::Command;

use crate::evoke::{Server, eventually, folder, run};

const MANIFEST: &str = r#"
evoke = "1"
[app]
name = "ink"
[functions.ink]
source = "ink.py"
[functions.fail]
source = "fail.py"
[functions.flood]
source = "flood.py"
"#;

/// A title, a cleared screen, a reversed name, an 8-bit control, an overwritten line.
const INK: &str = r#"
TEXT = "\x1b]0;owned\x07\x1b[2Juser\u202e\u009b1m 10 %\r100 %"
def handler(event, context):
    print(TEXT)
    return {"statusCode": 200, "headers": {"content-type": "text/plain; charset=utf-8"}, "body": TEXT}
"#;
const SHOWN: &str = r"\x1b]0;owned\x07\x1b[2Juser\u{202e}\x9b1m 10 %\r100 %";
const TEXT: &str = "\x1b]0;owned\x07\x1b[2Juser\u{202e}\u{9b}1m 10 %\r100 %";

const FAIL: &str = r#"
class Err(Exception): pass
def handler(event, context):
    raise Err("\x1b[2J\u202egone")
"#;

const FLOOD: &str = r#"
def handler(event, context):
    for n in range(30000): print("line", n)
    return 1
"#;

fn served() -> (Server, tempfile::TempDir) {
    let files = [("evoke.toml", MANIFEST), ("ink.py", INK), ("fail.py", FAIL), ("flood.py", FLOOD)];
    let (server, app) = (Server::start(), folder(&files));
    server.evoke(app.path(), &["deploy"]).ok();
    (server, app)
}

#[test]
fn a_log_shows_controls_as_what_they_are_and_json_keeps_them() {
    let (server, app) = served();
    server.evoke(app.path(), &["invoke", "ink"]).ok();
    let shown = eventually("the line is in the log", || {
        let said = server.evoke(app.path(), &["logs", "ink"]).ok().stdout;
        (!said.is_empty()).then_some(said)
    });
    assert!(shown.ends_with(&format!("ink | {SHOWN}\n")), "{shown:?}");
    let told = server.evoke(app.path(), &["logs", "ink", "--json"]).ok();
    assert_eq!(told.json()["line"], TEXT);
    assert!(told.stdout.is_ascii(), "{told:?}");
}

#[test]
fn a_body_is_itself_in_a_pipe_and_harmless_on_a_terminal() {
    let (server, app) = served();
    assert_eq!(server.evoke(app.path(), &["invoke", "ink"]).ok().stdout, TEXT);
    let plain = server.command(app.path(), &["invoke", "ink"]);
    let mut terminal = Command::new("python3");
    terminal.args(["-c", "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)"]);
    terminal.arg(plain.get_program()).args(plain.get_args()).current_dir(app.path());
    let environment = plain.get_envs().filter_map(|(name, value)| Some((name, value?)));
    let said = run(terminal.envs(environment)).ok();
    assert_eq!(said.stdout, format!("{SHOWN}\r\n"));
}

#[test]
fn errors_of_functions_are_harmless_wherever_they_are_told() {
    let (server, app) = served();
    let refused = server.evoke(app.path(), &["invoke", "fail"]);
    let runs = server.evoke(app.path(), &["runs", "ls", "--function", "fail", "--json"]).ok().json();
    let run = runs["runs"][0]["id"].as_str().unwrap();
    let one = server.evoke(app.path(), &["runs", "get", run]).ok();
    for said in [&refused.stderr, &one.stdout] {
        assert!(said.contains(r"\x1b[2J\u{202e}gone"), "{said}");
        assert!(!said.contains(['\x1b', '\u{202e}']), "{said:?}");
    }
}

#[test]
fn a_flood_is_kept_up_to_the_bound_and_told_once() {
    let (server, app) = served();
    server.evoke(app.path(), &["invoke", "flood"]).ok();
    let dropped = |line: &str| line.contains("dropped");
    let lines = eventually("the flood has ended", || {
        let said = server.evoke(app.path(), &["logs", "flood", "--limit", "1000"]).ok().stdout;
        let lines: Vec<String> = said.lines().map(str::to_owned).collect();
        lines.iter().any(|line| dropped(line)).then_some(lines)
    });
    let told: Vec<_> = lines.iter().filter(|line| dropped(line)).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    let rule =
        "20000 further lines were dropped (200000 bytes): an attempt may write 10000 lines and 4194304 bytes";
    assert!(told[0].ends_with(rule), "{told:?}");
}

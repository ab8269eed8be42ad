//! Experiments from a manifest to their end, with functions in processes.

use std::path::Path;

use serde_json::Value;

use crate::evoke::{Said, Server, eventually, folder, http_with, write};

const TOML: &str = r#"evoke = "1"

[app]
name = "shop"

# As it always was.
[functions.usual]
source = "usual.py"

[functions.polite]
source = "polite.mjs"

[functions.casual]
source = "usual.py"
env = { GREETING = "Hi" }

# Until everybody has it.
[experiments.greeting]
sticky = "header:X-User"
variants.old = { weight = 50, to = "usual" }
variants.new = { weight = 50, to = "polite" }
variants.next = { shadow = 100, to = "casual" }

# Who comes is greeted.
[[routes]]
name = "hello"
path = "/hello"
to = "greeting" # the usual one, or another

[[routes]]
path = "/bye"
to = "usual"
"#;

const USUAL: &str = r#"import os
def handler(event, context):
    print("shadow", "evoke-shadow" in event["headers"])
    return {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": '{"said": "%s"}' % os.environ.get("GREETING", "Hello")}
"#;

const POLITE: &str = "export default { fetch() { return Response.json({ said: 'Good day' }) } };\n";

/// What user `n` is greeted with.
fn greeted(server: &Server, n: usize) -> String {
    let answer = http_with(&server.data_url, "GET", "/hello", &format!("x-user: {n}\r\n"), "");
    let body: Value =
        serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"));
    body["said"].as_str().unwrap().to_owned()
}

fn all(server: &Server) -> Vec<String> {
    (0..12).map(|n| greeted(server, n)).collect()
}

fn stats(server: &Server, app: &Path) -> Value {
    server.evoke(app, &["routes", "stats", "hello", "--json"]).ok().json()
}

fn variant<'s>(stats: &'s Value, name: &str) -> &'s Value {
    let variants = stats["experiments"][0]["variants"].as_array().unwrap();
    variants.iter().find(|variant| variant["name"] == name).unwrap()
}

#[test]
fn an_experiment_is_measured_promoted_undone_and_ended_by_its_change_of_the_manifest() {
    let app = folder(&[("evoke.toml", TOML), ("usual.py", USUAL), ("polite.mjs", POLITE)]);
    let app = app.path();
    let server = Server::start();
    server.evoke(app, &["deploy"]).ok();

    let first = all(&server);
    let polite = first.iter().filter(|said| *said == "Good day").count();
    assert!((1..12).contains(&polite), "{first:?}");
    assert_eq!(all(&server), first);

    // What was measured.
    let found = eventually("all copies", || {
        let found = stats(&server, app);
        let shadow = &variant(&found, "next")["total"]["shadow"];
        let left_out: u64 = shadow["left_out"].as_object()?.values().filter_map(Value::as_u64).sum();
        (shadow["compared"].as_u64()? + left_out == 24).then_some(found)
    });
    assert_eq!(found["total"]["requests"], 24);
    assert_eq!(variant(&found, "new")["total"]["requests"].as_u64(), Some(2 * polite as u64));
    assert!(variant(&found, "old")["window"]["p95_ms"].as_f64() > Some(0.0), "{found}");
    let next = variant(&found, "next");
    assert_eq!(next["total"]["shadow"]["differing"], next["total"]["shadow"]["compared"]);
    let sample = &next["samples"][0];
    assert_eq!(sample["differences"][0]["what"], "body /said");
    let run = eventually("the run of a copy", || {
        let said = server.evoke(app, &["runs", "get", sample["shadow_by"].as_str()?, "--json"]);
        (said.code == 0).then(|| said.json())
    });
    assert_eq!((&run["run"]["shadow"], &run["run"]["function"]), (&true.into(), &"casual".into()));
    assert!(server.evoke(app, &["logs", "casual"]).ok().stdout.contains("shadow True"));
    assert!(server.evoke(app, &["logs", "usual"]).ok().stdout.contains("shadow False"));
    let table = server.evoke(app, &["routes", "stats", "hello"]).ok().stdout;
    assert!(table.contains("greeting/next") && table.contains("body /said"), "{table}");
    let listed = server.evoke(app, &["routes", "ls"]).ok().stdout;
    assert!(listed.contains("old 50 %") && listed.contains("next copies of 100 %"), "{listed}");

    // Promoted: at once, across kill -9, and across a deployment that does not know.
    let promoted = server.evoke(app, &["routes", "promote", "hello", "new"]).ok();
    insta::assert_snapshot!("promoted", promoted.whole());
    assert_eq!(all(&server), ["Good day"; 12]);
    server.running.signal("KILL");
    let mut server = server;
    server.running.wait();
    let server = server.again();
    assert_eq!(all(&server), ["Good day"; 12]);
    let deployed = server.evoke(app, &["deploy"]).ok();
    assert!(deployed.stdout.contains("it was promoted"), "{deployed:?}");
    assert_eq!(all(&server), ["Good day"; 12]);

    // Undone.
    server.evoke(app, &["routes", "demote", "hello"]).ok();
    assert_eq!(all(&server), first);
    assert!(server.evoke(app, &["routes", "demote", "hello"]).ok().stdout.contains("nothing is promoted"));

    // The change, applied by patch, is what --apply makes; it deploys, and changes nothing for clients.
    server.evoke(app, &["routes", "promote", "hello", "new"]).ok();
    let patched = folder(&[("evoke.toml", TOML)]);
    patch(patched.path(), &promoted.stdout);
    let said =
        server.evoke(app, &["routes", "promote", "hello", "greeting/new", "--apply", "--json"]).ok().json();
    assert_eq!((&said["applied"], &said["promotion"]["before"]), (&true.into(), &"new".into()));
    let read = |dir: &Path| std::fs::read_to_string(dir.join("evoke.toml")).unwrap();
    assert_eq!(read(app), read(patched.path()));
    let expected = TOML.replace("to = \"greeting\" #", "to = \"polite\" #");
    let (before, rest) = expected.split_once("\n# Until everybody has it.").unwrap();
    let (_, after) = rest.split_once("# Who comes").unwrap();
    assert_eq!(read(app), format!("{before}\n# Who comes{after}"));
    let deployed = server.evoke(app, &["deploy"]).ok();
    assert!(!deployed.stdout.contains("warning"), "{deployed:?}");
    assert_eq!(all(&server), ["Good day"; 12]);

    // The same manifest as before begins the experiment anew.
    write(app, "evoke.toml", TOML);
    server.evoke(app, &["deploy"]).ok();
    assert_eq!(all(&server), first);
    assert_eq!(server.stop().code, 0);
}

fn patch(dir: &Path, diff: &str) {
    write(dir, "change.diff", diff);
    let done =
        std::process::Command::new("patch").args(["-p1", "-i", "change.diff"]).current_dir(dir).output();
    let done = done.unwrap();
    assert!(done.status.success(), "{done:?}");
}

#[test]
fn what_would_change_can_be_seen_without_a_server_and_what_cannot_is_said() {
    let app = folder(&[("evoke.toml", TOML), ("usual.py", USUAL), ("polite.mjs", POLITE)]);
    let dry = |route: &str, variant: &str| -> Said {
        crate::evoke::evoke(app.path(), &["routes", "promote", route, variant, "--dry-run"])
    };
    let old = dry("hello", "old").ok().stdout;
    assert!(old.contains("-to = \"greeting\" #") && old.contains("+to = \"usual\" #"), "{old}");
    assert_eq!((dry("hello", "older").code, dry("nowhere", "old").code), (4, 4));
    assert!(dry("/bye", "old").stderr.contains("no experiment with a variant old on route /bye"));
    assert_eq!(std::fs::read_to_string(app.path().join("evoke.toml")).unwrap(), TOML);
}

#[test]
fn a_manifest_that_was_changed_meanwhile_keeps_what_is_not_of_the_promotion() {
    let app = folder(&[("evoke.toml", TOML), ("usual.py", USUAL), ("polite.mjs", POLITE)]);
    let app = app.path();
    let server = Server::start();
    server.evoke(app, &["deploy"]).ok();
    let read = || std::fs::read_to_string(app.join("evoke.toml")).unwrap();
    let promote = |folder: &Path, more: &[&str]| {
        server.evoke(folder, &[&["routes", "promote", "hello", "new"][..], more].concat())
    };

    // Somebody has ended the experiment there already, with another winner.
    let (before, rest) = TOML.split_once("# Until everybody has it.").unwrap();
    let after = rest.split_once("# Who comes").unwrap().1.replace("to = \"greeting\"", "to = \"usual\"");
    let ended = format!("{before}# Who comes{after}");
    write(app, "evoke.toml", &ended);
    let said = promote(app, &[]).ok();
    assert!(said.stdout.is_empty() && said.stderr.contains("no change of evoke.toml"), "{said:?}");
    assert_eq!(promote(app, &["--apply"]).code, 4);
    assert_eq!(read(), ended);
    assert_eq!(all(&server), ["Good day"; 12]);

    // The folder is another app's.
    let other = folder(&[("evoke.toml", &TOML.replace("\"shop\"", "\"other\"")), ("usual.py", USUAL)]);
    write(other.path(), "polite.mjs", POLITE);
    let said = promote(other.path(), &["--app", "shop"]).ok();
    assert!(said.stdout.is_empty() && said.stderr.contains("no change of evoke.toml"), "{said:?}");

    // Something else was changed.
    let changed = TOML.replace("path = \"/bye\"", "path = \"/goodbye\"");
    write(app, "evoke.toml", &changed);
    let diff = promote(app, &["--apply"]).ok().stdout;
    assert!(!diff.contains("bye\"\n+") && !diff.contains("-path"), "{diff}");
    assert!(read().contains("path = \"/goodbye\"") && read().contains("to = \"polite\" #"), "{}", read());
    assert!(!read().contains("[experiments"));
    assert_eq!(server.stop().code, 0);
}

//! Versions with real functions: who answers while versions come and go, what goes by itself, and what is left after a kill.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use tempfile::TempDir;

use crate::evoke::{Server, command, eventually, folder, http, run, write};

/// Requests at once while versions come and go.
const CLIENTS: usize = 4;
/// How often the server is killed.
const KILLS: usize = 4;

const MANIFEST: &str = r#"
evoke = "1"
[app]
name = "roll"
rollback = { within = "1m" }
[functions.a]
source = "a.mjs"
timeout = "10s"
[[routes]]
path = "/a"
to = "a"
"#;

/// Answers with its version; waits as long as it is asked to.
fn source(version: u32) -> String {
    format!(
        "export default {{ async fetch(request) {{
          const wait = Number(new URL(request.url).searchParams.get('wait') ?? 2);
          await new Promise((done) => setTimeout(done, wait));
          return new Response('{version}');
        }} }};"
    )
}

const BROKEN: &str = "export default { async fetch() { throw new Error('broken'); } };";

fn app() -> TempDir {
    folder(&[("evoke.toml", MANIFEST), ("a.mjs", &source(1))])
}

/// A server with version 1.
fn served() -> (Server, TempDir) {
    let (server, app) = (Server::start(), app());
    server.evoke(app.path(), &["deploy"]).ok();
    (server, app)
}

fn deploy(server: &Server, app: &Path, source: &str, more: &[&str]) -> Value {
    write(app, "a.mjs", source);
    server.evoke(app, &[&["deploy", "--json"], more].concat()).ok().json()
}

/// State of each version that is kept.
fn states(server: &Server, app: &Path) -> BTreeMap<u64, String> {
    let list = server.evoke(app, &["versions", "--json"]).ok().json();
    let versions = list["versions"].as_array().unwrap().iter();
    versions
        .map(|version| (version["version"].as_u64().unwrap(), version["state"].as_str().unwrap().to_owned()))
        .collect()
}

#[test]
fn no_request_fails_while_versions_come_and_go_and_what_is_under_way_ends_where_it_began() {
    let (server, app) = served();
    let (stop, app, url) = (AtomicBool::new(false), app.path(), server.data_url.clone());
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    let mut seen = BTreeMap::<String, u32>::new();
                    while !stop.load(Ordering::Relaxed) {
                        let answer = http(&url, "GET", "/a", "");
                        assert_eq!(answer.status, 200, "{answer:?}");
                        *seen.entry(answer.body).or_default() += 1;
                    }
                    seen
                })
            })
            .collect();
        let slow = scope.spawn(|| http(&url, "GET", "/a?wait=3000", ""));
        eventually("the slow call to run", || {
            let functions = server.evoke(app, &["functions", "ls", "--json"]).ok().json();
            (functions["functions"][0]["instances"]["busy"].as_u64()? > 0).then_some(())
        });
        deploy(&server, app, &source(2), &[]);
        assert!(!slow.is_finished(), "the new version was not there before the old one was done");
        assert_eq!(server.http("GET", "/a", "").body, "2");
        assert_eq!(slow.join().unwrap().body, "1");
        deploy(&server, app, &source(3), &["--canary", "30%"]);
        assert_eq!(server.evoke(app, &["invoke", "a@canary"]).ok().stdout, "3");
        assert_eq!(server.evoke(app, &["invoke", "a@2"]).ok().stdout, "2");
        let shown = server.evoke(app, &["canary", "show"]).ok();
        assert!(shown.stdout.contains("roll version 3 has 30% of the work"), "{shown:?}");
        server.evoke(app, &["canary", "promote", "--version", "3"]).ok();
        assert_eq!(server.http("GET", "/a", "").body, "3");
        server.evoke(app, &["rollback", "--to", "1"]).ok();
        assert_eq!(server.http("GET", "/a", "").body, "1");
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            let seen = client.join().unwrap();
            assert!(seen.keys().all(|version| ["1", "2", "3"].contains(&&**version)), "{seen:?}");
        }
    });
    let expected = [(1, "former"), (2, "former"), (3, "withdrawn"), (4, "current")];
    assert_eq!(states(&server, app), expected.map(|(version, state)| (version, state.to_owned())).into());
    let refused = server.evoke(app, &["invoke", "a@2"]);
    assert!(refused.stderr.contains("version 2 of app roll does no work"), "{refused:?}");
    server.stop();
}

#[test]
fn a_canary_has_its_part_and_goes_when_somebody_rolls_back() {
    let (server, app) = served();
    let deployed = deploy(&server, app.path(), &source(2), &["--canary", "20%"]);
    assert_eq!((&deployed["version"], &deployed["canary"]), (&2.into(), &"20%".into()));
    let new = (0..300).filter(|_| server.http("GET", "/a", "").body == "2").count();
    assert!((30..=90).contains(&new), "{new} of 300");
    let set = server.evoke(app.path(), &["canary", "set", "100%", "--json"]).ok().json();
    assert_eq!(set["weight"], "100%");
    assert!((0..20).all(|_| server.http("GET", "/a", "").body == "2"));
    let wrong = server.evoke(app.path(), &["canary", "set", "5"]);
    assert!(wrong.stderr.contains("write it as \"5%\""), "{wrong:?}");
    let back = server.evoke(app.path(), &["rollback"]).ok();
    assert!(back.stderr.contains("withdrawn the canary of roll, version 2"), "{back:?}");
    assert!((0..20).all(|_| server.http("GET", "/a", "").body == "1"));
    let none = server.evoke(app.path(), &["canary", "show"]);
    assert!(none.code != 0 && none.stderr.contains("has no canary"), "{none:?}");
    server.stop();
}

#[test]
fn a_broken_deploy_goes_by_itself_and_stays_gone_after_a_restart() {
    let (server, app) = served();
    for _ in 0..50 {
        assert_eq!(server.http("GET", "/a", "").status, 200);
    }
    let deployed = deploy(&server, app.path(), BROKEN, &[]);
    assert!(deployed["watched_until"].is_string(), "{deployed}");
    eventually("the broken version to go", || (server.http("GET", "/a", "").body == "1").then_some(()));
    let expected = [(1, "former"), (2, "withdrawn"), (3, "current")];
    let expected: BTreeMap<_, _> = expected.map(|(version, state)| (version, state.to_owned())).into();
    assert_eq!(states(&server, app.path()), expected);
    let shown = server.evoke(app.path(), &["versions"]).ok();
    assert!(shown.stdout.contains("by itself: function a failed in "), "{shown:?}");
    let server = server_again(server);
    assert_eq!(states(&server, app.path()), expected);
    assert_eq!(server.http("GET", "/a", "").body, "1");
    // The same files again are somebody's decision, who is told.
    let again = deploy(&server, app.path(), BROKEN, &["--no-watch"]);
    assert!(again["warnings"][0].as_str().unwrap().contains("taken back by itself"), "{again}");
    server.stop();
}

fn server_again(mut server: Server) -> Server {
    server.running.signal("KILL");
    server.running.wait();
    server.again()
}

#[test]
fn after_a_kill_in_the_middle_versions_are_as_before_or_as_after() {
    let (mut server, app) = served();
    for nth in 0..KILLS {
        let version = u32::try_from(nth).unwrap() + 2;
        deploy(&server, app.path(), &source(version), &["--canary", "50%"]);
        let before = states(&server, app.path());
        let order: &[&str] = match nth % 3 {
            0 => &["canary", "promote"],
            1 => &["rollback"],
            _ => &["rollback", "--to", "1"],
        };
        let mut asking = server.command(app.path(), order);
        let mut asking = asking.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // At another moment each time: right away, or when somebody has seen it.
        if nth % 2 == 1 {
            eventually("the order to have an effect", || {
                (states(&server, app.path()) != before).then_some(())
            });
        }
        server.running.signal("KILL");
        server.running.wait();
        let _ = asking.wait();
        let verified = run(command(app.path()).args(["store", "verify", "--data"]).arg(&server.data));
        assert_eq!(verified.code, 0, "{verified:?}");
        server = server.again();
        let now = states(&server, app.path());
        let of = |word: &str| now.iter().filter(|(_, state)| *state == word).count();
        assert!(of("current") == 1 && of("canary") <= 1, "{before:?} {now:?}");
        let newest = now.keys().next_back().unwrap();
        assert!(newest - before.keys().next_back().unwrap() <= 1, "{before:?} {now:?}");
        assert_eq!(of("canary") == 1, now == before, "{before:?} {now:?}");
        for _ in 0..10 {
            assert_eq!(server.http("GET", "/a", "").status, 200);
        }
    }
    server.stop();
}

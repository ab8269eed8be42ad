//! What is no longer kept goes, through kills in the middle, and what is needed stays.

use std::path::Path;

use serde_json::{Value, json};

use crate::evoke::{Server, command, eventually, folder, run};

const APP: &str = r#"
evoke = "1"
[app]
name = "plain"
[archive]
bytes = "1MiB"
[functions.held]
source = "held.mjs"
on = [{ event = "held", name = "h" }]
[functions.doomed]
source = "doomed.mjs"
on = [{ event = "doom", retry = { attempts = 1 } }]
"#;

/// Events that nothing needs: many more than a transaction takes away.
const PAGES: usize = 8_000;
/// Events of each kind that something needs.
const NEEDED: usize = 100;
const KILLS: usize = 4;
/// What the manifest says.
const BOUND: u64 = 1 << 20;

#[test]
fn expired_events_go_through_kills_and_those_that_are_needed_stay() {
    let mut server = Server::start();
    let app = folder(&[
        ("evoke.toml", APP),
        ("held.mjs", "export default { event() {} }\n"),
        (
            "doomed.mjs",
            "export default { event() { console.log('x'.repeat(900)); throw new Error('no') } }\n",
        ),
    ]);
    server.evoke(app.path(), &["deploy"]).ok();
    server.evoke(app.path(), &["subscriptions", "pause", "held/h"]).ok();
    for (ty, count) in [("doom", NEEDED), ("held", NEEDED), ("page", PAGES)] {
        for first in (0..count).step_by(NEEDED) {
            let event = |n: usize| {
                let id = format!("{ty}-{n}");
                json!({ "specversion": "1.0", "id": id, "source": "/t", "type": ty, "data": "x".repeat(700) })
            };
            let batch: Vec<Value> = (first..first + NEEDED).map(event).collect();
            server.publish("plain", &json!(batch).to_string());
        }
    }
    eventually("the dead letters", || (dead(&server, app.path()).len() == NEEDED).then_some(()));
    let data = server.data.clone();
    let (mut before, mut midway) = (u64::MAX, 0);
    for kill in 1..=KILLS {
        server.running.signal("KILL");
        server.running.wait();
        let verified = run(command(&data).args(["store", "verify", "--data"]).arg(&data));
        assert_eq!(verified.code, 0, "after kill {kill}: {verified:?}");
        server = server.again();
        eventually("some of it to go", || (kept(&data) < before || before <= BOUND).then_some(()));
        before = kept(&data);
        midway += u32::from(before > BOUND);
    }
    assert!(midway > 0, "it was never killed in the middle");
    eventually("all of it to go", || (kept(&data) <= BOUND).then_some(()));

    let letters = dead(&server, app.path());
    assert_eq!(letters.len(), NEEDED);
    assert!(
        letters.iter().all(|letter| letter["input"]["data_bytes"].as_u64() > Some(0)),
        "{:?}",
        letters[0]
    );
    let archive = stats(&data)["apps"]["plain"]["archive"].clone();
    let needed = ["doom", "held"].map(|ty| archive[ty]["events"].as_u64().unwrap());
    assert_eq!(needed, [NEEDED as u64; 2], "they are the oldest");
    server.evoke(app.path(), &["subscriptions", "resume", "held/h"]).ok();
    eventually("what was held", || {
        let runs = server
            .evoke(app.path(), &["runs", "ls", "--function", "held", "-n", "200", "--json"])
            .ok()
            .json();
        let done = runs["runs"].as_array().unwrap().iter().filter(|run| run["state"] == "completed").count();
        (done == NEEDED).then_some(())
    });
    server.running.signal("KILL");
    server.running.wait();

    // The runs that ended and the lines go by their bytes, the dead letters stay.
    let bounds = ["--app-runs-bytes", "4KiB", "--logs-bytes", "4KiB"];
    server = server.again_with(&bounds);
    eventually("runs and lines to go", || {
        let plain = stats(&data)["apps"]["plain"].clone();
        let within = |name: &str| plain[name].as_u64().unwrap() <= 4 << 10;
        (within("ended_bytes") && within("log_line_bytes")).then_some(())
    });
    assert_eq!(dead(&server, app.path()).len(), NEEDED);
    server.running.signal("TERM");
    server.running.wait();
    let verified = run(command(&data).args(["store", "verify", "--data"]).arg(&data));
    assert_eq!(verified.code, 0, "{verified:?}");
}

fn dead(server: &Server, app: &Path) -> Vec<Value> {
    let list = server.evoke(app, &["dlq", "ls", "-n", "200", "--json"]).ok().json();
    list["dead_letters"].as_array().unwrap().clone()
}

fn stats(data: &Path) -> Value {
    run(command(data).args(["store", "stats", "--json", "--data"]).arg(data)).ok().json()
}

/// Bytes of events that are kept.
fn kept(data: &Path) -> u64 {
    let archive = stats(data)["apps"]["plain"]["archive"].clone();
    archive.as_object().unwrap().values().map(|held| held["bytes"].as_u64().unwrap()).sum()
}

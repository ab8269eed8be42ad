//! `evoke apps rm`: what it asks and shows, and that a server that is killed while it removes an app goes on.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::app::served;
use crate::evoke::{command, eventually, run};

/// Events that are accepted before the app goes, each with a run: many more than a transaction takes away.
const EVENTS: usize = 12_000;
/// As many at once.
const BATCH: usize = 100;
/// How often the server is killed.
const KILLS: usize = 5;

#[test]
fn an_app_is_removed_when_somebody_says_so_and_a_new_one_begins_empty() {
    let (server, app) = served();
    server.evoke(app.path(), &["send", "slow", "--in", "1h"]).ok();
    let shown = server.evoke(app.path(), &["apps", "rm", "plain", "--dry-run"]).ok();
    assert!(shown.stdout.contains("1 delayed event\n"), "{shown:?}");
    let unasked = server.evoke(app.path(), &["apps", "rm", "plain"]);
    assert_eq!(unasked.code, 2, "{unasked:?}");
    assert!(unasked.stderr.contains("add --yes"), "{unasked:?}");
    let busy = server.evoke(app.path(), &["apps", "rm", "plain", "--yes"]);
    assert!(busy.code != 0 && busy.stderr.contains("--drop-pending"), "{busy:?}");
    let removed =
        server.evoke(app.path(), &["apps", "rm", "plain", "--yes", "--drop-pending", "--json"]).ok();
    assert_eq!(removed.json()["had"]["delayed"], 1);
    assert_eq!(server.evoke(app.path(), &["apps", "ls", "--json"]).ok().json(), json!({ "apps": [] }));
    let again = server.evoke(app.path(), &["apps", "rm", "plain", "--yes"]);
    assert!(again.code != 0 && again.stderr.contains("no app plain"), "{again:?}");
    server.evoke(app.path(), &["deploy"]).ok();
    let ls = server.evoke(app.path(), &["apps", "ls", "--json"]).ok().json();
    assert_eq!(ls["apps"][0]["version"], 1);
    assert_eq!(server.evoke(app.path(), &["events", "delayed", "--json"]).ok().json()["events"], json!([]));
    server.stop();
}

#[test]
fn a_removal_goes_on_after_each_kill_and_the_store_stays_sound() {
    let (mut server, app) = served();
    let event = |n: usize| json!({ "specversion": "1.0", "id": n.to_string(), "source": "/t", "type": "doom", "data": n });
    for first in (0..EVENTS).step_by(BATCH) {
        let batch: Vec<Value> = (first..first + BATCH).map(event).collect();
        server.publish("plain", &json!(batch).to_string());
    }
    let data = server.data.clone();
    let mut asking = server.command(app.path(), &["apps", "rm", "plain", "--yes", "--drop-pending"]);
    let mut asking = asking.stderr(Stdio::null()).spawn().unwrap();
    eventually("the removal to begin", || {
        let apps = server.evoke(app.path(), &["apps", "ls", "--json"]).ok().json();
        (apps["apps"] == json!([])).then_some(())
    });
    let mut before = held(&data);
    let mut midway = 0;
    for kill in 1..=KILLS {
        server.running.signal("KILL");
        server.running.wait();
        let verified = run(command(&data).args(["store", "verify", "--data"]).arg(&data));
        assert_eq!(verified.code, 0, "after kill {kill}: {verified:?}");
        server = server.again();
        eventually("some of it to go", || (held(&data) < before || before == 0).then_some(()));
        before = held(&data);
        midway += u32::from(before > 0);
    }
    assert!(midway > 0, "it was never killed in the middle");
    // Whoever waited was told nothing, and can ask again.
    assert!(!asking.wait().unwrap().success());
    eventually("the app to be gone", || {
        let deployed = server.evoke(app.path(), &["deploy"]);
        assert!(deployed.code == 0 || deployed.stderr.contains("is being removed"), "{deployed:?}");
        (deployed.code == 0).then_some(())
    });
    assert_eq!(server.evoke(app.path(), &["events", "ls", "--json"]).ok().json()["events"], json!([]));
    assert_eq!(server.evoke(app.path(), &["runs", "ls", "--json"]).ok().json()["runs"], json!([]));
    server.running.signal("TERM");
    server.running.wait();
    let verified = run(command(&data).args(["store", "verify", "--data"]).arg(&data));
    assert_eq!(verified.code, 0, "{verified:?}");
}

/// Rows of the store that are of the app: events and runs.
fn held(data: &Path) -> u64 {
    let stats = run(command(data).args(["store", "stats", "--json", "--data"]).arg(data)).ok().json();
    let count = |table: &str| stats["tables"][table]["rows"].as_u64().unwrap();
    count("log") + count("runs")
}

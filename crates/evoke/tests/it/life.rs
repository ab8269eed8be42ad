//! A server's start, its orderly end, and its end by force.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::json;

use crate::app::{plain, served};
use crate::evoke::{Server, eventually, folder, http, write};

/// Puts the file `go` beside the functions of every bundle, which is all of the host's files that they see.
fn let_go(data: &Path) {
    for bundle in std::fs::read_dir(data.join("workers/bundles/2")).unwrap() {
        let bundle = bundle.unwrap().path();
        std::fs::set_permissions(&bundle, std::fs::Permissions::from_mode(0o755)).unwrap();
        write(&bundle, "go", "");
    }
}

#[test]
fn sigterm_lets_a_call_finish_and_leaves_nothing_running() {
    let (mut server, app) = served();
    let data = server.data_url.clone();
    let call = std::thread::spawn(move || http(&data, "GET", "/slow?file=go", ""));
    eventually("the call to begin", || {
        server
            .evoke(app.path(), &["runs", "ls", "--state", "running", "--function", "slow", "--json"])
            .ok()
            .json()["runs"][0]["id"]
            .as_str()
            .map(str::to_owned)
            .or_else(|| {
                server.evoke(app.path(), &["logs", "slow"]).stdout.contains("begun").then(String::new)
            })
    });
    server.running.signal("TERM");
    server.running.wait_for_talk("finishing what runs");
    let_go(&server.data);
    let answer = call.join().unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, "done\n"));
    assert_eq!(server.running.wait().code(), Some(0), "{}", server.running.stderr);
    assert!(!server.data.join("listeners.json").exists());
}

#[test]
fn a_second_signal_ends_at_once() {
    let (mut server, app) = served();
    server.evoke(app.path(), &["send", "slow", "--data", &json!({ "file": "go" }).to_string()]).ok();
    eventually("the run to begin", || {
        server.evoke(app.path(), &["logs", "slow"]).stdout.contains("begun").then_some(())
    });
    server.running.signal("INT");
    server.running.wait_for_talk("finishing what runs");
    server.running.signal("INT");
    assert_eq!(server.running.wait().code(), Some(130), "{}", server.running.stderr);
}

#[test]
fn what_does_not_end_within_the_grace_period_goes_back_to_its_queue() {
    let (dir, app) = (folder(&[]), plain());
    let data = dir.path().join("data");
    let mut impatient = Server::start_with(&data, &["--grace", "50ms"]);
    impatient.evoke(app.path(), &["deploy"]).ok();
    let sent = impatient
        .evoke(app.path(), &["send", "slow", "--json", "--data", &json!({ "file": "go" }).to_string()]);
    let run = sent.ok().json()["runs"][0].as_str().unwrap().to_owned();
    eventually("the run to begin", || {
        impatient.evoke(app.path(), &["logs", "slow"]).stdout.contains("begun").then_some(())
    });
    impatient.running.signal("TERM");
    assert_eq!(impatient.running.wait().code(), Some(0), "{}", impatient.running.stderr);
    let_go(&data);
    let again = Server::start_on(&data);
    eventually("the run to complete", || {
        let json = again.evoke(app.path(), &["runs", "get", &run, "--json"]).ok().json();
        (json["run"]["state"] == "completed").then_some(())
    });
    assert_eq!(again.stop().code, 0);
}

#[test]
fn what_was_accepted_survives_a_kill_and_is_done_after_the_restart() {
    let (mut server, app) = served();
    let sent =
        server.evoke(app.path(), &["send", "slow", "--json", "--data", &json!({ "file": "go" }).to_string()]);
    let run = sent.ok().json()["runs"][0].as_str().unwrap().to_owned();
    eventually("the run to begin", || {
        server.evoke(app.path(), &["logs", "slow"]).stdout.contains("begun").then_some(())
    });
    server.running.signal("KILL");
    server.running.wait();
    let_go(&server.data);

    let again = Server::start_on(&server.data);
    let done = eventually("the run to complete", || {
        let json = again.evoke(app.path(), &["runs", "get", &run, "--json"]).ok().json();
        (json["run"]["state"] == "completed").then_some(json)
    });
    let outcomes: Vec<_> =
        done["run"]["attempts"].as_array().unwrap().iter().map(|a| a["outcome"].clone()).collect();
    assert_eq!(outcomes, ["lost", "completed"]);
    assert_eq!(again.stop().code, 0);
}

#[test]
fn an_idle_server_says_where_it_listens_and_ends_in_order() {
    let server = Server::start();
    let listeners: serde_json::Value =
        serde_json::from_slice(&std::fs::read(server.data.join("listeners.json")).unwrap()).unwrap();
    assert_eq!(
        listeners,
        json!({ "pid": server.running.pid(), "data": server.data_url, "admin": server.admin_url })
    );
    assert_eq!(http(&server.admin_url, "GET", "/health", "").status, 200);
    let said = server.stop();
    assert_eq!((said.code, said.stdout.lines().count()), (0, 2), "{said:?}");
}

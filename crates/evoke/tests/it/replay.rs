//! Replays against the real executable: looked at first, begun, cut by a restart, cancelled.

use std::path::Path;

use serde_json::Value;

use crate::evoke::{Server, eventually, folder};

const MANIFEST: &str = r#"
evoke = "1"
[app]
name = "again"
[functions.book]
source = "book.py"
concurrency = 2
[[functions.book.on]]
event = "placed"
name = "orders"
order = "subject"
"#;

const BOOK: &str = "def handler(event, context):\n    print(event['id'], event.get('evokereplay', 'live'))\n";

fn lines(server: &Server, app: &Path) -> Vec<String> {
    let logs = server.evoke(app, &["logs", "book", "--json", "-n", "1000"]).ok().stdout;
    let line = |line: &str| serde_json::from_str::<Value>(line).unwrap();
    let own = logs.lines().map(line).filter(|line| line["stream"] == "stdout");
    own.map(|line| line["line"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_replay_goes_on_after_a_restart_and_says_so_to_the_function_and_in_the_run() {
    let data = tempfile::tempdir().unwrap();
    let app = folder(&[("evoke.toml", MANIFEST), ("book.py", BOOK)]);
    let server = Server::start_on(data.path());
    server.evoke(app.path(), &["deploy"]).ok();
    for n in 0..12 {
        let (id, subject) = (format!("e{n}"), format!("s{}", n % 2));
        server.evoke(app.path(), &["send", "placed", "--id", &id, "--subject", &subject]).ok();
    }
    server.evoke(app.path(), &["send", "other", "--id", "x"]).ok();
    eventually("all to be booked", || (lines(&server, app.path()).len() == 12).then_some(()));

    let range =
        ["events", "replay", "book/orders", "--from-id", "e1", "--to-id", "e10", "--where", "id <> 'e5'"];
    let dry = server.evoke(app.path(), &[&range[..], &["--dry-run", "--json"]].concat()).ok().json();
    assert_eq!((&dry["seen"], &dry["events"]), (&10.into(), &9.into()), "{dry}");
    assert_eq!((&dry["first"]["id"], &dry["last"]["id"]), (&"e1".into(), &"e10".into()), "{dry}");
    let told = server.evoke(app.path(), &[&range[..], &["--dry-run"]].concat()).ok().stdout;
    assert!(told.starts_with("9 events of 10 in the range would be delivered, "), "{told}");
    let none = server.evoke(app.path(), &["replays", "ls", "--json"]).ok().json();
    assert_eq!(none["replays"], Value::Array(Vec::new()));

    // Held up, so that nothing of it is done before the server ends.
    server.evoke(app.path(), &["subscriptions", "pause", "book/orders"]).ok();
    let begun = server.evoke(app.path(), &[&range[..], &["--json"]].concat()).ok().json();
    let id = begun["id"].as_str().unwrap();
    server.stop();
    let server = Server::start_on(data.path());
    let done = eventually("all of it to be looked at", || {
        let one = server.evoke(app.path(), &["replays", "get", id, "--json"]).ok().json();
        (one["state"] == "done").then_some(one)
    });
    assert_eq!((&done["seen"], &done["delivered"]), (&10.into(), &9.into()), "{done}");
    assert_eq!(lines(&server, app.path()).len(), 12, "it is paused");
    server.evoke(app.path(), &["subscriptions", "resume", "book/orders"]).ok();
    let all = eventually("the rest to be booked", || {
        Some(lines(&server, app.path())).filter(|lines| lines.len() >= 21)
    });
    let mut again: Vec<&str> =
        all[12..].iter().filter_map(|line| line.strip_suffix(id)).map(str::trim).collect();
    let of = |again: &[&str], rest: usize| {
        let numbers = again.iter().map(|id| id[1..].parse::<usize>().unwrap());
        numbers.filter(|n| n % 2 == rest).collect::<Vec<_>>()
    };
    assert_eq!((of(&again, 0), of(&again, 1)), (vec![2, 4, 6, 8, 10], vec![1, 3, 7, 9]), "in order by key");
    again.dedup();
    assert_eq!((again.len(), all.len()), (9, 21), "each once");

    let explained = server.evoke(app.path(), &["events", "explain", "e1", "--json"]).ok().json();
    let deliveries = explained["subscriptions"][0]["deliveries"].as_array().unwrap();
    assert_eq!((deliveries.len(), &deliveries[1]["replay"]), (2, &begun["id"]), "{explained}");
    let run = deliveries[1]["run"].as_str().unwrap();
    let run = server.evoke(app.path(), &["runs", "get", run, "--json"]).ok();
    assert!(run.stdout.contains("\"replay\"") && run.stdout.contains(id), "{run:?}");
    assert!(
        server
            .evoke(app.path(), &["events", "explain", "e1"])
            .ok()
            .stdout
            .contains(&format!("again, by {id}"))
    );
    assert!(server.evoke(app.path(), &["replays", "ls"]).ok().stdout.contains("book/orders"));
    assert_eq!(server.evoke(app.path(), &["replays", "cancel", id, "--json"]).ok().json()["state"], "done");

    let early = ["events", "replay", "book/orders", "--from", "2020-01-01T00:00:00Z"];
    let short = server.evoke(app.path(), &[&early[..], &["--dry-run"]].concat()).ok().stdout;
    assert!(short.contains("the archive starts at "), "{short}");
    let empty = server.evoke(app.path(), &[&early[..], &["--to", "2020-01-02T00:00:00Z"]].concat());
    assert!(empty.code != 0 && empty.stderr.contains("the archive starts at "), "{empty:?}");
    let unknown = server.evoke(app.path(), &["events", "replay", "book/none", "--from", "earliest"]);
    assert!(unknown.stderr.contains("function book of app again has no subscription none"), "{unknown:?}");
    server.stop();
}

//! Delivery policies against the real executable: order through a failure, batches with some that failed, a queue, a pause.

use serde_json::{Value, json};

use crate::evoke::{Server, eventually, folder};

const MANIFEST: &str = r#"
evoke = "1"
[app]
name = "flow"
[functions.ledger]
source = "ledger.py"
concurrency = 4
[[functions.ledger.on]]
event = "placed"
order = "subject"
retry = { attempts = 2, backoff = "fixed", initial = "50ms" }
[functions.report]
source = "report.mjs"
[[functions.report.on]]
event = "counted"
batch = { size = 3, window = "30s" }
retry = { attempts = 2, backoff = "fixed", initial = "50ms" }
[functions.mailer]
source = "mailer.py"
[queues.mail]
to = "mailer"
"#;

const LEDGER: &str = r#"
def handler(event, context):
    print(event["subject"], event["id"])
    if event["id"] == "a1":
        raise ValueError("a1 is bad")
"#;

const REPORT: &str = "export default { event(events) {
    console.log(events.map((event) => event.id).join(' '));
    const failed = events.filter((event) => event.id === 'c2');
    return { batchItemFailures: failed.map((event) => ({ itemIdentifier: event.id })) };
} };";

const MAILER: &str = "def handler(event, context):\n    print('mail to', event['data']['to'])\n";

fn send(server: &Server, cwd: &std::path::Path, args: &[&str]) -> Value {
    server.evoke(cwd, &[&["send"], args, &["--json"]].concat()).ok().json()
}

#[test]
fn events_are_delivered_by_the_policy_of_their_subscription() {
    let server = Server::start();
    let files =
        [("evoke.toml", MANIFEST), ("ledger.py", LEDGER), ("report.mjs", REPORT), ("mailer.py", MAILER)];
    let app = folder(&files);
    server.evoke(app.path(), &["deploy"]).ok();
    let lines = |function: &str| {
        let logs = server.evoke(app.path(), &["logs", function, "--json"]).ok().stdout;
        let line = |line: &str| serde_json::from_str::<Value>(line).unwrap();
        let own = logs.lines().map(line).filter(|line| line["stream"] == "stdout");
        own.map(|line| line["line"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for id in ["a1", "a2", "b1", "a3"] {
        send(&server, app.path(), &["placed", "--id", id, "--subject", &id[..1]]);
    }
    let seen = eventually("all orders to be booked", || Some(lines("ledger")).filter(|seen| seen.len() == 5));
    let of_a: Vec<&String> = seen.iter().filter(|line| line.starts_with("a ")).collect();
    assert_eq!(of_a, ["a a1", "a a1", "a a2", "a a3"]);

    for id in ["c1", "c2", "c3"] {
        send(&server, app.path(), &["counted", "--id", id]);
    }
    eventually("the batch", || Some(lines("report")).filter(|seen| *seen == ["c1 c2 c3"]));
    // The one that failed joins two others; alone it would wait for the window.
    for id in ["c4", "c5"] {
        send(&server, app.path(), &["counted", "--id", id]);
    }
    let second = eventually("the second batch", || Some(lines("report")).filter(|seen| seen.len() == 2));
    let mut second: Vec<&str> = second[1].split(' ').collect();
    second.sort_unstable();
    assert_eq!(second, ["c2", "c4", "c5"]);

    let pause = server.evoke(app.path(), &["subscriptions", "pause", "mailer/queue.mail"]).ok();
    assert_eq!(pause.stderr, "mailer/queue.mail is paused\n");
    send(&server, app.path(), &["queue.mail", "--data", &json!({ "to": "ada" }).to_string()]);
    let list = server.evoke(app.path(), &["subscriptions", "ls", "--json"]).ok().json();
    let mail =
        list["subscriptions"].as_array().unwrap().iter().find(|one| one["name"] == "queue.mail").unwrap();
    assert_eq!((&mail["waiting"], mail["paused_at"].is_string()), (&json!(1), true), "{list}");
    let queue = server.evoke(app.path(), &["queues", "stats", "mail", "--json"]).ok().json();
    let (to, out) = (&queue["to"], (&queue["waiting"], &queue["leased"], &queue["retrying"]));
    assert_eq!((to, out), (&json!("mailer"), (&json!(1), &json!(0), &json!(0))), "{queue}");
    assert!(queue["oldest_at"].is_string() && queue["paused_at"].is_string(), "{queue}");
    let queues = server.evoke(app.path(), &["queues", "ls"]).ok().stdout;
    assert!(queues.contains("mail") && queues.contains("paused"), "{queues}");
    assert_eq!(server.evoke(app.path(), &["queues", "stats", "mial"]).code, 4);
    assert_eq!(lines("mailer"), [""; 0]);
    server.evoke(app.path(), &["subscriptions", "resume", "mailer/queue.mail"]).ok();
    let done = || server.evoke(app.path(), &["queues", "stats", "mail", "--json"]).ok().json();
    eventually("the queue to be empty", || Some(done()).filter(|queue| queue["waiting"] == 0));
    eventually("the mail", || Some(lines("mailer")).filter(|seen| *seen == ["mail to ada"]));
    let unknown = server.evoke(app.path(), &["subscriptions", "pause", "mailer/x"]);
    assert_eq!(unknown.code, 4, "{}", unknown.stderr);
    let misspelt = server.evoke(app.path(), &["send", "queue.mial"]);
    assert!(misspelt.stderr.contains("app flow has no queue.mial"), "{}", misspelt.stderr);
}

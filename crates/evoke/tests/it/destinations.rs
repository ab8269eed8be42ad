//! Asynchronous calls with real functions: accepted, followed, told of, cancelled; and told of once although the server is
//! killed again and again between the end of the call and who is told.

use serde_json::{Value, json};

use crate::evoke::{Server, eventually, folder};

const APP: &str = r#"evoke = "1"
[app]
name = "reports"

[functions.report]
source = "report.py"
timeout = "1m"
retry = { attempts = 9, backoff = "fixed", initial = "100ms" }
on_success = { function = "mail" }
on_failure = { event = "report.failed" }

[functions.mail]
source = "mail.py"

[functions.apologise]
source = "mail.py"
[[functions.apologise.on]]
event = "report.failed"

[[routes]]
path = "/reports"
to = "report"
"#;

const REPORT: &str = r#"import json, time
import evoke

def handler(event, context):
    asked = json.loads(event["body"])
    evoke.kv.put("begun/" + asked["id"], context.aws_request_id)
    if asked.get("sleep"):
        time.sleep(asked["sleep"])
    if asked.get("fail"):
        raise ValueError("no data")
    evoke.kv.put("made/" + asked["id"], (evoke.kv.get("made/" + asked["id"]) or 0) + 1)
    return {"statusCode": 201, "headers": {"content-type": "application/json"}, "body": json.dumps({"id": asked["id"]})}
"#;

const MAIL: &str = r#"import evoke

def handler(event, context):
    told = event["data"]
    key = told["condition"] + "/" + told["run"]
    evoke.kv.put(key, (evoke.kv.get(key) or 0) + 1)
    print("told", told["condition"], told["run"])
"#;

struct Reports {
    server: Server,
    app: tempfile::TempDir,
}

impl Reports {
    fn start() -> Self {
        let app = folder(&[("evoke.toml", APP), ("report.py", REPORT), ("mail.py", MAIL)]);
        let server = Server::start();
        server.evoke(app.path(), &["deploy"]).ok();
        Self { server, app }
    }

    fn later(&self, asked: &Value) -> String {
        let asked = asked.to_string();
        let said = self.server.evoke(self.app.path(), &["invoke", "report", "--async", "-d", &asked]).ok();
        said.stdout.trim().to_owned()
    }

    fn ended(&self, run: &str) -> Value {
        let said = self.server.evoke(self.app.path(), &["runs", "get", run, "--wait", "1m", "--json"]).ok();
        said.json()["run"].clone()
    }

    /// How often somebody was told this.
    fn told(&self, words: &str) -> usize {
        let said = self.server.evoke(self.app.path(), &["logs", "-n", "1000"]).ok();
        said.stdout.lines().filter(|line| line.ends_with(words)).count()
    }
}

#[test]
fn a_call_is_accepted_followed_told_of_and_cancelled() {
    let reports = Reports::start();
    let (server, app) = (&reports.server, reports.app.path());
    let run = reports.later(&json!({ "id": "a" }));
    let ended = reports.ended(&run);
    assert_eq!(ended["state"], "completed");
    assert_eq!((&ended["result"]["status"], &ended["result"]["body"]), (&json!(201), &json!({ "id": "a" })));
    assert_eq!(server.evoke(app, &["runs", "result", &run]).ok().stdout, "{\"id\": \"a\"}");
    eventually("mail to be told", || (reports.told(&format!("told completed {run}")) == 1).then_some(()));

    let failed = reports.later(&json!({ "id": "b", "fail": true }));
    assert_eq!(reports.ended(&failed)["state"], "dead_lettered");
    let words = format!("told retries_exhausted {failed}");
    eventually("the apology", || (reports.told(&words) == 1).then_some(()));
    let none = server.evoke(app, &["runs", "result", &failed]);
    assert_eq!((none.code, none.stderr.contains("ValueError")), (4, true), "{}", none.stderr);

    let slow = reports.later(&json!({ "id": "c", "sleep": 50 }));
    eventually("the run to begin", || {
        let run = server.evoke(app, &["runs", "get", &slow, "--json"]).ok().json()["run"].clone();
        (run["state"] == "running").then_some(())
    });
    server.evoke(app, &["runs", "cancel", &slow, "--reason", "too slow"]).ok();
    let cancelled = reports.ended(&slow);
    let last = &cancelled["attempts"][0];
    assert_eq!((&cancelled["state"], &last["ended_by"]), (&json!("failed"), &json!("operator")));
    assert_eq!((&last["code"], &last["message"]), (&json!("cancelled_by_operator"), &json!("too slow")));
    eventually("that it is told", || (reports.told(&format!("told cancelled {slow}")) == 1).then_some(()));
    let again = server.evoke(app, &["runs", "cancel", &slow]).ok();
    assert_eq!(again.stdout.trim(), slow);
    let over = server.evoke(app, &["runs", "cancel", &run]);
    assert_eq!(over.code, 1, "{}", over.stderr);
    assert!(over.stderr.contains("had come to an end by itself"), "{}", over.stderr);
}

#[test]
fn each_end_is_told_once_although_the_server_is_killed_in_between() {
    let mut reports = Reports::start();
    let mut runs = Vec::new();
    for kill in 0..4 {
        for n in 0..5 {
            runs.push(reports.later(&json!({ "id": format!("{kill}-{n}") })));
        }
        reports.server.running.signal("KILL");
        reports.server.running.wait();
        reports.server = reports.server.again();
    }
    for run in &runs {
        assert_eq!(reports.ended(run)["state"], "completed", "{run}");
    }
    let told = || {
        let args = ["runs", "ls", "--function", "mail", "--state", "completed", "-n", "100", "--json"];
        let list = reports.server.evoke(reports.app.path(), &args).ok().json();
        list["runs"].as_array().unwrap().len()
    };
    eventually("all to be told", || (told() >= runs.len()).then_some(()));
    let all = reports
        .server
        .evoke(reports.app.path(), &["runs", "ls", "--function", "mail", "-n", "100", "--json"]);
    assert_eq!(all.ok().json()["runs"].as_array().unwrap().len(), runs.len(), "each once");
}

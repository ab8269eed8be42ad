//! Hooks against the real executable: what an endpoint gets, and what becomes of what it answers.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};

use serde_json::{Value, json};

use crate::evoke::{PATIENCE, Server, eventually, folder, run};

const SECRETS: [&str; 2] =
    ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"];

/// A request as the endpoint got it, and where its answer goes. Without one, the connection stays open.
struct Got {
    fields: Vec<(String, String)>,
    body: String,
    answer: Sender<String>,
}

impl Got {
    fn field(&self, name: &str) -> &str {
        let found = self.fields.iter().find(|(field, _)| field == name);
        found.map_or_else(|| panic!("no {name} in {:?}", self.fields), |(_, value)| value.as_str())
    }

    fn answer(&self, status: &str) {
        self.answer.send(format!("HTTP/1.1 {status}\r\ncontent-length: 4\r\n\r\nwhy?")).unwrap();
    }
}

/// An endpoint on a port of its own; each request is answered when its test says so.
fn endpoint() -> (String, Receiver<Got>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hooks/shop?token=secret", listener.local_addr().unwrap());
    let (to, got) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let to = to.clone();
            std::thread::spawn(move || converse(&stream, &to));
        }
    });
    (url, got)
}

fn converse(stream: &TcpStream, to: &Sender<Got>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut fields = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            match line.split_once(": ") {
                Some((name, value)) => fields.push((name.to_lowercase(), value.to_owned())),
                None => fields.push(("line".to_owned(), line.to_owned())),
            }
        }
        let length = fields.iter().find(|(name, _)| name == "content-length").unwrap().1.parse().unwrap();
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let (answer, answered) = channel();
        to.send(Got { fields, body: String::from_utf8(body).unwrap(), answer }).ok()?;
        let answer = answered.recv().ok()?;
        (&mut &*stream).write_all(answer.as_bytes()).ok()?;
    }
}

fn manifest(url: &str) -> String {
    format!(
        r#"
evoke = "1"
[app]
name = "shop"
[hooks.partner]
url = "{url}"
secret = ["NEW", "OLD"]
headers = {{ X-Shop = "eu" }}
secret_headers = {{ Authorization = "TOKEN" }}
retry = {{ attempts = 3, backoff = "fixed", initial = "10ms" }}
[[hooks.partner.on]]
event = "paid"
where = "subject = 'order-1'"
"#
    )
}

fn set(server: &Server, name: &str, value: &str) {
    let dir = folder(&[]);
    let mut command = server.command(dir.path(), &["secrets", "set", name, "--app", "shop"]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    writeln!(child.stdin.take().unwrap(), "{value}").unwrap();
    assert!(child.wait().unwrap().success());
}

fn server_with(data: &Path, options: &[&str]) -> Server {
    let server = Server::start_with(data, options);
    set(&server, "NEW", SECRETS[0]);
    set(&server, "OLD", SECRETS[1]);
    set(&server, "TOKEN", "Bearer abc");
    server
}

const OPEN: [&str; 2] = ["--egress-allow", "127.0.0.1"];

fn send(server: &Server, cwd: &Path, id: &str) -> String {
    let args = ["send", "paid", "--id", id, "--subject", "order-1", "--data", "{\"total\": 42}", "--json"];
    let sent = server.evoke(cwd, &args).ok().json();
    sent["runs"][0].as_str().unwrap_or_else(|| panic!("{sent}")).to_owned()
}

/// The run once it is in a final state.
fn ended(server: &Server, cwd: &Path, run: &str) -> Value {
    eventually("the end of the run", || {
        let run = server.evoke(cwd, &["runs", "get", run, "--json"]).ok().json();
        let run = if run["run"].is_object() { run["run"].clone() } else { run };
        (run["ended_at"].is_string() || run["state"] == "dead_lettered").then_some(run)
    })
}

/// Whether Python's hmac comes to the same signature.
fn python_agrees(got: &Got, secret: &str, signature: &str) -> bool {
    let script = "import base64, hashlib, hmac, sys\n\
        key, id, at, body, want = sys.argv[1:]\n\
        mac = hmac.new(base64.b64decode(key.removeprefix('whsec_')), f'{id}.{at}.{body}'.encode(), hashlib.sha256)\n\
        sys.exit(0 if 'v1,' + base64.b64encode(mac.digest()).decode() == want else 1)";
    let (id, at) = (got.field("webhook-id"), got.field("webhook-timestamp"));
    let said = run(Command::new("python3").args(["-c", script, secret, id, at, &got.body, signature]));
    assert!(said.stderr.is_empty(), "{}", said.stderr);
    said.code == 0
}

#[test]
fn an_event_is_posted_signed_and_tried_again_with_the_same_id() {
    let (url, requests) = endpoint();
    let data = tempfile::tempdir().unwrap();
    let server = server_with(&data.path().join("data"), &OPEN);
    let app = folder(&[("evoke.toml", &manifest(&url))]);
    server.evoke(app.path(), &["deploy"]).ok();
    let filtered = ["send", "paid", "--id", "evt-0", "--subject", "other", "--json"];
    let filtered = server.evoke(app.path(), &filtered).ok().json();
    assert_eq!(filtered["runs"], json!([]), "{filtered}");

    let run = send(&server, app.path(), "evt-1");
    let first = requests.recv_timeout(PATIENCE).unwrap();
    assert_eq!(first.field("line"), "POST /hooks/shop?token=secret HTTP/1.1");
    assert_eq!(first.field("webhook-id"), "evt-1");
    assert_eq!(first.field("content-type"), "application/cloudevents+json");
    assert_eq!((first.field("x-shop"), first.field("authorization")), ("eu", "Bearer abc"));
    assert_eq!(first.field("evoke-run"), run);
    let (hops, trace) = (first.field("cdn-loop"), first.field("traceparent"));
    let span = hops.split(';').find_map(|part| part.strip_prefix("span=")).unwrap();
    assert!(hops.starts_with("evoke-") && trace.starts_with("00-") && trace.contains(span), "{hops} {trace}");
    let body: Value = serde_json::from_str(&first.body).unwrap();
    assert_eq!((&body["type"], &body["data"]["total"]), (&json!("paid"), &json!(42)), "{body}");
    let signatures: Vec<&str> = first.field("webhook-signature").split(' ').collect();
    assert_eq!(signatures.len(), 2);
    for (secret, signature) in SECRETS.iter().zip(&signatures) {
        assert!(python_agrees(&first, secret, signature), "{signature}");
    }
    assert!(!python_agrees(&first, SECRETS[0], signatures[1]));
    first.answer("500 Internal Server Error");
    let second = requests.recv_timeout(PATIENCE).unwrap();
    assert_eq!(second.field("webhook-id"), "evt-1");
    second.answer("302 Found\r\nlocation: https://elsewhere.example.com/");
    requests.recv_timeout(PATIENCE).unwrap().answer("204 No Content\r\nx: y");

    let run = ended(&server, app.path(), &run);
    let attempts = run["attempts"].as_array().unwrap();
    let codes: Vec<&Value> = attempts.iter().map(|attempt| &attempt["code"]).collect();
    assert_eq!(codes, [&json!("bad_status"), &json!("bad_status"), &Value::Null], "{run}");
    assert_eq!((&run["state"], &attempts[2]["status"]), (&json!("completed"), &json!(204)));
    let words = run.to_string();
    assert!(words.contains("the endpoint answered 500 Internal Server Error: why?"), "{words}");
    assert!(words.contains("redirects are not followed"), "{words}");
    let logs = server.evoke(app.path(), &["logs", "partner"]).ok().stdout;
    assert!(
        logs.contains("/hooks/shop: 500 Internal Server Error") && !logs.contains("token=secret"),
        "{logs}"
    );

    let list = server.evoke(app.path(), &["hooks", "ls", "--json"]).ok().json();
    let hook = &list["hooks"][0];
    assert_eq!((&hook["recent"]["delivered"], &hook["last"]["status"]), (&json!(1), &json!(204)), "{list}");
    let functions = server.evoke(app.path(), &["functions", "ls", "--json"]).ok().json();
    assert_eq!(functions["functions"], json!([]));
    let invoked = server.evoke(app.path(), &["invoke", "partner"]);
    assert_ne!(invoked.code, 0);
    assert!(invoked.stderr.contains("no function partner"), "{}", invoked.stderr);
}

#[test]
fn a_410_disables_the_hook_until_it_is_enabled_also_after_a_restart() {
    let (url, requests) = endpoint();
    let data = tempfile::tempdir().unwrap();
    let data = data.path().join("data");
    let server = server_with(&data, &OPEN);
    let app = folder(&[("evoke.toml", &manifest(&url))]);
    server.evoke(app.path(), &["deploy"]).ok();
    let gone = send(&server, app.path(), "evt-1");
    requests.recv_timeout(PATIENCE).unwrap().answer("410 Gone");
    let run = ended(&server, app.path(), &gone);
    assert_eq!(run["attempts"].as_array().unwrap().len(), 1, "{run}");
    assert_eq!((&run["state"], &run["attempts"][0]["code"]), (&json!("dead_lettered"), &json!("gone")));
    server.stop();

    let server = Server::start_with(&data, &OPEN);
    let list = server.evoke(app.path(), &["hooks", "ls", "--json"]).ok().json();
    let disabled = &list["hooks"][0]["disabled"];
    assert_eq!(disabled["run"], json!(gone), "{list}");
    assert!(disabled["reason"].as_str().unwrap().contains("410 Gone: why?"), "{list}");
    let later = send(&server, app.path(), "evt-2");
    let run = ended(&server, app.path(), &later);
    assert_eq!((&run["state"], &run["attempts"][0]["code"]), (&json!("dead_lettered"), &json!("disabled")));
    assert!(requests.try_recv().is_err(), "a disabled hook sent something");

    let enabled = server.evoke(app.path(), &["hooks", "enable", "partner"]).ok();
    assert_eq!(enabled.stderr, "partner is enabled\n");
    server.evoke(app.path(), &["dlq", "redrive", &later]).ok();
    let redriven = requests.recv_timeout(PATIENCE).unwrap();
    assert_eq!(redriven.field("webhook-id"), "evt-2");
    redriven.answer("200 OK");
    assert_eq!(ended(&server, app.path(), &later)["state"], "completed");
}

#[test]
fn a_deploy_with_another_url_enables_a_hook_and_a_sample_shows_the_answer() {
    let ((url, requests), (other, others)) = (endpoint(), endpoint());
    let data = tempfile::tempdir().unwrap();
    let server = server_with(&data.path().join("data"), &OPEN);
    let app = folder(&[("evoke.toml", &manifest(&url))]);
    server.evoke(app.path(), &["deploy"]).ok();
    let gone = send(&server, app.path(), "evt-1");
    requests.recv_timeout(PATIENCE).unwrap().answer("410 Gone");
    ended(&server, app.path(), &gone);
    crate::evoke::write(app.path(), "evoke.toml", &manifest(&other));
    server.evoke(app.path(), &["deploy"]).ok();
    let run = send(&server, app.path(), "evt-2");
    others.recv_timeout(PATIENCE).unwrap().answer("200 OK");
    assert_eq!(ended(&server, app.path(), &run)["state"], "completed");

    let trial = |status: &'static str| {
        std::thread::scope(|scope| {
            let mut command = server.command(app.path(), &["hooks", "test", "partner", "--json"]);
            let sending = scope.spawn(move || crate::evoke::run(&mut command));
            let got = others.recv_timeout(PATIENCE).unwrap();
            assert!(got.body.contains("evoke.hook.test"), "{}", got.body);
            got.answer(status);
            sending.join().unwrap()
        })
    };
    let tried = trial("202 Accepted").ok().json();
    assert_eq!(
        (&tried["delivered"], &tried["status"], &tried["answer"]),
        (&json!(true), &json!(202), &json!("why?"))
    );
    let refused = trial("403 Forbidden");
    assert_eq!((refused.code, &refused.json()["delivered"]), (1, &json!(false)));
    assert!(refused.stdout.contains("the endpoint answered 403 Forbidden: why?"), "{}", refused.stdout);
    let unknown = server.evoke(app.path(), &["hooks", "enable", "nobody"]);
    assert_eq!(unknown.code, 4, "{}", unknown.stderr);
}

#[test]
fn addresses_that_nobody_opened_are_refused_when_they_are_connected_to() {
    let (url, requests) = endpoint();
    let data = tempfile::tempdir().unwrap();
    let server = server_with(&data.path().join("data"), &[]);
    let by_name = url.replace("127.0.0.1", "localhost");
    for (url, wrong) in [
        (url.clone(), "http is only for addresses that the operator opened"),
        (by_name.replace("http:", "https:"), "a loopback address"),
        ("https://169.254.169.254/latest".to_owned(), "a cloud's metadata service"),
        ("https://10.0.0.1/".to_owned(), "a private address"),
    ] {
        let app = folder(&[("evoke.toml", &manifest(&url))]);
        server.evoke(app.path(), &["deploy"]).ok();
        let tried = server.evoke(app.path(), &["hooks", "test", "partner"]);
        assert_eq!(tried.code, 1);
        assert!(tried.stdout.contains(wrong), "{url}: {}", tried.stdout);
    }
    assert!(requests.try_recv().is_err(), "something was sent");
}

#[test]
fn a_server_that_dies_before_it_knows_the_answer_delivers_again_with_the_same_id() {
    let (url, requests) = endpoint();
    let data = tempfile::tempdir().unwrap();
    let data = data.path().join("data");
    let mut server = server_with(&data, &OPEN);
    let app = folder(&[("evoke.toml", &manifest(&url))]);
    server.evoke(app.path(), &["deploy"]).ok();
    let run = send(&server, app.path(), "evt-1");
    let first = requests.recv_timeout(PATIENCE).unwrap();
    server.running.signal("KILL");
    server.running.wait();
    drop(server);
    let server = Server::start_with(&data, &OPEN);
    let second = requests.recv_timeout(PATIENCE).unwrap();
    assert_eq!(first.field("webhook-id"), second.field("webhook-id"));
    second.answer("200 OK");
    assert_eq!(ended(&server, app.path(), &run)["state"], "completed");
}

#[test]
fn a_hook_whose_secret_cannot_sign_is_not_deployed() {
    let (url, _requests) = endpoint();
    let server = Server::start();
    let app = folder(&[("evoke.toml", &manifest(&url))]);
    let missing = server.evoke(app.path(), &["deploy"]);
    assert!(missing.stderr.contains("secrets NEW, OLD, TOKEN not set"), "{}", missing.stderr);
    for (name, value) in [("NEW", "hunter2"), ("OLD", SECRETS[1]), ("TOKEN", "t")] {
        set(&server, name, value);
    }
    let wrong = server.evoke(app.path(), &["deploy"]);
    assert_ne!(wrong.code, 0);
    assert!(wrong.stderr.contains("secret NEW is not of the form whsec_<base64>"), "{}", wrong.stderr);
}

/// A subscription of a hook with these keys, besides the type.
fn hook_on(url: &str, keys: &str) -> String {
    format!(
        "evoke = \"1\"\n[app]\nname = \"shop\"\n[hooks.partner]\nurl = \"{url}\"\nsecret = [\"NEW\"]\n\
         retry = {{ attempts = 3, backoff = \"fixed\", initial = \"10ms\" }}\n[[hooks.partner.on]]\nevent = \"paid\"\n{keys}\n"
    )
}

fn send_of(server: &Server, cwd: &Path, id: &str, subject: &str) {
    server.evoke(cwd, &["send", "paid", "--id", id, "--subject", subject]).ok();
}

#[test]
fn events_of_one_key_are_sent_one_after_the_other_also_when_one_is_tried_again() {
    let (url, requests) = endpoint();
    let data = tempfile::tempdir().unwrap();
    let server = server_with(&data.path().join("data"), &OPEN);
    let app = folder(&[("evoke.toml", &hook_on(&url, "order = \"subject\""))]);
    server.evoke(app.path(), &["deploy"]).ok();
    for (id, subject) in [("a1", "a"), ("a2", "a"), ("b1", "b")] {
        send_of(&server, app.path(), id, subject);
    }
    let next = || requests.recv_timeout(PATIENCE).unwrap();
    let mut first = [next(), next()];
    first.sort_by_key(|got| got.field("webhook-id").to_owned());
    assert_eq!(
        first.each_ref().map(|got| got.field("webhook-id")),
        ["a1", "b1"],
        "a2 waits for a1, b1 does not"
    );
    first[0].answer("503 Service Unavailable");
    first[1].answer("204 No Content");
    let again = next();
    assert_eq!(again.field("webhook-id"), "a1");
    again.answer("204 No Content");
    let last = next();
    assert_eq!(last.field("webhook-id"), "a2");
    last.answer("204 No Content");
}

#[test]
fn a_batch_is_one_request_and_a_pause_holds_it_back() {
    let (url, requests) = endpoint();
    let data = tempfile::tempdir().unwrap();
    let server = server_with(&data.path().join("data"), &OPEN);
    let app = folder(&[("evoke.toml", &hook_on(&url, "batch = { size = 3, window = \"5s\" }"))]);
    server.evoke(app.path(), &["deploy"]).ok();
    server.evoke(app.path(), &["subscriptions", "pause", "partner/paid"]).ok();
    for n in 0..3 {
        send_of(&server, app.path(), &format!("e{n}"), "a");
    }
    let explained = server.evoke(app.path(), &["events", "explain", "e1", "--json"]).ok().json();
    let [ref partner] = explained["subscriptions"].as_array().unwrap()[..] else { panic!("{explained}") };
    assert_eq!(partner["deliveries"][0]["held"]["by"], "pause", "{partner}");
    assert!(partner["hook"].as_str().unwrap().ends_with("/hooks/shop"), "{partner}");
    assert!(requests.try_recv().is_err(), "nothing is sent meanwhile");
    server.evoke(app.path(), &["subscriptions", "resume", "partner/paid"]).ok();
    let batch = requests.recv_timeout(PATIENCE).unwrap();
    assert_eq!(batch.field("content-type"), "application/cloudevents-batch+json");
    let events: Value = serde_json::from_str(&batch.body).unwrap();
    let ids: Vec<&str> =
        events.as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["e0", "e1", "e2"]);
    batch.answer("204 No Content");
    eventually("their end", || {
        let runs = server.evoke(app.path(), &["runs", "ls", "--json"]).ok().json();
        let states: Vec<&Value> = runs["runs"].as_array().unwrap().iter().map(|run| &run["state"]).collect();
        (states == ["completed"; 3]).then_some(())
    });
}

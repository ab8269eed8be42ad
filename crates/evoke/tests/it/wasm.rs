//! Functions that are components, from their file to their effects.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::thread;

use serde_json::json;
use tempfile::TempDir;

use crate::evoke::{PATIENCE, Server, descendants, eventually, folder, http, run, write};
use crate::guests::guest;

const MANIFEST: &str = r#"
evoke = "1"
[app]
name = "components"
[functions.proxy]
source = "proxy.wasm"
timeout = "5s"
memory = "64MiB"
emits = ["seen"]
env = { COLOUR = "blue" }
on = [{ event = "begin" }, { event = "refused", retry = { attempts = 2, initial = "1ms" } }]
[functions.service]
source = "service.wasm"
timeout = "5s"
memory = "64MiB"
[functions.kept]
source = "service.wasm"
timeout = "5s"
memory = "64MiB"
reuse = true
[functions.seen]
source = "seen.py"
on = [{ event = "seen" }]
[[routes]]
path = "/proxy/{path}"
to = "proxy"
[[routes]]
path = "/{path}"
to = "proxy"
[[routes]]
path = "/service"
to = "service"
[[routes]]
path = "/service/{path}"
to = "service"
[[routes]]
path = "/kept/{path}"
to = "kept"
"#;

fn app() -> TempDir {
    let seen = "def handler(event, context): print('seen', event['id'], event['data'])\n";
    let app = folder(&[("evoke.toml", MANIFEST), ("seen.py", seen)]);
    for name in ["proxy", "service"] {
        let file = format!("{name}.wasm");
        std::fs::copy(guest(name), app.path().join(file)).unwrap();
    }
    app
}

fn deployed() -> (Server, TempDir) {
    let (server, app) = (Server::start(), app());
    server.evoke(app.path(), &["deploy"]).ok();
    (server, app)
}

/// Processes of this server that run components.
fn workers(server: &Server) -> Vec<u32> {
    let is_worker = |pid: &u32| {
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.contains("worker\0wasm")
    };
    descendants(server.running.pid()).into_iter().filter(is_worker).collect()
}

/// The same once there are both: the app's, and the spare that waits for the next one, which is started beside the first call.
fn app_and_spare(server: &Server) -> Vec<u32> {
    eventually("the app's process and the spare", || {
        let workers = workers(server);
        (workers.len() == 2).then_some(workers)
    })
}

#[test]
fn components_of_both_worlds_answer_each_in_a_fresh_instance() {
    let (server, _app) = deployed();
    for _ in 0..3 {
        let answer = http(&server.data_url, "GET", "/first", "");
        assert_eq!((answer.status, answer.body.as_str()), (200, "0"));
    }
    let answer = http(&server.data_url, "GET", "/service", "");
    assert_eq!((answer.status, answer.body.as_str()), (200, "hello"));
    let large = "0123456789abcdef".repeat(20_000);
    assert_eq!(http(&server.data_url, "POST", "/echo", &large).body, large);
    let told = http(&server.data_url, "GET", "/environment", "").body;
    assert!(told.contains("COLOUR=blue") && told.contains("EVOKE_FUNCTION=proxy"), "{told}");
    assert!(!told.contains("PATH="), "{told}");
}

#[test]
fn an_event_is_handled_and_what_the_component_answers_is_published() {
    let (server, app) = deployed();
    server.evoke(app.path(), &["send", "begin", "--id", "one", "--data", r#"{"of": 7}"#]).ok();
    let logs = || server.evoke(app.path(), &["logs", "seen"]).ok().stdout;
    eventually("the event of the component", || logs().contains("seen one-seen {'of': 7}").then_some(()));
    server.evoke(app.path(), &["send", "refused", "--data", "1"]).ok();
    eventually("the dead letter", || {
        let letters = server.evoke(app.path(), &["dlq", "ls", "--json"]).ok();
        letters.stdout.contains("\"proxy\"").then_some(())
    });
}

#[test]
fn state_is_kept_if_the_call_succeeds() {
    let (server, _app) = deployed();
    let value = json!({ "answer": 42 }).to_string();
    let put = http(&server.data_url, "PUT", "/platform?/v1/kv/default/key", &value);
    assert_eq!(put.status, 200, "{}", put.body);
    let got = http(&server.data_url, "GET", "/platform?/v1/kv/default/key", "");
    assert!(got.body.contains("42"), "{} {}", got.status, got.body);
}

/// How each ends that goes wrong, by the last part of its path: the code of the run, and a part of its message.
const ENDS: [(&str, &str, &str); 11] = [
    ("loop", "timed_out", "limit of"),
    ("sleep", "timed_out", "limit of"),
    ("unended", "timed_out", "limit of"),
    ("flood", "timed_out", "limit of"),
    ("grow", "out_of_memory", "asked for more memory than it may have"),
    ("overflow", "function_error", "call stack exhausted"),
    ("panic", "function_error", "unreachable"),
    ("trap-after-head", "function_error", "unreachable"),
    ("exit", "function_error", "exited with status 1"),
    ("handles", "function_error", "no free keys"),
    ("headers?101", "function_error", "101 header fields, above the limit of 100"),
];

#[test]
fn bad_ends_are_named_in_both_worlds_and_neighbours_in_the_same_app_go_on() {
    let (server, app) = deployed();
    let hello = || {
        for path in ["/hello", "/service", "/kept/hello"] {
            let answer = server.http("GET", path, "");
            assert_eq!((answer.status, answer.body.as_str()), (200, "hello"), "{path}");
        }
    };
    hello();
    let before = app_and_spare(&server);
    let told = thread::scope(|scope| {
        let kinds = ["", "/service", "/kept"].map(|kind| {
            let data = &server.data_url;
            scope.spawn(move || ENDS.map(|(end, ..)| get_raw(data, &format!("{kind}/{end}"))))
        });
        while kinds.iter().any(|one| !one.is_finished()) {
            hello();
        }
        kinds.map(|one| one.join().unwrap())
    });
    hello();
    assert_eq!(workers(&server), before, "neither the app's process nor the spare was started again");
    for (kind, told) in ["", "/service", "/kept"].into_iter().zip(told) {
        for (told, (end, code, message)) in told.iter().zip(ENDS) {
            let path = format!("{kind}/{end}");
            // A body that breaks off is no answer, or half of one.
            assert!(!told.starts_with("HTTP/1.1 200") || !told.ends_with("\r\n0\r\n\r\n"), "{path}: {told}");
            if told.starts_with("HTTP/1.1 5") {
                assert!(told.contains(&format!("evoke-problem: {code}")), "{path}: {told}");
            }
            let attempt = how_it_ended(&server, app.path(), path.split('?').next().unwrap());
            assert_eq!(attempt["code"], code, "{path}: {attempt}");
            assert!(attempt["message"].as_str().unwrap().contains(message), "{path}: {attempt}");
        }
    }
}

#[test]
fn calls_of_a_function_share_a_socket_and_end_one_by_one() {
    let (server, _app) = deployed();
    let hello = || {
        let answer = server.http("GET", "/service/hello", "");
        assert_eq!((answer.status, answer.body.as_str()), (200, "hello"));
    };
    hello();
    let sockets = || {
        let files = std::fs::read_dir(format!("/proc/{}/fd", server.running.pid())).unwrap();
        let leads_to = |file: std::io::Result<std::fs::DirEntry>| std::fs::read_link(file.ok()?.path()).ok();
        files.filter_map(leads_to).filter(|to| to.to_string_lossy().starts_with("socket:")).count()
    };
    let running = app_and_spare(&server);
    let before = sockets();
    let told = thread::scope(|scope| {
        let data = &server.data_url;
        let loops = [(); 6].map(|()| scope.spawn(move || get_raw(data, "/service/loop")));
        while loops.iter().any(|one| !one.is_finished()) {
            hello();
        }
        loops.map(|one| one.join().unwrap())
    });
    for told in told {
        assert!(told.starts_with("HTTP/1.1 504") && told.contains("evoke-problem: timed_out"), "{told}");
    }
    hello();
    assert_eq!(workers(&server), running, "nothing was ended for the sake of one call");
    // Those of the clients are closed in their time; instances that have nothing to do stay longer than anybody waits here.
    eventually("no more sockets than one call needs", || (sockets() <= before).then_some(()));
}

/// The failed attempt of the run that a request for `path` began.
fn how_it_ended(server: &Server, app: &Path, path: &str) -> serde_json::Value {
    eventually("the end of its run", || {
        let listed = ["runs", "ls", "--state", "failed", "--limit", "100", "--json"];
        let runs = server.evoke(app, &listed).ok().json();
        let run = runs["runs"].as_array().unwrap().iter().find(|run| run["trigger"]["path"] == path)?;
        Some(run["attempts"][0].clone())
    })
}

/// All that is answered, however it ends.
fn get_raw(url: &str, path: &str) -> String {
    let mut stream = std::net::TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: local\r\nconnection: close\r\n\r\n").unwrap();
    let mut all = Vec::new();
    // A reset is an end like others.
    let _ = stream.read_to_end(&mut all);
    String::from_utf8_lossy(&all).into_owned()
}

#[test]
fn the_process_that_runs_components_is_confined() {
    let (server, _app) = deployed();
    assert_eq!(server.http("GET", "/hello", "").body, "hello");
    let workers = workers(&server);
    assert!(!workers.is_empty());
    for pid in workers {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        // Layers that every machine has; what the others keep it from, the tests of the sandbox try.
        for line in ["NoNewPrivs:\t1", "Seccomp:\t2", "CapEff:\t0000000000000000"] {
            assert!(status.contains(line), "{line} is not in\n{status}");
        }
    }
}

#[test]
fn a_component_reaches_neither_files_nor_sockets() {
    let (server, _app) = deployed();
    let files = http(&server.data_url, "GET", "/files", "").body;
    assert!(files.starts_with("Err("), "{files}");
    let sockets = http(&server.data_url, "GET", "/sockets", "").body;
    assert!(sockets.starts_with("Err("), "{sockets}");
    let outside = http(&server.data_url, "GET", "/outside", "").body;
    assert!(outside.starts_with("Err("), "{outside}");
}

#[test]
fn a_crate_that_cannot_be_built_is_refused_with_what_helps() {
    let manifest = "evoke = \"1\"\n[app]\nname = \"crates\"\n[functions.hello]\nsource = \"hello\"\n";
    let cargo =
        "[package]\nname = \"hello\"\nedition = \"2024\"\n[workspace]\n[lib]\ncrate-type = [\"cdylib\"]\n";
    let app = folder(&[
        ("evoke.toml", manifest),
        ("hello/Cargo.toml", cargo),
        ("hello/src/lib.rs", "fn f() -> u8 { true }"),
    ]);
    let server = Server::start();
    let said = run(server.command(app.path(), &["deploy"]).env("PATH", "/nowhere"));
    assert_ne!(said.code, 0);
    assert!(said.stderr.contains("hello is a Rust crate, and there is no cargo here"), "{}", said.stderr);
    assert!(said.stderr.contains("rustup target add wasm32-wasip2"), "{}", said.stderr);
    let said = server.evoke(app.path(), &["deploy"]);
    assert_ne!(said.code, 0);
    assert!(said.stderr.contains("mismatched types"), "what the compiler says: {}", said.stderr);
    assert!(said.stderr.contains("hello: cargo did not build it"), "{}", said.stderr);
    write(app.path(), "hello/src/lib.rs", "");
    let said = server.evoke(app.path(), &["deploy"]);
    assert!(said.stderr.contains("exports neither wasi:http/incoming-handler@0.2"), "{}", said.stderr);
}

#[test]
fn keys_and_variables_are_there_by_the_names_of_the_standards() {
    let manifest = r#"
evoke = "1"
[app]
name = "standards"
[functions.state]
source = "state.wasm"
env = { COLOUR = "blue" }
[functions.reader]
source = "reader.py"
[[routes]]
path = "/reader"
to = "reader"
[[routes]]
path = "/{path}"
to = "state"
"#;
    let reader = "import evoke\n\ndef handler(event, context):\n    return str(evoke.kv.get('count'))\n";
    let app = folder(&[("evoke.toml", manifest), ("reader.py", reader)]);
    std::fs::copy(guest("state"), app.path().join("state.wasm")).unwrap();
    let server = Server::start();
    server.evoke(app.path(), &["deploy"]).ok();
    let get = |path: &str| http(&server.data_url, "GET", path, "").body;
    assert_eq!(get("/config"), "Ok(Some(\"blue\"))");
    assert_eq!(
        get("/all"),
        "None\nSome([1, 2, 3]) true\n[Some((\"x\", [49])), None]\n[\"a/b c\", \"x\", \"y\"] None\n[]"
    );
    assert_eq!((get("/count"), get("/count")), ("Ok(3)".to_owned(), "Ok(6)".to_owned()));
    assert_eq!(get("/reader").trim_matches('"'), "6", "other runtimes see the same state");
    assert_eq!(get("/open?..%2Fother"), "Err(Error::NoSuchStore)");
}

#[test]
fn a_component_reaches_what_its_list_names_and_its_requests_tell_whose_they_are() {
    let heard = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = heard.local_addr().unwrap().port();
    let requests = thread::spawn(move || {
        // Both requests come by one connection, which is kept between the calls.
        let (mut stream, _) = heard.accept().unwrap();
        [0, 1].map(|_| {
            let (mut head, mut byte) = (String::new(), [0]);
            while !head.ends_with("\r\n\r\n") {
                stream.read_exact(&mut byte).unwrap();
                head.push(char::from(byte[0]));
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nyo").unwrap();
            head.to_ascii_lowercase()
        })
    });
    let app = app();
    let manifest = MANIFEST.replace(
        "[functions.proxy]",
        &format!("[functions.proxy]\negress = [\"localhost:{port}\", \"10.0.0.1:80\"]"),
    );
    std::fs::write(app.path().join("evoke.toml"), manifest).unwrap();
    let data = tempfile::tempdir().unwrap();
    let server = Server::start_with(data.path(), &["--egress-allow", "127.0.0.1"]);
    server.evoke(app.path(), &["deploy"]).ok();
    let fetched = |to: &str| http(&server.data_url, "GET", &format!("/fetch?{to}"), "").body;
    for _ in 0..2 {
        assert_eq!(fetched(&format!("http://localhost:{port}/x?y=1")), "Ok((200, \"yo\"))");
    }
    for head in requests.join().unwrap() {
        assert!(head.starts_with("get /x?y=1 http/1.1"), "{head}");
        assert!(head.contains(&format!("host: localhost:{port}")), "{head}");
        assert!(head.contains("cdn-loop: evoke-") && !head.contains("nobody"), "{head}");
        assert!(head.contains("traceparent: 00-") && !head.contains("made-up"), "{head}");
    }
    assert_eq!(fetched("https://example.com/"), "Err(\"ErrorCode::HttpRequestDenied\")");
    assert_eq!(fetched("http://10.0.0.1/"), "Err(\"ErrorCode::DestinationIpProhibited\")");
    let logs = || server.evoke(app.path(), &["logs", "proxy"]).ok().stdout;
    eventually("what to add", || {
        let logs = logs();
        let all = logs.contains("add \"example.com:443\" to egress in [functions.proxy]")
            && logs.contains("the server must be started with --egress-allow 10.0.0.1");
        all.then_some(())
    });
}

#[test]
fn when_the_process_is_killed_its_calls_fail_and_the_next_is_answered() {
    let (server, app) = deployed();
    assert_eq!(http(&server.data_url, "GET", "/hello", "").body, "hello");
    let mut body = std::net::TcpStream::connect(server.data_url.strip_prefix("http://").unwrap()).unwrap();
    body.write_all(b"GET /endless HTTP/1.1\r\nhost: local\r\n\r\n").unwrap();
    let mut some = [0; 4096];
    assert!(body.read(&mut some).unwrap() > 0 && some.starts_with(b"HTTP/1.1 200"));
    let before = app_and_spare(&server);
    for pid in &before {
        assert!(Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
    }
    let mut rest = Vec::new();
    let _ = body.read_to_end(&mut rest);
    assert!(!rest.ends_with(b"0\r\n\r\n"), "a body that was cut is not to look whole");
    eventually("the run's end", || {
        let runs = server.evoke(app.path(), &["runs", "ls", "--state", "failed", "--json"]).ok();
        runs.stdout.contains("crashed").then_some(())
    });
    eventually("an answer of the next process", || {
        (http(&server.data_url, "GET", "/hello", "").body == "hello").then_some(())
    });
    assert!(workers(&server).iter().all(|pid| !before.contains(pid)));
}

#[test]
fn what_is_no_component_is_refused_by_deploy() {
    let app = app();
    std::fs::write(app.path().join("proxy.wasm"), b"\0asm\x01\0\0\0").unwrap();
    let server = Server::start();
    let said = server.evoke(app.path(), &["deploy"]);
    assert_ne!(said.code, 0);
    assert!(said.stderr.contains("proxy.wasm"), "{}", said.stderr);
}

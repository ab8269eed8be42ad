//! Each command against a real server with real functions.

use serde_json::{Value, json};

use crate::app::{plain, served};
use crate::evoke::{Running, Server, eventually, redact, run, write};

#[test]
fn deploy_prints_what_changed_and_where_it_is() {
    let (server, app) = (Server::start(), plain());
    let first = server.evoke(app.path(), &["deploy"]).ok();
    insta::assert_snapshot!("deploy_first", revisions_out(&first.stdout));
    assert_eq!(first.stderr, "deployed plain version 1\n");

    write(app.path(), "note.py", "def handler(event, context):\n    print('noted anew')\n");
    let manifest = std::fs::read_to_string(app.path().join("evoke.toml")).unwrap();
    write(app.path(), "evoke.toml", &manifest.replace("[[routes]]\npath = \"/slow\"\nto = \"slow\"\n", ""));
    let second = server.evoke(app.path(), &["deploy", "--json"]).ok().json();
    assert_eq!((&second["version"], &second["removed"]), (&json!(2), &json!([])));
    assert_eq!(second["routes"][0]["path"], "/orders/{id}");
    assert!(second["changed"].as_array().unwrap().contains(&json!("note")), "{second}");
}

#[test]
fn deploy_knows_the_urls_of_a_local_server() {
    let (server, app) = (Server::start(), plain());
    let data = server.data.to_str().unwrap().to_owned();
    let said = crate::evoke::evoke(app.path(), &["deploy", "--data-dir", &data, "--json"]).ok().json();
    assert_eq!(said["routes"][0]["url"], format!("{}/orders/{{id}}", server.data_url));
}

#[test]
fn deploy_finds_the_server_of_the_folder_one_stands_in_for_an_app_that_lies_elsewhere() {
    let (here, app) = (tempfile::tempdir().unwrap(), plain());
    let _server = Server::start_on(&here.path().join(".evoke"));
    let said = crate::evoke::evoke(here.path(), &["deploy", app.path().to_str().unwrap()]).ok();
    assert_eq!(said.stderr, "deployed plain version 1\n");
}

#[test]
fn invoke_passes_everything_on_and_prints_the_body_as_it_is() {
    let (server, app) = served();
    let invoke = |args: &[&str]| server.evoke(app.path(), &[&["invoke", "echo"], args].concat());
    let plain = invoke(&[]).ok();
    assert_eq!(plain.stdout, r#"{"method":"GET","path":"/","type":null,"extra":null,"body":""}"#);

    write(app.path(), "data.txt", "from a file");
    let file =
        invoke(&["--data", "@data.txt", "--path", "/a%20b?x=1", "-X", "put", "-H", "X-Extra: yes"]).ok();
    let answer: Value = file.json();
    assert_eq!(answer["method"], "PUT");
    assert_eq!(answer["path"], "/a%20b?x=1");
    assert_eq!((&answer["extra"], &answer["body"]), (&json!("yes"), &json!("from a file")));
    assert_eq!(answer["type"], "text/plain; charset=utf-8");

    let wrapped = invoke(&["--data", "{}", "--json"]).ok().json();
    assert_eq!((&wrapped["status"], &wrapped["body"]["method"]), (&json!(200), &json!("POST")));
    assert_eq!(wrapped["body"]["type"], "application/json");
    assert_eq!(wrapped["headers"]["content-type"], "application/json");
    let run =
        server.evoke(app.path(), &["runs", "get", wrapped["run"].as_str().unwrap(), "--json"]).ok().json();
    assert_eq!(run["run"]["function"], "echo");
}

#[test]
fn invoke_reads_stdin() {
    let (server, app) = served();
    std::fs::write(app.path().join("in.txt"), "from stdin").unwrap();
    let mut command = server.command(app.path(), &["invoke", "echo", "--data", "-"]);
    command.stdin(std::fs::File::open(app.path().join("in.txt")).unwrap());
    assert_eq!(run(&mut command).ok().json()["body"], "from stdin");
}

#[test]
fn invoke_fails_when_the_function_does() {
    let (server, app) = served();
    let refused = server.evoke(app.path(), &["invoke", "echo", "--path", "/?status=404"]);
    assert_eq!(refused.code, 1);
    assert!(
        refused.stdout.contains(r#""path":"/?status=404""#) && refused.stderr.contains("answered 404"),
        "{refused:?}"
    );

    let thrown = server.evoke(app.path(), &["invoke", "echo", "--path", "/?throw"]);
    assert_eq!((thrown.code, thrown.stdout.as_str()), (1, ""));
    assert!(thrown.stderr.contains("thrown as asked"), "{thrown:?}");
    let json = server.evoke(app.path(), &["invoke", "echo", "--path", "/?throw", "--json"]);
    let error: Value = serde_json::from_str(&json.stderr).unwrap();
    assert_eq!((json.code, &error["error"]["exit"]), (1, &json!(1)), "{json:?}");
}

#[test]
fn an_async_invoke_prints_the_run_that_will_do_it() {
    let (server, app) = served();
    let said = server
        .evoke(app.path(), &["invoke", "order", "--path", "/orders/9", "--async", "--json"])
        .ok()
        .json();
    let run = said["run"].as_str().unwrap();
    let done = eventually("the run", || {
        let run = server.evoke(app.path(), &["runs", "get", run, "--json"]).ok().json();
        (run["run"]["state"] == "completed").then_some(run)
    });
    assert_eq!(done["run"]["attempts"][0]["status"], 201);
}

#[test]
fn send_prints_the_event_and_the_runs_it_caused() {
    let (server, app) = served();
    let send = |args: &[&str]| {
        server.evoke(app.path(), &[&["send", "ordered", "--subject", "order-7"], args].concat())
    };
    let said = send(&[]).ok();
    assert_eq!(redact(&said.stdout, &[]), "[event]\n[run]\n");
    assert_eq!(
        redact(&said.stderr, &[]),
        "accepted, 1 run caused; see what becomes of it with `evoke runs get [run]`\n"
    );

    let first = send(&["--id", "7", "--source", "/tests", "--data", r#"{"n":7}"#, "--json"]).ok().json();
    let again = send(&["--id", "7", "--source", "/tests", "--data", r#"{"n":7}"#, "--json"]).ok().json();
    assert_eq!((&first["duplicate"], &again["duplicate"]), (&json!(false), &json!(true)));
    assert_eq!(first["runs"], again["runs"]);

    let event = server.evoke(app.path(), &["events", "get", "7", "--json"]).ok().json();
    assert_eq!(
        (&event["event"]["subject"], &event["event"]["data"]),
        (&json!("order-7"), &json!({ "n": 7 }))
    );
    let other = send(&["--id", "7", "--source", "/others", "--json"]).ok().json();
    assert_eq!(other["duplicate"], false);
    let event = server.evoke(app.path(), &["events", "get", "7", "--source", "/tests", "--json"]).ok().json();
    assert_eq!(event["event"]["source"], "/tests");
    let shown = server.evoke(app.path(), &["events", "get", "7", "--source", "/tests"]).ok();
    assert!(shown.stdout.contains("ordered") && shown.stdout.contains("\"n\": 7"), "{shown:?}");

    let nobody =
        server.evoke(app.path(), &["send", "unheard", "--data", "hi", "--content-type", "text/plain"]).ok();
    assert!(nobody.stderr.contains("no function is subscribed"), "{nobody:?}");
    let list = server.evoke(app.path(), &["events", "ls", "--json"]).ok().json();
    assert_eq!(list["events"].as_array().unwrap().len(), 4);
    let page = server.evoke(app.path(), &["events", "ls", "-n", "1", "--type", "ordered"]).ok();
    assert_eq!(page.stdout.lines().count(), 2, "{page:?}");
    assert!(page.stderr.contains("--before"), "{page:?}");
}

#[test]
fn runs_get_prints_the_tree_of_everything_a_run_caused() {
    let (server, app) = served();
    let answer = server.http("POST", "/orders/7", "");
    assert_eq!((answer.status, answer.body.as_str()), (201, r#"{"ordered":"7"}"#));
    let list = eventually("both runs", || {
        let list = server.evoke(app.path(), &["runs", "ls", "--state", "completed", "--json"]).ok().json();
        (list["runs"].as_array()?.len() == 2).then_some(list)
    });
    let order = list["runs"][1]["id"].as_str().unwrap();
    let shown = server.evoke(app.path(), &["runs", "get", order]).ok();
    insta::assert_snapshot!("runs_get", times_out(&redact(&shown.stdout, &[])));
    let json = server.evoke(app.path(), &["runs", "get", order, "--json"]).ok().json();
    let event = &json["tree"]["nodes"][0]["children"][0];
    assert_eq!((&event["kind"], &event["type"]), (&json!("event"), &json!("ordered")));
    assert_eq!(event["children"][0]["run"]["function"], "note");

    let table = server.evoke(app.path(), &["runs", "ls"]).ok();
    insta::assert_snapshot!("runs_ls", times_out(&redact(&table.stdout, &[])));
    let notes = server.evoke(app.path(), &["runs", "ls", "--function", "note", "--json"]).ok().json();
    assert_eq!(notes["runs"].as_array().unwrap().len(), 1);
}

#[test]
fn dead_letters_are_listed_with_their_reason_and_redriven() {
    let (server, app) = served();
    let sent = server.evoke(app.path(), &["send", "doom", "--data", "{}", "--json"]).ok().json();
    let run = sent["runs"][0].as_str().unwrap().to_owned();
    let letters = |server: &Server| {
        let list = server.evoke(app.path(), &["dlq", "ls", "--json"]).ok().json();
        list["dead_letters"].as_array().unwrap().clone()
    };
    eventually("a dead letter", || (letters(&server).len() == 1).then_some(()));
    let table = server.evoke(app.path(), &["dlq", "ls"]).ok();
    assert!(table.stdout.contains("there is no hope") && table.stdout.contains("event doom"), "{table:?}");
    let shown = server.evoke(app.path(), &["runs", "get", &run]).ok();
    insta::assert_snapshot!("runs_get_failed", times_out(&redact(&shown.stdout, &[])));

    write(app.path(), "doomed.py", "def handler(event, context):\n    pass\n");
    server.evoke(app.path(), &["deploy"]).ok();
    let redriven = server.evoke(app.path(), &["dlq", "redrive"]).ok();
    assert_eq!((redriven.stdout.trim(), redriven.stderr.as_str()), (run.as_str(), "redrove 1 dead letter\n"));
    eventually("the end of the redriven run", || {
        let json = server.evoke(app.path(), &["runs", "get", &run, "--json"]).ok().json();
        (json["run"]["state"] == "completed").then_some(())
    });
    assert_eq!(letters(&server).len(), 0);
    let gone = server.evoke(app.path(), &["dlq", "redrive", &run]);
    assert_eq!(gone.code, 4, "{gone:?}");
}

#[test]
fn logs_are_printed_and_followed_across_a_restart() {
    let (mut server, app) = served();
    assert_eq!(server.http("POST", "/orders/1", "").status, 201);
    eventually("the line", || {
        let said = server.evoke(app.path(), &["logs", "order"]).ok();
        said.stdout.contains("order 1").then_some(())
    });
    let json = server.evoke(app.path(), &["logs", "order", "--json"]).ok();
    let line: Value = serde_json::from_str(json.stdout.lines().next().unwrap()).unwrap();
    assert_eq!((&line["line"], &line["stream"]), (&json!("order 1"), &json!("stdout")));

    let data = server.data.to_str().unwrap().to_owned();
    let mut command = crate::evoke::command(app.path());
    let mut following = Running::start(command.args(["logs", "order", "-f", "--json", "--data-dir", &data]));
    following.wait_for("the old line", |it| it.stdout.contains("order 1").then_some(()));
    assert_eq!(server.http("POST", "/orders/2", "").status, 201);
    following.wait_for("the new line", |it| it.stdout.contains("order 2").then_some(()));

    server.running.signal("KILL");
    server.running.wait();
    let port = server.data_url.clone();
    let (listen, admin) =
        (port.strip_prefix("http://").unwrap(), server.admin_url.strip_prefix("http://").unwrap());
    let mut command = crate::evoke::command(app.path());
    let mut again =
        Running::start(command.args(["serve", "--data", &data, "--listen", listen, "--admin", admin]));
    again.wait_for("both listeners", crate::evoke::ready);
    assert_eq!(server.http("POST", "/orders/3", "").status, 201);
    following.wait_for("the line after the restart", |it| it.stdout.contains("order 3").then_some(()));
    assert_eq!(following.stdout.matches("order 1").count(), 1, "a line was repeated");
    again.signal("TERM");
    assert!(again.wait().success());
}

#[test]
fn functions_ls_says_what_starts_them() {
    let (server, app) = served();
    let said = server.evoke(app.path(), &["functions", "ls"]).ok();
    insta::assert_snapshot!("functions_ls", revisions_out(&said.stdout));
    let json = server.evoke(app.path(), &["functions", "ls", "--json"]).ok().json();
    assert_eq!(json["functions"][0]["name"], "doomed");
}

#[test]
fn the_app_is_found_from_folders_below_and_can_be_named_from_anywhere() {
    let (server, app) = served();
    std::fs::create_dir_all(app.path().join("a/b")).unwrap();
    server.evoke(&app.path().join("a/b"), &["runs", "ls"]).ok();
    server.evoke(&std::env::temp_dir(), &["runs", "ls", "--app", "plain"]).ok();
}

/// Revisions are digests; eight digits of them are shown.
fn revisions_out(text: &str) -> String {
    let is_revision = |word: &str| word.len() == 8 && word.bytes().all(|b| b.is_ascii_hexdigit());
    let line = |line: &str| {
        line.split(' ')
            .map(|word| if is_revision(word) { "[digest]" } else { word })
            .collect::<Vec<_>>()
            .join(" ")
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Times, spans, ages and traces are different every time; the padding after them too.
fn times_out(text: &str) -> String {
    let is_time = |word: &str| word.starts_with("20") && word.ends_with('Z');
    let is_trace = |word: &str| word.len() == 32 && word.bytes().all(|b| b.is_ascii_hexdigit());
    let is_age =
        |word: &str| word == "now" || word.strip_suffix('s').is_some_and(|s| s.parse::<u32>().is_ok());
    let mut out = String::new();
    for line in text.lines() {
        let mut words = line.split_whitespace().peekable();
        out.extend(line.chars().take_while(|c| c.is_whitespace()));
        while let Some(word) = words.next() {
            let unit = words
                .next_if(|next| ["µs", "ms", "s", "KiB", "MiB"].contains(&next.trim_end_matches([',', ':'])));
            let shown = match unit {
                Some(unit) if unit.contains("iB") => {
                    format!("[size]{}", unit.trim_start_matches(char::is_alphabetic))
                }
                Some(unit) => format!("[span]{}", unit.trim_start_matches(char::is_alphabetic)),
                None if is_age(word) => "[age]".to_owned(),
                None if is_time(word) => "[time]".to_owned(),
                None if is_trace(word) => "[trace]".to_owned(),
                None => word.to_owned(),
            };
            out.push_str(&shown);
            out.push_str(if words.peek().is_some() { " " } else { "" });
        }
        out.push('\n');
    }
    out
}

#[test]
fn schedules_start_functions_and_are_listed_with_their_next_times() {
    let (server, app) = (Server::start(), plain());
    let manifest = std::fs::read_to_string(app.path().join("evoke.toml")).unwrap();
    let scheduled = "\n[[functions.note.on]]\nevent = \"schedule.tick\"\n[schedules.tick]\nevery = \"1s\"\n";
    write(app.path(), "evoke.toml", &(manifest + scheduled));
    server.evoke(app.path(), &["deploy"]).ok();
    let run = eventually("a run that the schedule started", || {
        let runs = server.evoke(app.path(), &["runs", "ls", "--function", "note", "--json"]).ok().json();
        runs["runs"].as_array()?.iter().find(|run| run["state"] == "completed").cloned()
    });
    assert_eq!(run["trigger"]["source"], "/plain/schedules/tick", "{run}");
    let list = server.evoke(app.path(), &["schedules", "--json"]).ok().json();
    let tick = &list["schedules"][0];
    assert_eq!(
        (&tick["name"], &tick["timer"], &tick["event"]),
        (&json!("tick"), &json!("every 1s"), &json!("schedule.tick"))
    );
    assert_eq!(tick["next"].as_array().unwrap().len(), 3);
    let text = server.evoke(app.path(), &["schedules"]).ok().stdout;
    assert!(text.starts_with("SCHEDULE  FIRES     EVENT          LAST"), "{text}");
}

#[test]
fn an_event_is_delivered_later_or_taken_back() {
    let (server, app) = served();
    let send = |id: &str, when: &[&str]| {
        let args = [&["send", "ordered", "--subject", id, "--id", id][..], when].concat();
        server.evoke(app.path(), &args).ok()
    };
    let said = send("soon", &["--in", "300ms"]);
    assert_eq!(said.stdout, "soon\n");
    assert!(
        said.stderr.contains("take it back with `evoke events cancel soon --source /cli`"),
        "{}",
        said.stderr
    );
    eventually("the event is delivered", || {
        let runs = server.evoke(app.path(), &["runs", "ls", "--function", "note", "--json"]).ok().json();
        (runs["runs"].as_array()?.iter().filter(|run| run["state"] == "completed").count() == 1).then_some(())
    });
    // The server's clock says what is a time to come.
    let day = send("day", &["--in", "1d", "--json"]).json()["deliver_at"].clone();
    let at = send("xmas", &["--at", day.as_str().unwrap(), "--json"]).json();
    let expected =
        json!({ "source": "/cli", "id": "xmas", "deliver_at": day, "duplicate": false, "runs": [] });
    assert_eq!(at, expected);
    let list = server.evoke(app.path(), &["events", "delayed", "--json"]).ok().json();
    assert_eq!(list["events"].as_array().unwrap().len(), 2);
    let table = server.evoke(app.path(), &["events", "delayed"]).ok().stdout;
    assert!(table.contains("xmas") && table.contains(day.as_str().unwrap()), "{table}");
    server.evoke(app.path(), &["events", "cancel", "xmas"]).ok();
    assert_eq!(server.evoke(app.path(), &["events", "cancel", "xmas"]).code, 4);
    assert_eq!(server.evoke(app.path(), &["send", "x", "--at", "tomorrow"]).code, 2);
    assert_eq!(server.evoke(app.path(), &["send", "x", "--in", "400d"]).code, 2);
}

#[test]
fn a_function_waits_for_a_particular_event_and_its_wait_is_shown_and_taken_back() {
    let (server, app) = served();
    let waiter = r#"
export default { async event({ id }, env) {
  await env.EVENTS.waitFor({ event: "ticket.closed", pattern: { data: { ticket: [id] } }, timeout: "7d", then: "closed", data: { kept: id } });
} };"#;
    let closed = "export default { event(event) { console.log(JSON.stringify(event.data)); } };";
    std::fs::write(app.path().join("waiter.mjs"), waiter).unwrap();
    std::fs::write(app.path().join("closed.mjs"), closed).unwrap();
    let manifest = app.path().join("evoke.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let more = "\n[functions.waiter]\nsource = \"waiter.mjs\"\n[[functions.waiter.on]]\nevent = \"asked\"\n[functions.closed]\nsource = \"closed.mjs\"\n";
    std::fs::write(&manifest, text + more).unwrap();
    server.evoke(app.path(), &["deploy"]).ok();
    assert_eq!(server.evoke(app.path(), &["waits", "ls"]).ok().stdout, "");
    for id in ["T-1", "T-2"] {
        server.evoke(app.path(), &["send", "asked", "--id", id]).ok();
    }
    let waits = || server.evoke(app.path(), &["waits", "ls", "--json"]).ok().json()["waits"].clone();
    let open = eventually("both wait", || Some(waits()).filter(|waits| waits.as_array().unwrap().len() == 2));
    let table = server.evoke(app.path(), &["waits", "ls"]).ok().stdout;
    assert!(table.contains(r#"ticket.closed {"data":{"ticket":["T-1"]}}"#), "{table}");
    let first = open.as_array().unwrap().iter().find(|wait| wait["data"]["kept"] == "T-1").unwrap();
    let run = first["run"].as_str().unwrap();
    let shown = server.evoke(app.path(), &["runs", "get", run]).ok().stdout;
    assert!(shown.contains("waits for   ticket.closed"), "{shown}");

    server.evoke(app.path(), &["send", "ticket.closed", "--data", r#"{"ticket":"T-1"}"#]).ok();
    let ended = eventually("the function of the wait has run", || {
        let runs = server.evoke(app.path(), &["runs", "ls", "--function", "closed", "--json"]).ok().json();
        let run = runs["runs"].get(0)?.clone();
        (run["state"] == "completed").then_some(run)
    });
    assert_eq!(ended["trigger"]["kind"], "wait");
    assert_eq!((&ended["parent"], &ended["trigger"]["by"]), (&first["run"], &json!("waiter")));
    let shown = server.evoke(app.path(), &["runs", "get", ended["id"].as_str().unwrap()]).ok().stdout;
    assert!(shown.contains("that waiter waited for"), "{shown}");
    assert!(shown.contains("event evoke.wait.matched"), "{shown}");

    let second = waits()[0]["id"].as_str().unwrap().to_owned();
    server.evoke(app.path(), &["waits", "cancel", &second]).ok();
    assert_eq!(server.evoke(app.path(), &["waits", "cancel", &second]).code, 4);
    assert_eq!(waits(), json!([]));
}

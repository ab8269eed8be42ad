//! What is wrong is said with its cause and what helps, and what runs goes on running.

use std::path::Path;

use crate::app::{plain, served};
use crate::evoke::{Said, Server, command, evoke, folder, http, redact, run, write};

/// `whole`, without what is different every time.
fn shown(said: &Said, folders: &[&Path]) -> String {
    redact(&said.whole(), folders)
}

#[test]
fn a_broken_manifest_is_shown_with_its_lines() {
    let (server, app) = served();
    let manifest = std::fs::read_to_string(app.path().join("evoke.toml")).unwrap();
    let broken =
        manifest.replace("source = \"note.py\"", "sauce = \"note.py\"").replace("\"10ms\"", "\"10 minutes\"");
    write(app.path(), "evoke.toml", &broken);
    let said = server.evoke(app.path(), &["deploy"]);
    insta::assert_snapshot!("manifest", shown(&said, &[app.path()]));
    let json = server.evoke(app.path(), &["deploy", "--json"]);
    insta::assert_snapshot!("manifest_json", shown(&json, &[app.path()]));
    assert_eq!(server.http("POST", "/orders/1", "").status, 201);
}

#[test]
fn a_manifest_that_is_not_toml_or_not_there_is_named() {
    let dir = folder(&[("broken/evoke.toml", "[app\nname = 1"), ("empty/x", "")]);
    let said = evoke(dir.path(), &["deploy", "broken"]);
    insta::assert_snapshot!("manifest_syntax", shown(&said, &[dir.path()]));
    insta::assert_snapshot!(
        "manifest_absent",
        shown(&evoke(dir.path(), &["deploy", "empty"]), &[dir.path()])
    );
    insta::assert_snapshot!(
        "folder_absent",
        shown(&evoke(dir.path(), &["deploy", "nowhere"]), &[dir.path()])
    );
}

#[test]
fn a_source_that_is_not_there_is_named() {
    let (server, app) = served();
    std::fs::remove_file(app.path().join("note.py")).unwrap();
    let said = server.evoke(app.path(), &["deploy"]);
    insta::assert_snapshot!("source_absent", shown(&said, &[app.path()]));
    assert_eq!(server.http("POST", "/orders/1", "").status, 201);
}

#[test]
fn functions_that_do_not_load_are_named_with_their_place() {
    let (server, app) = served();
    write(
        app.path(),
        "order.ts",
        "export default {\n  fetch(request: Request) {\n    return new Response(;\n  },\n};\n",
    );
    insta::assert_snapshot!(
        "typescript_syntax",
        shown(&server.evoke(app.path(), &["deploy"]), &[app.path()])
    );

    let app = plain();
    write(app.path(), "note.py", "def handler(event, context):\n    return (\n");
    write(app.path(), "echo.mjs", "export default { fetch: 'no function' };\n");
    insta::assert_snapshot!("functions", shown(&server.evoke(app.path(), &["deploy"]), &[app.path()]));
    assert_eq!(server.http("POST", "/orders/1", "").status, 201);
}

#[test]
fn a_link_out_of_the_app_is_refused() {
    let (server, app) = served();
    std::os::unix::fs::symlink("/etc/hostname", app.path().join("host")).unwrap();
    insta::assert_snapshot!("link_outside", shown(&server.evoke(app.path(), &["deploy"]), &[app.path()]));
}

#[test]
fn data_that_is_no_json_and_attributes_that_are_none_are_refused() {
    let (server, app) = served();
    let send = |args: &[&str]| shown(&server.evoke(app.path(), &[&["send"], args].concat()), &[]);
    insta::assert_snapshot!("json", send(&["ordered", "--data", "{id: 7}"]));
    insta::assert_snapshot!("event_type", send(&[""]));
    insta::assert_snapshot!("event_source", send(&["ordered", "--source", "no uri"]));
    insta::assert_snapshot!("data_file", send(&["ordered", "--data", "@nowhere.json"]));
    let headers = server.evoke(app.path(), &["invoke", "echo", "-H", "nonsense"]);
    insta::assert_snapshot!("header", shown(&headers, &[]));
    for args in [["--path", "/../../order/invoke"], ["--path", "x"], ["-H", "Authorization: Basic eDp4"]] {
        let said = server.evoke(app.path(), &[&["invoke", "echo"][..], &args].concat());
        assert_eq!((said.code, said.stdout.as_str()), (2, ""), "{said:?}");
    }
}

#[test]
fn what_is_not_there_is_exit_4() {
    let (server, app) = served();
    for (name, args) in [
        ("unknown_app", &["runs", "ls", "--app", "plane"][..]),
        ("unknown_function", &["invoke", "ordr"]),
        ("unknown_run", &["runs", "get", "run_0"]),
        ("unknown_event", &["events", "get", "evt_0"]),
    ] {
        let said = server.evoke(app.path(), args);
        assert_eq!(said.code, 4, "{said:?}");
        insta::assert_snapshot!(name, shown(&said, &[]));
    }
    let route = http(&server.data_url, "GET", "/nowhere", "");
    assert_eq!(route.status, 404);
    insta::assert_snapshot!("unknown_route", redact(&route.body, &[]));
    let method = http(&server.data_url, "DELETE", "/orders/7", "");
    assert_eq!(method.status, 405);
}

#[test]
fn without_an_app_it_is_usage() {
    let (server, _app) = served();
    let nowhere = folder(&[]);
    insta::assert_snapshot!(
        "no_app",
        shown(&server.evoke(nowhere.path(), &["runs", "ls"]), &[nowhere.path()])
    );
}

#[test]
fn a_wrong_token_is_exit_5() {
    let (server, app) = served();
    let mut with = server.command(app.path(), &["runs", "ls"]);
    insta::assert_snapshot!("token_wrong", shown(&run(with.env("EVOKE_TOKEN", "evoke_wrong")), &[]));
    let mut without = server.command(app.path(), &["runs", "ls"]);
    insta::assert_snapshot!("token_absent", shown(&run(without.env_remove("EVOKE_TOKEN")), &[]));
}

#[test]
fn a_body_that_is_too_large_is_exit_5() {
    let (server, app) = served();
    std::fs::write(app.path().join("large"), vec![b'x'; (6 << 20) + 1]).unwrap();
    let said = server.evoke(app.path(), &["invoke", "echo", "--data", "@large"]);
    insta::assert_snapshot!("body_too_large", shown(&said, &[]));
}

#[test]
fn a_server_that_is_not_there_is_exit_3() {
    let said = evoke(&std::env::temp_dir(), &["runs", "ls", "--app", "plain", "--admin", "127.0.0.1:1"]);
    assert_eq!(said.code, 3);
    // Not redacted by the usual way: this port is always the same.
    insta::assert_snapshot!("unreachable", said.whole());
    let tls =
        evoke(&std::env::temp_dir(), &["runs", "ls", "--app", "plain", "--admin", "https://evoke.example"]);
    insta::assert_snapshot!("tls", tls.whole());
}

#[test]
fn something_else_that_answers_is_no_evoke() {
    let (server, app) = served();
    let said = run(server.command(app.path(), &["runs", "ls"]).env("EVOKE_ADMIN", &server.data_url));
    assert_eq!(said.code, 4, "the data listener knows no such route: {said:?}");
}

#[test]
fn a_port_in_use_is_named_with_the_option() {
    let server = Server::start();
    let dir = folder(&[]);
    let taken = server.data_url.strip_prefix("http://").unwrap();
    let serve =
        |args: &[&str]| shown(&run(command(dir.path()).args(["serve", "--data", "data"]).args(args)), &[]);
    insta::assert_snapshot!("port_listen", serve(&["--listen", taken, "--admin", "127.0.0.1:0"]));
    insta::assert_snapshot!("port_admin", serve(&["--listen", "127.0.0.1:0", "--admin", taken]));
}

#[test]
fn a_data_folder_in_use_names_who_uses_it() {
    let server = Server::start();
    let mut again = command(&server.data);
    again.arg("serve").arg("--data").arg(&server.data).args([
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
    ]);
    insta::assert_snapshot!("data_locked", shown(&run(&mut again), &[&server.data]));
}

#[test]
fn a_data_folder_that_cannot_be_written_is_named() {
    let dir = folder(&[("file", "")]);
    let said = evoke(
        dir.path(),
        &["serve", "--data", "file/data", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"],
    );
    insta::assert_snapshot!("data_unwritable", shown(&said, &[dir.path()]));
    // Nobody can make a folder there, root neither.
    let said = evoke(
        dir.path(),
        &["serve", "--data", "/sys/evoke", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"],
    );
    assert_eq!(said.code, 1);
    assert!(said.stderr.starts_with("error: data directory /sys/evoke is not writable"), "{said:?}");
    assert!(said.stderr.contains("or use another directory"), "{said:?}");
}

#[test]
fn a_data_folder_of_a_newer_version_is_refused() {
    let dir = folder(&[]);
    let data = dir.path().join("data");
    assert_eq!(Server::start_on(&data).stop().code, 0);
    // The format's version is SQLite's `user_version`: four bytes, big end first, at offset 60 of the file.
    let file = data.join("evoke.db");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[60..64].copy_from_slice(&7_000_u32.to_be_bytes());
    std::fs::write(&file, bytes).unwrap();
    let said =
        evoke(dir.path(), &["serve", "--data", "data", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    insta::assert_snapshot!("data_newer", shown(&said, &[]));
}

#[test]
fn a_log_filter_that_is_none_is_usage() {
    let dir = folder(&[]);
    let said = run(command(dir.path()).args(["serve"]).env("EVOKE_LOG", "evoke=loud"));
    insta::assert_snapshot!("log_filter", said.whole());
}

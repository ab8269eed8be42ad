//! `evoke dev`: deploys what is saved, and serves on whatever is wrong with it.

use std::io::Write as _;
use std::process::Stdio;

use crate::app::plain;
use crate::evoke::{Running, command, eventually, folder, http, ready, write};

fn dev(dir: &std::path::Path) -> Running {
    Running::start(command(dir).args(["dev", ".", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]))
}

fn stop(mut dev: Running) {
    dev.signal("INT");
    assert_eq!(dev.wait().code(), Some(0), "{}", dev.stderr);
}

#[test]
fn a_saved_file_is_deployed_and_a_broken_one_leaves_what_runs() {
    let app = plain();
    let mut dev = dev(app.path());
    let [data, _] = dev.wait_for("both listeners", ready);
    dev.wait_for_talk("deployed plain version 1");
    dev.wait_for("the routes", |it| it.stdout.contains(&format!("{data}/orders/{{id}}")).then_some(()));
    assert_eq!(http(&data, "POST", "/orders/1", "").status, 201);
    dev.wait_for("the log", |it| it.stdout.contains("order 1").then_some(()));

    let good = std::fs::read_to_string(app.path().join("order.ts")).unwrap();
    write(app.path(), "order.ts", &good.replace("Response.json(", "Response.json(;"));
    dev.wait_for_talk("order.ts:");
    dev.wait_for_talk("version 1 keeps running");
    assert_eq!(http(&data, "POST", "/orders/2", "").status, 201);

    let manifest = std::fs::read_to_string(app.path().join("evoke.toml")).unwrap();
    write(app.path(), "evoke.toml", &manifest.replace("to = \"order\"", "to = \"ordr\""));
    write(app.path(), "order.ts", &good.replace("201", "202"));
    dev.wait_for_talk("evoke.toml");
    assert_eq!(http(&data, "POST", "/orders/3", "").status, 201);

    write(app.path(), "evoke.toml", &manifest);
    dev.wait_for_talk("deployed plain version 2");
    assert_eq!(http(&data, "POST", "/orders/4", "").status, 202);
    stop(dev);
}

#[test]
fn an_app_that_lacks_a_secret_is_deployed_when_it_is_set() {
    let manifest =
        "evoke = \"1\"\n[app]\nname = \"sealed\"\n[functions.f]\nsource = \"f.mjs\"\nsecrets = [\"KEY\"]\n";
    let app =
        folder(&[("evoke.toml", manifest), ("f.mjs", "export default { fetch: () => new Response('') };")]);
    let mut dev = dev(app.path());
    dev.wait_for("both listeners", ready);
    dev.wait_for_talk("nothing of it runs yet");
    let mut set = command(app.path());
    let mut set = set.args(["secrets", "set", "KEY"]).stdin(Stdio::piped()).spawn().unwrap();
    set.stdin.take().unwrap().write_all(b"value").unwrap();
    assert!(set.wait().unwrap().success());
    dev.wait_for_talk("deployed sealed version 1");
    stop(dev);
}

#[test]
fn a_first_deploy_that_fails_is_waited_for() {
    let app = folder(&[("evoke.toml", "[app]\n")]);
    let mut dev = dev(app.path());
    let [data, _] = dev.wait_for("both listeners", ready);
    dev.wait_for_talk("nothing of it runs yet");
    let source = "export default { fetch() { return new Response('at last\\n'); } };";
    write(app.path(), "lib/main.mjs", source);
    let manifest = "evoke = \"1\"\n[app]\nname = \"late\"\n[functions.main]\nsource = \"lib/main.mjs\"\n\
                    [[routes]]\npath = \"/\"\nto = \"main\"\n";
    write(app.path(), "evoke.toml", manifest);
    dev.wait_for_talk("deployed late version 1");
    assert_eq!(http(&data, "GET", "/", "").body, "at last\n");
    // A folder that was not there at the start is watched too.
    write(app.path(), "lib/main.mjs", &source.replace("at last", "again"));
    dev.wait_for_talk("deployed late version 2");
    assert_eq!(http(&data, "GET", "/", "").body, "again\n");
    stop(dev);
}

#[test]
fn commands_in_the_folder_find_the_server_and_it_says_what_failed() {
    let app = plain();
    let mut dev = dev(app.path());
    let [data, _] = dev.wait_for("both listeners", ready);
    dev.wait_for_talk("deployed plain version 1");
    let thrown = crate::evoke::evoke(app.path(), &["invoke", "echo", "--path", "/?throw"]);
    assert_eq!(thrown.code, 1);
    assert!(thrown.stderr.contains("thrown as asked"), "{thrown:?}");
    let said = crate::evoke::evoke(app.path(), &["deploy"]).ok();
    assert!(said.stdout.contains(&format!("{data}/orders/{{id}}")), "{said:?}");
    stop(dev);
    eventually("a clean folder", || (!app.path().join(".evoke/listeners.json").exists()).then_some(()));
}

#[test]
fn what_was_deployed_before_a_restart_runs_until_the_first_good_deploy() {
    let app = plain();
    let mut first = dev(app.path());
    first.wait_for_talk("deployed plain version 1");
    stop(first);
    let manifest = std::fs::read_to_string(app.path().join("evoke.toml")).unwrap();
    write(app.path(), "evoke.toml", &manifest.replace("note.py", "noted.py"));
    let mut second = dev(app.path());
    let [data, _] = second.wait_for("both listeners", ready);
    second.wait_for_talk("version 1 keeps running");
    assert_eq!(http(&data, "POST", "/orders/1", "").status, 201);
    write(app.path(), "evoke.toml", &manifest);
    second.wait_for_talk("deployed plain version 2");
    stop(second);
}

#[test]
fn a_program_gets_json_lines() {
    let app = plain();
    let mut command = command(app.path());
    command.args(["dev", "--json", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    let mut dev = Running::start(&mut command);
    let kinds = |it: &Running| -> Vec<serde_json::Value> {
        it.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let data = dev.wait_for("the deploy", |it| {
        let lines = kinds(it);
        lines
            .iter()
            .any(|line| line["kind"] == "deployed")
            .then(|| lines[0]["url"].as_str().unwrap().to_owned())
    });
    http(&data, "POST", "/orders/7", "");
    dev.wait_for("the log", |it| {
        kinds(it).iter().any(|line| line["line"]["line"] == "order 7").then_some(())
    });
    write(app.path(), "evoke.toml", "[app");
    let error =
        dev.wait_for("the error", |it| serde_json::from_str::<serde_json::Value>(it.stderr.trim()).ok());
    assert_eq!(error["error"]["details"][0]["file"], "evoke.toml");
    stop(dev);
}

#[test]
fn without_a_manifest_or_a_port_there_is_nothing_to_wait_for() {
    let empty = folder(&[]);
    let said = crate::evoke::evoke(empty.path(), &["dev"]);
    assert_eq!(said.code, 2);
    insta::assert_snapshot!(crate::evoke::redact(&said.whole(), &[empty.path()]));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let app = plain();
    let said = crate::evoke::evoke(app.path(), &["dev", "--listen", &address, "--admin", "127.0.0.1:0"]);
    assert_eq!(said.code, 1);
    assert!(said.stderr.contains("something else listens there"), "{said:?}");
}

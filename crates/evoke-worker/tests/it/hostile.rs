//! Functions that try to do harm: `tests/cases/hostile`, one file each. Its first lines say which layers stop it (any of
//! them is enough) and how its call ends. A neighbour's calls keep working meanwhile, and nothing of it stays.
//!
//! Where a machine enforces none of the layers that stop a probe, the probe is not run: it would do its harm. It is listed.

use std::collections::BTreeSet;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use evoke_core::outcome::FailureCode;
use evoke_core::runtime::{Ended, Input};
use evoke_worker::sandbox::Machine;

use crate::orphans::{descendants, outside, parent};
use crate::support::*;

/// Holds on every machine.
const ALWAYS: [&str; 2] = ["deadline", "launcher"];

struct Probe {
    name: String,
    file: &'static str,
    source: String,
    stopped_by: Vec<String>,
    ends: Vec<String>,
}

impl Probe {
    fn all() -> Vec<Self> {
        let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
        let mut paths: Vec<PathBuf> =
            std::fs::read_dir(cases.join("hostile")).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let read = |path: &Path| {
            let own = std::fs::read_to_string(path).unwrap();
            let is_python = path.extension().is_some_and(|extension| extension == "py");
            let prelude = cases.join(if is_python {
                "hostile-prelude/prelude.py"
            } else {
                "hostile-prelude/prelude.mjs"
            });
            let says = |what: &str| -> Vec<String> {
                let line = own.lines().find_map(|line| line.split_once(what)).expect("a header").1;
                line.split_whitespace().filter(|word| *word != "or").map(str::to_owned).collect()
            };
            Self {
                name: path.file_name().unwrap().to_string_lossy().into_owned(),
                file: if is_python { "main.py" } else { "main.mjs" },
                source: format!("{}\n{own}", std::fs::read_to_string(prelude).unwrap()),
                stopped_by: says("stopped by: "),
                ends: says("ends: "),
            }
        };
        paths.iter().map(|path| read(path)).collect()
    }

    /// Those of the layers that stop it which are there.
    fn layers(&self, machine: &Machine) -> Vec<&str> {
        let enforced = |name: &str| {
            machine.layers.iter().any(|layer| layer.enforced && layer.name == name) || ALWAYS.contains(&name)
        };
        self.stopped_by.iter().map(String::as_str).filter(|name| enforced(name)).collect()
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(if self.ends == ["timed_out"] { 2 } else { 20 })
    }
}

fn end(outcome: &Outcome) -> String {
    let word = match &outcome.ended {
        Ended::Returned { .. } => "answered",
        Ended::TimedOut => "timed_out",
        Ended::Failed(failure) if failure.code == FailureCode::OutOfMemory => "out_of_memory",
        Ended::Failed(failure) if failure.code == FailureCode::Crashed => "crashed",
        other => return format!("{other:?}"),
    };
    word.to_owned()
}

#[tokio::test]
async fn no_probe_does_harm() {
    let host = Host::start().await;
    let machine = host.runtime.machine().unwrap();
    let enforced = |name: &str| machine.layers.iter().any(|layer| layer.enforced && layer.name == name);
    // As open as file modes can make it: what keeps a function out is the sandbox.
    std::fs::set_permissions(host.dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let store = host.dir.path().join("evoke.db");
    std::fs::write(&store, "secret").unwrap();
    let admin = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let name = format!("evoke-test-{}", std::process::id());
    let _abstract = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();

    let source = "import os\ndef handler(e, c): return [os.readlink('/proc/self/ns/pid'), os.getpid()]\n";
    let spec = host.prepare(&[("main.py", source)]).await.unwrap();
    let other_bundle = host.dir.path().join("workers/bundles/2").join(&spec.bundle);
    let mut neighbour = host.start_spec(spec).await.unwrap();
    let (namespace, inside): (String, i32) =
        serde_json::from_value(neighbour.get("/").await.answer().json()).unwrap();
    let neighbour_pid = outside(&namespace, &[inside])[0];
    let me = std::process::id() as i32;
    let ancestors = std::iter::successors(Some(neighbour_pid), |&pid| parent(pid));
    // The instance, its zygote, process 1 of their namespace where there is one, the launcher.
    let mut may_stay: BTreeSet<i32> = ancestors.take_while(|&pid| pid != me).collect();
    let is_launcher = |pid: &&i32| parent(**pid) == Some(me);
    let launcher = *may_stay.iter().find(is_launcher).unwrap();
    // Whatever else the launcher started has answered, and is gone.
    host.runtime.interpreters().await;
    until(|| descendants(launcher).is_subset(&may_stay)).await;
    let facts = serde_json::json!({
        "host": me, "launcher": launcher, "neighbour": neighbour_pid, "store": store, "other_bundle": other_bundle,
        "port": admin.local_addr().unwrap().port(), "abstract": name,
        "root": rustix::process::geteuid().is_root(), "user_namespace": enforced("user"),
    });

    let (mut not_run, mut harmed, mut stopped) = (Vec::new(), Vec::new(), 0);
    for probe in Probe::all() {
        let layers = probe.layers(&machine);
        if layers.is_empty() {
            println!(
                "NOT RUN   {:<34} nothing here would stop it; it takes one of {:?}",
                probe.name, probe.stopped_by
            );
            not_run.push(probe.name);
            continue;
        }
        let mut guest = host.guest(&[(probe.file, &probe.source)]).await;
        // All that is new but the instance itself, which has no child yet: a zygote outlives it.
        let before = descendants(launcher);
        let has_child = |of: i32| before.iter().any(|&pid| parent(pid) == Some(of));
        may_stay.extend(before.iter().copied().filter(|&pid| has_child(pid)));
        let call = guest.run(Input::Request(post("/", &facts.to_string())), probe.limit(), no_platform());
        let meanwhile = async {
            for _ in 0..3 {
                assert_eq!(
                    neighbour.get("/").await.answer().json()[1],
                    inside,
                    "the neighbour of {}",
                    probe.name
                );
            }
        };
        let (outcome, ()) = tokio::join!(call, meanwhile);
        let end = end(&outcome);
        let mut told = serde_json::Value::Null;
        if end == "answered" {
            told = outcome.answer().json();
        }
        println!("{:<9} {:<34} {end:<13} by {layers:?} {}", "", probe.name, told["told"]);
        if !probe.ends.contains(&end) {
            harmed.push(format!(
                "{}: it ended otherwise than by {:?}: {end} {:?} {:?}",
                probe.name,
                probe.ends,
                outcome.ended,
                outcome.logs.last()
            ));
        } else if let Some(harm) = told["harm"].as_str() {
            harmed.push(format!("{}: {harm}", probe.name));
        } else {
            stopped += 1;
        }
        drop(guest);
        until(|| descendants(launcher).is_subset(&may_stay)).await;
        assert_eq!(neighbour.get("/").await.answer().json()[1], inside, "the neighbour of {}", probe.name);
    }
    println!("{stopped} probes stopped, {} not run: {not_run:?}", not_run.len());
    assert!(harmed.is_empty(), "{harmed:#?}");
    let wanted = if enforced("pid") { 60 } else { 40 };
    assert!(stopped >= wanted, "{stopped} probes were stopped");
}

/// The same once more in a process of an ordinary user.
#[tokio::test]
async fn no_probe_does_harm_to_an_ordinary_user() {
    again("an ordinary user", &["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]).await;
}

/// As in many a container.
#[tokio::test]
async fn no_probe_does_harm_to_a_root_without_cap_sys_admin() {
    again(
        "root without CAP_SYS_ADMIN",
        &["setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin"],
    )
    .await;
}

/// Where user namespaces are switched off, which is a setting of each of them.
#[tokio::test]
async fn no_probe_does_harm_to_a_user_without_namespaces() {
    let script = "echo 0 >/proc/sys/user/max_user_namespaces && exec setpriv --bounding-set -all --inh-caps -all --securebits +noroot \"$@\"";
    let user = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
    let namespace = ["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh"];
    again("a user without namespaces", &[&user[..], &namespace].concat()).await;
}

/// Runs the probes in another process that `command` starts. Only root can become somebody else.
async fn again(who: &str, command: &[&str]) {
    if !rustix::process::geteuid().is_root() {
        println!(
            "NOT RUN as {who}: this is an ordinary user already, and no_probe_does_harm has been that run"
        );
        return;
    }
    // Where that user can reach them.
    let dir = tempfile::tempdir().unwrap();
    let open =
        |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    open(dir.path(), 0o755);
    let (test, launcher, tmp) = (dir.path().join("it"), dir.path().join("launcher"), dir.path().join("tmp"));
    for (from, to) in [(std::env::current_exe().unwrap(), &test), (launcher_program(), &launcher)] {
        std::fs::copy(from, to).unwrap();
        open(to, 0o755);
    }
    std::fs::create_dir(&tmp).unwrap();
    open(&tmp, 0o1777);
    let mut process = tokio::process::Command::new(command[0]);
    process.args(&command[1..]).arg(&test).args(["--exact", "hostile::no_probe_does_harm", "--nocapture"]);
    process
        .env("TMPDIR", &tmp)
        .env("EVOKE_TEST_LAUNCHER", &launcher)
        .env("HOME", &tmp)
        .env("RUST_BACKTRACE", "0");
    let done = process.kill_on_drop(true).output().await.expect("it is there: apt install util-linux");
    println!("as {who}:\n{}", String::from_utf8_lossy(&done.stdout));
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

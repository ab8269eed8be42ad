//! What the machine is found to be, and a server that asks for more than it has.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::evoke::{evoke, run};

#[test]
fn doctor_tells_every_layer_every_program_and_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let report = evoke(dir.path(), &["doctor", "--json"]).ok().json();
    let layers = report["sandbox"]["layers"].as_array().unwrap();
    let names: Vec<_> = layers.iter().map(|layer| layer["name"].as_str().unwrap()).collect();
    for name in ["seccomp", "landlock", "uid", "pid", "mount", "network", "memory"] {
        assert!(names.contains(&name), "{names:?}");
    }
    for layer in layers {
        assert_eq!(layer["enforced"].as_bool().unwrap(), layer["why_not"].is_null(), "{layer}");
    }
    for program in report["programs"].as_array().unwrap() {
        assert!(program["path"].as_str().is_some_and(|path| path.starts_with('/')), "{program}");
        assert_eq!(program["instances"], "forked", "{program}");
    }
    let network = layers.iter().find(|layer| layer["name"] == "network").unwrap();
    assert_eq!(report["runtime_api"] == "namespace", network["enforced"].as_bool().unwrap(), "{report}");
    assert_eq!(report["data"]["exists"], false);
    assert!(report["data"]["fsync_us"][0].as_u64().is_some_and(|us| us > 0));
    let text = evoke(dir.path(), &["doctor"]).ok().stdout;
    assert!(names.iter().all(|name| text.contains(name)), "{text}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "it left something");
}

#[test]
fn a_server_that_requires_the_whole_sandbox_names_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let open = |path: &Path| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
    open(dir.path());
    // Where an ordinary user, who cannot give functions users of their own, can reach it.
    let program = dir.path().join("evoke");
    std::fs::copy(env!("CARGO_BIN_EXE_evoke"), &program).unwrap();
    open(&program);
    let serve = ["serve", "--sandbox", "required", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    // Needs no privilege when it is an ordinary user already.
    let mut command = Command::new("setpriv");
    if is_root() {
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    }
    let said = run(command.arg(&program).args(serve).current_dir(dir.path()).env("TMPDIR", dir.path()));
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.stderr.contains("this machine does not enforce uid"), "{}", said.stderr);
    assert!(said.stderr.contains("evoke doctor tells why"), "{}", said.stderr);
}

/// Whoever owns `/proc/self` runs this.
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

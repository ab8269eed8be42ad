//! What the machine is found to be, and a server that asks for more than it has.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::evoke::{evoke, run};
use crate::tls::pair;

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

#[test]
fn doctor_tells_of_certificates_what_a_server_would_find() {
    let dir = tempfile::tempdir().unwrap();
    let name = |file: &str| dir.path().join(file).to_str().unwrap().to_owned();
    let (good, _) = pair(dir.path(), "good.pem", &["shop.example.com", "*.example.org"]);
    pair(dir.path(), "other.pem", &["other.example.com"]);
    let look = |options: &[&str]| {
        evoke(dir.path(), &[&["doctor", "--data", "data", "--json"][..], options].concat())
    };
    let report = look(&["--tls-cert", good.to_str().unwrap()]).ok().json();
    let found = &report["certificates"][0];
    assert_eq!((&found["from"], &found["state"]), (&"file".into(), &"good".into()), "{report}");
    assert_eq!(found["names"], serde_json::json!(["shop.example.com", "*.example.org"]));
    assert!(found["renewed_from"].is_null() && found["valid_until"].is_string(), "{found}");

    let odd = look(&["--tls-cert", &name("good.pem"), "--tls-key", &name("other.pem")]);
    assert_eq!(odd.code, 1, "a server would not start with it");
    let odd = odd.json()["certificates"][0].clone();
    assert_eq!(odd["state"], "unusable");
    assert!(odd["why_not"].as_str().unwrap().contains("is not the key of the first certificate"), "{odd}");
    assert_eq!(look(&["--tls-cert", &name("none.pem")]).json()["certificates"][0]["state"], "unusable");

    // As a server keeps it: valid for ever, as far as anybody here is concerned, and renewed some time before.
    let kept = dir.path().join("data/acme/0123456789ab");
    std::fs::create_dir_all(&kept).unwrap();
    assert_eq!(look(&[]).ok().json()["certificates"][0]["state"], "missing");
    std::fs::copy(&good, kept.join("certificate.pem")).unwrap();
    let found = look(&[]).ok().json()["certificates"][0].clone();
    assert_eq!((&found["from"], &found["state"]), (&"acme".into(), &"good".into()), "{found}");
    assert!(found["renewed_from"].as_str() < found["valid_until"].as_str(), "{found}");
    let text = evoke(dir.path(), &["doctor", "--data", "data"]).ok().stdout;
    assert!(
        text.contains("for shop.example.com, *.example.org") && text.contains("the next is got from"),
        "{text}"
    );
}

/// Whoever owns `/proc/self` runs this.
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

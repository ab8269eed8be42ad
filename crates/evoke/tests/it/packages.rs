//! Packages, as somebody meets them who writes a function: with a wheel of the app's own, and no registry.

use std::path::Path;

use crate::evoke::{Running, command, folder, http, ready, write};

const MANIFEST: &str = "evoke = \"1\"\n[app]\nname = \"boxed\"\n[functions.main]\nsource = \"fn/main.py\"\n\
                        [[routes]]\npath = \"/\"\nto = \"main\"\n";
const SOURCE: &str =
    "import left\ndef handler(event, context):\n    return {'statusCode': 200, 'body': left.VALUE}\n";

const WHEEL: &str = r#"
import sys, zipfile
folder, version = sys.argv[1:]
with zipfile.ZipFile(f"{folder}/left-{version}-py3-none-any.whl", "w") as wheel:
    wheel.writestr("left.py", f"VALUE = 'left {version}'\n")
    info = f"left-{version}.dist-info"
    wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: left\nVersion: {version}\n")
    wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr(f"{info}/RECORD", "")
"#;

fn wheel(dir: &Path, version: &str) {
    let done = std::process::Command::new("python3").args(["-c", WHEEL]).arg(dir).arg(version).status();
    assert!(done.expect("python3 is needed: apt install python3").success());
}

fn requirements(dir: &Path, lines: &[&str]) {
    write(dir, "fn/requirements.txt", &(lines.join("\n") + "\n"));
}

#[test]
fn requirements_are_installed_when_they_are_saved_and_wrong_ones_leave_what_runs() {
    let app = folder(&[("evoke.toml", MANIFEST), ("fn/main.py", SOURCE)]);
    for version in ["1.0", "2.0"] {
        wheel(&app.path().join("fn"), version);
    }
    requirements(app.path(), &["./left-1.0-py3-none-any.whl"]);
    let mut dev = Running::start(
        command(app.path())
            .args(["dev", ".", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .env("PIP_INDEX_URL", "http://127.0.0.1:9/")
            .env("PIP_RETRIES", "0"),
    );
    let [data, _] = dev.wait_for("both listeners", ready);
    dev.wait_for_talk(
        "fn/requirements.txt: installing 1 package and what they need, with pip for CPython 3.",
    );
    dev.wait_for_talk("fn/requirements.txt: installed in ");
    dev.wait_for_talk("deployed boxed version 1");
    assert_eq!(http(&data, "GET", "/", "").body, "left 1.0");

    requirements(app.path(), &["./left-2.0-py3-none-any.whl", "nope-xyz==9"]);
    dev.wait_for_talk("pip install failed: No matching distribution found for nope-xyz==9");
    dev.wait_for_talk("fn/requirements.txt:2");
    dev.wait_for_talk("ERROR: Could not find a version that satisfies the requirement nope-xyz==9");
    dev.wait_for_talk("version 1 keeps running");
    assert_eq!(http(&data, "GET", "/", "").body, "left 1.0");

    requirements(app.path(), &["./left-2.0-py3-none-any.whl"]);
    dev.wait_for_talk("deployed boxed version 2");
    assert_eq!(http(&data, "GET", "/", "").body, "left 2.0");

    // What is asked for stays the same, so nothing is installed.
    let installed = dev.stderr.matches(": installing ").count();
    write(app.path(), "fn/main.py", &SOURCE.replace("left.VALUE", "left.VALUE + '!'"));
    dev.wait_for_talk("deployed boxed version 3");
    assert_eq!(http(&data, "GET", "/", "").body, "left 2.0!");
    assert_eq!(dev.stderr.matches(": installing ").count(), installed, "{}", dev.stderr);
    dev.signal("INT");
    assert_eq!(dev.wait().code(), Some(0), "{}", dev.stderr);
}

//! `examples/search`: twenty instances share what was loaded once. With less text than a user's, of the packages that these tests
//! are built from; `EVOKE_TEST_SEARCH_MIB=240` takes all of it.

use std::path::{Path, PathBuf};
use std::process::Command;

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/search")
}

#[test]
fn twenty_instances_of_the_search_share_their_text() {
    let root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    if !root {
        eprintln!("SKIPPED: only root may see how much memory the processes of functions share");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mib = std::env::var("EVOKE_TEST_SEARCH_MIB").unwrap_or_else(|_| "60".to_owned());
    let built = Command::new("python3")
        .arg(example().join("build"))
        .args(["--offline", "--mib", &mib, "--out"])
        .arg(dir.path().join("index"))
        .output()
        .unwrap();
    if !built.status.success() {
        let why = String::from_utf8_lossy(&built.stderr).into_owned();
        eprintln!("SKIPPED: the sources of the packages are not here (`cargo fetch` gets them): {why}");
        return;
    }
    let shown = Command::new("python3")
        .arg(example().join("demo"))
        .args([
            "--samples",
            "0",
            "--query",
            "mutex lock guard",
            "--binary",
            env!("CARGO_BIN_EXE_evoke"),
            "--index",
        ])
        .arg(dir.path().join("index"))
        .output()
        .unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&shown.stdout), String::from_utf8_lossy(&shown.stderr));
    assert!(shown.status.success(), "{said}");
    assert!(said.contains("ok  they hold the"), "{said}");
}

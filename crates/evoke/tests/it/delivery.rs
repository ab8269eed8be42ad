//! `examples/delivery`: from a real `git push` to a release, with a `kill -9` while the delivery waits for its ticket.

use std::path::Path;
use std::process::Command;

#[test]
fn a_push_is_delivered_when_its_ticket_is_closed_although_the_server_was_killed() {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/delivery/demo");
    let shown = Command::new("python3")
        .arg(demo)
        .args(["--binary", env!("CARGO_BIN_EXE_evoke")])
        .output()
        .expect("python3 can be started: apt-get install python3");
    let said =
        format!("{}{}", String::from_utf8_lossy(&shown.stdout), String::from_utf8_lossy(&shown.stderr));
    assert!(shown.status.success(), "{said}");
    assert!(said.contains("ok    the release is deployed"), "{said}");
}

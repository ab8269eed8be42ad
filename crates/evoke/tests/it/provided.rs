//! Functions that are programs of their own, from their folder to their effects.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::evoke::{Server, eventually, folder, http};

#[test]
fn the_example_greets_and_counts() {
    let server = Server::start();
    let app = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/provided");
    server.evoke(&app, &["deploy"]).ok();
    for count in 1..=3 {
        let answer = http(&server.data_url, "GET", "/greet?name=Ada", "");
        assert_eq!((answer.status, answer.body.as_str()), (200, "Hello, Ada!\n"));
        eventually("the event to be counted", || {
            let logs = server.evoke(&app, &["logs", "count"]).ok();
            logs.stdout.contains(&format!("{count} greeted in all")).then_some(())
        });
    }
}

#[test]
fn what_a_failed_attempt_wrote_is_not_kept() {
    let manifest = r#"
evoke = "1"
[app]
name = "atomic"
[functions.flaky]
source = "bootstrap"
emits = ["written"]
on = [{ event = "begin", retry = { attempts = 2, initial = "1ms" } }]
[functions.seen]
source = "seen.py"
on = [{ event = "written" }]
"#;
    let bootstrap = r#"#!/bin/sh
set -eu
invocation=http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation
while :; do
  curl -fsS -D "$TMPDIR/head" -o "$TMPDIR/payload" "$invocation/next"
  field() { sed -n "s/^$1: *//Ip" "$TMPDIR/head" | tr -d '\r'; }
  id=$(field lambda-runtime-aws-request-id) attempt=$(field evoke-attempt)
  found=$(curl -sS -o "$TMPDIR/value" -w '%{http_code}' "$EVOKE_API/v1/kv/default/key")
  echo "attempt $attempt finds $found"
  curl -fsS -o "$TMPDIR/value" -X PUT "$EVOKE_API/v1/kv/default/key" -H 'content-type: application/json' -d 1
  curl -fsS -o "$TMPDIR/value" "$EVOKE_API/v1/events" -H 'content-type: application/json' \
    -d "{ \"type\": \"written\", \"id\": \"by-$attempt\" }"
  if [ "$attempt" = 1 ]; then
    curl -fsS -o "$TMPDIR/value" "$invocation/$id/error" -d '{ "errorType": "Flaky", "errorMessage": "not yet" }'
  else
    curl -fsS -o "$TMPDIR/value" -X POST "$invocation/$id/response"
  fi
done
"#;
    let seen = "def handler(event, context): print('seen', event['id'])\n";
    let app = folder(&[("evoke.toml", manifest), ("bootstrap", bootstrap), ("seen.py", seen)]);
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(app.path().join("bootstrap"), mode).unwrap();
    let server = Server::start();
    server.evoke(app.path(), &["deploy"]).ok();
    server.evoke(app.path(), &["send", "begin", "--data", "{}"]).ok();
    let logs = |function: &str| server.evoke(app.path(), &["logs", function]).ok().stdout;
    eventually("the event of the second attempt", || logs("seen").contains("seen by-2").then_some(()));
    let told = logs("flaky");
    assert!(told.contains("attempt 1 finds 404") && told.contains("attempt 2 finds 404"), "{told}");
    assert!(!logs("seen").contains("by-1"));
}

#[test]
fn a_bootstrap_that_cannot_be_executed_is_refused_by_deploy() {
    let manifest = "evoke = \"1\"\n[app]\nname = \"plain\"\n[functions.hello]\nsource = \"bootstrap\"\n";
    let app = folder(&[("evoke.toml", manifest), ("bootstrap", "#!/bin/sh\n")]);
    let server = Server::start();
    let said = server.evoke(app.path(), &["deploy"]);
    assert_ne!(said.code, 0);
    assert!(said.stderr.contains("bootstrap:1:1: it is not executable: chmod +x it"), "{}", said.stderr);
}

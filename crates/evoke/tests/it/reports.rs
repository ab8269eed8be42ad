//! What comes in from outside: a signed webhook starts a function that has a secret, a page's beacon becomes an event.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::evoke::{Server, eventually, folder, run};

const MANIFEST: &str = r#"
evoke = "1"
[app]
name = "hooks"
[functions.pushed]
source = "pushed.py"
secrets = ["GREETING"]
[[functions.pushed.on]]
event = "github.push"
[[webhooks]]
path = "/hooks/github"
provider = "github"
secret = "GITHUB"
[[beacons]]
path = "/beacons/clicks"
event = "page_click"
origins = ["https://www.example.com"]
"#;

const PUSHED: &str = r#"
import os
def handler(event, context):
    print(os.environ["GREETING"], event["subject"], event["data"]["ref"])
"#;

fn set(server: &Server, name: &str, value: &str) {
    let dir = folder(&[]);
    let mut command = server.command(dir.path(), &["secrets", "set", name, "--app", "hooks"]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    writeln!(child.stdin.take().unwrap(), "{value}").unwrap();
    assert!(child.wait().unwrap().success());
}

fn curl(args: &[&str]) -> String {
    let said =
        run(Command::new("curl").args(["-s", "-o", "/dev/null", "-w", "%{http_code}"]).args(args)).ok();
    said.stdout
}

#[test]
fn a_signed_push_starts_a_function_with_its_secret_and_a_forged_one_nothing() {
    let (server, app) = (Server::start(), folder(&[("evoke.toml", MANIFEST), ("pushed.py", PUSHED)]));
    let refused = server.evoke(app.path(), &["deploy"]);
    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains("secrets GITHUB, GREETING not set"), "{}", refused.stderr);
    set(&server, "GITHUB", "It's a Secret to Everybody");
    set(&server, "GREETING", "hello");
    server.evoke(app.path(), &["deploy"]).ok();

    // The HMAC-SHA256 of this body under the secret above, by openssl.
    let body = r#"{"ref":"refs/heads/main","repository":{"full_name":"octocat/Hello-World"}}"#;
    let openssl = format!(
        "printf %s '{body}' | openssl dgst -sha256 -hmac \"It's a Secret to Everybody\" | sed 's/.* //'"
    );
    let signature = run(Command::new("bash").args(["-c", &openssl])).ok().stdout;
    let url = format!("{}/hooks/github", server.data_url);
    let push = |signature: &str, id: &str| {
        let signature = format!("X-Hub-Signature-256: sha256={}", signature.trim());
        let delivery = format!("X-GitHub-Delivery: {id}");
        let headers = [
            "-H",
            &signature,
            "-H",
            &delivery,
            "-H",
            "X-GitHub-Event: push",
            "-H",
            "content-type: application/json",
        ];
        curl(&[headers.as_slice(), &["-d", body, &url]].concat())
    };
    assert_eq!(push(&signature, "1"), "202");
    assert_eq!(push(&signature, "1"), "202");
    assert_eq!(push(&"0".repeat(64), "2"), "401");
    eventually("the function to print", || {
        let logs = server.evoke(app.path(), &["logs", "pushed"]).ok().stdout;
        logs.contains("hello octocat/Hello-World refs/heads/main").then_some(())
    });
    let events = server.evoke(app.path(), &["events", "ls", "--json"]).ok().json();
    assert_eq!(events["events"].as_array().unwrap().len(), 1, "{events}");

    let beacon = format!("{}/beacons/clicks", server.data_url);
    assert_eq!(
        curl(&["-H", "Origin: https://www.example.com", "-d", "{\"button\":\"buy\"}", &beacon]),
        "204"
    );
    assert_eq!(curl(&["-H", "Origin: https://evil.example", "-d", "{}", &beacon]), "403");
    let secrets = server.evoke(app.path(), &["secrets", "ls", "--json"]).ok().json();
    assert_eq!(secrets["secrets"].as_array().unwrap().len(), 2);
    let said = server.stop();
    assert!(said.stderr.contains("no signature matches"), "the operator is not told why: {}", said.stderr);
}

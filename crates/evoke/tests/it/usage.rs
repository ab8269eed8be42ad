//! What calls used, as users see it: in runs, in the list of functions, and for a Prometheus server.

use serde_json::Value;
use tempfile::TempDir;

use crate::evoke::{Server, eventually, folder, http, http_with};
use crate::guests::guest;

const MANIFEST: &str = r#"
evoke = "1"
[app]
name = "used"
[functions.python]
source = "burn.py"
timeout = "5s"
[functions.component]
source = "component.wasm"
timeout = "5s"
memory = "64MiB"
[[routes]]
path = "/python/{path}"
to = "python"
[[routes]]
path = "/{path}"
to = "component"
"#;

const BURN: &str = r#"
import os, time
def handler(event, context):
    path = event["rawPath"]
    while path == "/python/spin": pass
    begun = time.process_time()
    while time.process_time() - begun < 0.05: pass
    if path == "/python/crash": os._exit(3)
    if path == "/python/raise": raise ValueError("no")
    return "ok"
"#;

fn deployed() -> (Server, TempDir) {
    let app = folder(&[("evoke.toml", MANIFEST), ("burn.py", BURN)]);
    std::fs::copy(guest("proxy"), app.path().join("component.wasm")).unwrap();
    let server = Server::start();
    server.evoke(app.path(), &["deploy"]).ok();
    (server, app)
}

/// The usage of the newest run of a function, once that has come to `outcome`.
fn usage(server: &Server, app: &TempDir, function: &str, outcome: &str) -> Value {
    eventually(outcome, || {
        let args = ["runs", "ls", "--function", function, "--limit", "1", "--json"];
        let runs = server.evoke(app.path(), &args).ok().json();
        let attempt = runs["runs"][0]["attempts"][0].clone();
        (attempt["outcome"] == outcome).then(|| attempt["usage"].clone())
    })
}

fn cpu_us(usage: &Value) -> u64 {
    usage["cpu_us"].as_u64().unwrap_or_else(|| panic!("{usage}"))
}

#[test]
fn runs_tell_what_they_used_however_they_end() {
    let (server, app) = deployed();
    let get = |path: &str| http(&server.data_url, "GET", path, "").status;
    assert_eq!(get("/python/burn"), 200);
    let burned = usage(&server, &app, "python", "completed");
    assert!(cpu_us(&burned) >= 50_000 && burned["peak_memory_bytes"].as_u64() > Some(0), "{burned}");
    assert_eq!(burned["shared"], false);
    assert_eq!(get("/python/spin"), 504);
    assert!(cpu_us(&usage(&server, &app, "python", "timed_out")) > 1_000);
    assert_eq!(get("/python/raise"), 502);
    assert!(cpu_us(&usage(&server, &app, "python", "failed")) >= 50_000);

    assert_eq!(get("/hello"), 200);
    let hello = usage(&server, &app, "component", "completed");
    assert!(cpu_us(&hello) > 0 && hello["peak_memory_bytes"].as_u64() >= Some(64 << 10), "{hello}");
    assert_eq!(get("/loop"), 504);
    let looped = usage(&server, &app, "component", "timed_out");
    assert!(cpu_us(&looped) > cpu_us(&hello), "{looped}");
    assert_eq!(get("/grow"), 502);
    let grown = usage(&server, &app, "component", "failed");
    assert!(grown["peak_memory_bytes"].as_u64() >= Some(48 << 20), "{grown}");
}

#[test]
fn what_a_function_used_is_added_up() {
    let (server, app) = deployed();
    for _ in 0..2 {
        assert_eq!(http(&server.data_url, "GET", "/python/burn", "").status, 200);
    }
    eventually("two attempts", || {
        let listed = server.evoke(app.path(), &["functions", "ls", "--json"]).ok().json();
        let spent = &listed["functions"].as_array()?.iter().find(|one| one["name"] == "python")?["spent"];
        let both = spent["attempts"] == 2 && spent["cpu_us"].as_u64()? >= 100_000;
        (both && spent["ran_us"].as_u64()? > 0).then_some(())
    });
    let token = format!("authorization: Bearer {}\r\n", server.token());
    let metrics = http_with(&server.admin_url, "GET", "/metrics", &token, "");
    assert_eq!(metrics.status, 200);
    let line = "evoke_function_cpu_seconds_total{app=\"used\",function=\"python\"} ";
    let value = metrics.body.lines().find_map(|found| found.strip_prefix(line)).unwrap();
    assert!(value.parse::<f64>().unwrap() >= 0.1, "{value}");
    assert!(metrics.body.contains("# TYPE evoke_function_cpu_seconds_total counter"), "{}", metrics.body);
    assert_eq!(http(&server.admin_url, "GET", "/metrics", "").status, 401);
}

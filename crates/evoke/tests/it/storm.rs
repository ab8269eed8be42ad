//! Hundreds of clients that go away, at a real server with real processes.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::evoke::{Server, descendants, eventually, folder, http};

const CLIENTS: usize = 300;

const MANIFEST: &str = r#"
evoke = "1"
[app]
name = "storm"
[functions.outer]
source = "outer.mjs"
concurrency = 6
idle = "1s"
preload = "none"
timeout = "60s"
[functions.inner]
source = "inner.mjs"
concurrency = 6
idle = "1s"
preload = "none"
timeout = "60s"
[functions.near]
source = "near.mjs"
[[routes]]
path = "/outer"
to = "outer"
[[routes]]
path = "/near"
to = "near"
"#;

const OUTER: &str = "export default { async fetch(request, env) {
  const { ms } = Object.fromEntries(new URL(request.url).searchParams);
  return env.FUNCTIONS.inner.fetch(`http://inner/?ms=${ms}`);
} };";
const INNER: &str = "export default { async fetch(request) {
  const ms = Number(new URL(request.url).searchParams.get('ms'));
  await new Promise((done) => setTimeout(done, ms));
  return new Response('slept');
} };";
const NEAR: &str = "export default { fetch() { return new Response('near'); } };";

#[test]
fn a_storm_of_clients_that_leave_leaves_no_instance_permit_or_process_and_neighbours_answer() {
    let app =
        folder(&[("evoke.toml", MANIFEST), ("outer.mjs", OUTER), ("inner.mjs", INNER), ("near.mjs", NEAR)]);
    let server = Server::start();
    server.evoke(app.path(), &["deploy"]).ok();
    let calm = || {
        let functions = server.evoke(app.path(), &["functions", "ls", "--json"]).ok().json();
        let functions = functions["functions"].as_array().unwrap().clone();
        let storm = functions.iter().filter(|function| function["name"] != "near");
        let left = |count: &str| {
            storm.clone().filter_map(|function| function["instances"][count].as_u64()).sum::<u64>()
        };
        ["starting", "idle", "busy", "draining"].iter().all(|count| left(count) == 0).then_some(())
    };
    assert_eq!(
        (http(&server.data_url, "GET", "/outer?ms=1", "").body, server.http("GET", "/near", "").status),
        ("slept".to_owned(), 200)
    );
    eventually("the first instances to go", calm);
    let before = descendants(server.running.pid()).len();

    let address = server.data_url.strip_prefix("http://").unwrap();
    let mut clients: Vec<TcpStream> = Vec::new();
    for nth in 0..CLIENTS {
        let mut client = TcpStream::connect(address).unwrap();
        write!(client, "GET /outer?ms=30000 HTTP/1.1\r\nhost: {address}\r\n\r\n").unwrap();
        clients.push(client);
        // Some leave at once, some while others come, some with all the rest.
        if nth % 3 == 0 {
            clients.swap_remove(nth / 2 % clients.len());
        }
        if nth % 20 == 0 {
            assert_eq!(server.http("GET", "/near", "").body, "near");
        }
    }
    eventually("calls of calls to run", || {
        let functions = server.evoke(app.path(), &["functions", "ls", "--json"]).ok().json();
        let busy = functions["functions"]
            .as_array()
            .unwrap()
            .iter()
            .find(|function| function["name"] == "inner")
            .cloned();
        (busy.unwrap()["instances"]["busy"].as_u64() > Some(0)).then_some(())
    });
    drop(clients);
    assert_eq!(server.http("GET", "/near", "").body, "near");

    // A permit that was not given back would be missing here: these fill the function, twice.
    let again: Vec<_> = (0..12)
        .map(|_| {
            let mut client = TcpStream::connect(address).unwrap();
            let request =
                format!("GET /outer?ms=20 HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
            client.write_all(request.as_bytes()).unwrap();
            client
        })
        .collect();
    for mut client in again {
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("slept"), "{answer}");
    }
    eventually("all instances to go", calm);
    eventually("all processes to go", || (descendants(server.running.pid()).len() <= before).then_some(()));
    let runs = server
        .evoke(app.path(), &["runs", "ls", "--function", "inner", "--limit", "100", "--json"])
        .ok()
        .json();
    let enders: Vec<_> =
        runs["runs"].as_array().unwrap().iter().map(|run| &run["attempts"][0]["ended_by"]).collect();
    assert!(enders.iter().any(|ender| *ender == "caller"), "{enders:?}");
    assert_eq!(server.stop().code, 0);
}

//! Hundreds of clients that are slow on purpose, and good ones that do not notice.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::evoke::{PATIENCE, Server, eventually, folder};

const MANIFEST: &str = "evoke = \"1\"\n[app]\nname = \"slow\"\n\
    [functions.held]\nsource = \"held.py\"\nconcurrency = 2\n[functions.good]\nsource = \"good.py\"\n\
    [[routes]]\npath = \"/held\"\nto = \"held\"\n[[routes]]\npath = \"/good\"\nto = \"good\"\n";
const HELD: &str = "def handler(event, context):\n    return {'statusCode': 200, 'body': 'x' * 4_000_000}\n";
const GOOD: &str = "def handler(event, context):\n    return {'statusCode': 200, 'body': 'good'}\n";

/// Beginnings that are not gone on with.
const SLOW: [&[u8]; 4] = [
    b"",
    b"GET /held HTTP/1.1\r\nHost: slow\r\nX-A: ",
    b"POST /held HTTP/1.1\r\nHost: slow\r\nContent-Length: 100000\r\n\r\n",
    // Asks for much and reads nothing.
    b"GET /held HTTP/1.1\r\nHost: slow\r\n\r\n",
];
const CLIENTS: usize = 400;

#[test]
fn slow_clients_are_given_up_and_good_ones_are_answered_meanwhile() {
    let app = folder(&[("evoke.toml", MANIFEST), ("held.py", HELD), ("good.py", GOOD)]);
    let data = tempfile::tempdir().unwrap();
    let options =
        ["--connections", "200", "--head-timeout", "2s", "--idle-timeout", "2s", "--min-rate-grace", "1s"];
    let server = Server::start_with(&data.path().join("data"), &options);
    server.evoke(app.path(), &["deploy"]).ok();
    let address = server.data_url.strip_prefix("http://").unwrap();
    let mut slow = Vec::new();
    for nth in 0..CLIENTS {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // One that had to make room is gone already.
        let _ = stream.write_all(SLOW[nth % SLOW.len()]);
        slow.push(stream);
        if nth % 10 == 0 {
            let good = server.http("GET", "/good", "");
            assert_eq!((good.status, good.body.as_str()), (200, "good"), "after {nth} slow clients");
        }
    }
    // Those that do not read are given up by the server, whatever is in their buffers.
    for (nth, mut stream) in slow.into_iter().enumerate().filter(|(nth, _)| nth % SLOW.len() < 3) {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(
            rest.is_empty() || rest.starts_with(b"HTTP/1.1 4") || rest.starts_with(b"HTTP/1.1 200"),
            "{nth}"
        );
    }
    eventually("the held function's instances", || {
        (server.http("GET", "/held", "").status == 200).then_some(())
    });
    assert_eq!(server.http("GET", "/good", "").body, "good");
}

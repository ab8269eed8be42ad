//! A certificate of a real ACME server: pebble, the test server of Let's Encrypt.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::evoke::{Running, Server, eventually, folder, now};
use crate::tls::{address, connect, pair};

/// pebble, and what it is asked for with.
struct Pebble {
    running: Running,
    folder: tempfile::TempDir,
    directory: String,
    management: String,
    ca: CertificateDer<'static>,
}

/// A port that nobody has, below those that connections are given (`ip_local_port_range`): nobody gets it by chance before it is used.
pub fn free_port() -> u16 {
    use std::sync::atomic::{AtomicU16, Ordering};

    const BELOW: u16 = 32_768;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Each process begins elsewhere, and takes fewer than seven.
    let start = (std::process::id() * 7 % 12_000) as u16;
    loop {
        let port = BELOW - 1 - (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Started so that it asks names for their proofs at these ports.
fn pebble(http_port: u16, tls_port: u16) -> Pebble {
    let found = Command::new("pebble").arg("-help").stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(found.is_ok(), "pebble is not on PATH: run this through `scripts/tools exec`, which unpacks it");
    let folder = folder(&[]);
    let (path, ca) = pair(folder.path(), "pebble.pem", &["localhost"]);
    let (listen, management) = (free_port(), free_port());
    let config = format!(
        "{{ \"pebble\": {{ \"listenAddress\": \"127.0.0.1:{listen}\", \"managementListenAddress\": \"127.0.0.1:{management}\", \
         \"certificate\": {path:?}, \"privateKey\": {path:?}, \"httpPort\": {http_port}, \"tlsPort\": {tls_port} }} }}"
    );
    std::fs::write(folder.path().join("config.json"), config).unwrap();
    let mut command = Command::new("pebble");
    command.args(["-config", "config.json"]).current_dir(folder.path()).env("PEBBLE_VA_NOSLEEP", "1");
    let running = Running::start(&mut command);
    let management = format!("127.0.0.1:{management}");
    eventually("pebble", || connect(&management, "localhost", &[&ca], &[]).ok());
    Pebble { running, folder, directory: format!("https://localhost:{listen}/dir"), management, ca }
}

impl Pebble {
    /// The authority it issues with, which is another one each time it starts.
    fn root(&self) -> CertificateDer<'static> {
        let mut stream = connect(&self.management, "localhost", &[&self.ca], &[]).unwrap();
        write!(stream, "GET /roots/0 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = Vec::new();
        let _ = stream.read_to_end(&mut text);
        CertificateDer::from_pem_slice(&text).unwrap()
    }
}

fn obtains(over_http: bool) {
    if let Ok(why) = std::env::var("NO_PEBBLE") {
        eprintln!("not tried without pebble: {why}");
        return;
    }
    let (listen, redirect) = (free_port(), free_port());
    let pebble = pebble(redirect, listen);
    let data = pebble.folder.path().join("data");
    let (listen_at, redirect_at) = (format!("127.0.0.1:{listen}"), format!("127.0.0.1:{redirect}"));
    let ca = pebble.folder.path().join("pebble.pem");
    let mut options = vec![
        "--listen",
        &listen_at,
        "--acme-domain",
        "localhost",
        "--acme-contact",
        "ops@example.com",
        "--acme-directory",
        &pebble.directory,
        "--acme-ca-file",
        ca.to_str().unwrap(),
    ];
    if over_http {
        options.extend(["--tls-redirect", &redirect_at]);
    }
    let server = Server::start_only(&data, &options);
    let root = pebble.root();
    let begun = now();
    eventually("a certificate", || connect(address(&server), "localhost", &[&root], &[]).ok());
    println!("a certificate after {:?}", begun.elapsed());
    // Kept for its owner only, and in use again at once without the ACME server.
    let kept = kept(&data.join("acme"));
    assert!(!kept.is_empty() && kept.iter().all(|(_, mode)| *mode == 0o600), "{kept:?}");
    assert_eq!(server.stop().code, 0);
    pebble.running.signal("KILL");
    let again = Server::start_only(&data, &options);
    connect(address(&again), "localhost", &[&root], &[]).unwrap();
    assert_eq!(again.stop().code, 0);
}

fn kept(folder: &Path) -> Vec<(String, u32)> {
    let servers = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = servers.flat_map(|server| std::fs::read_dir(server).unwrap().map(Result::unwrap));
    files
        .map(|file| {
            (file.file_name().into_string().unwrap(), file.metadata().unwrap().permissions().mode() & 0o777)
        })
        .collect()
}

#[test]
fn a_certificate_is_obtained_over_tls_and_kept() {
    obtains(false);
}

#[test]
fn a_certificate_is_obtained_over_http_and_kept() {
    obtains(true);
}

#[test]
fn an_acme_server_that_cannot_be_reached_is_told_of_and_the_server_goes_on() {
    let data = tempfile::tempdir().unwrap();
    let directory = format!("https://localhost:{}/dir", free_port());
    let options = ["--acme-domain", "localhost", "--acme-directory", &directory, "--listen", "127.0.0.1:0"];
    let mut server = Server::start_only(&data.path().join("data"), &options);
    server.running.wait_for_talk("no certificate was obtained");
    assert!(connect(address(&server), "localhost", &[], &[]).is_err());
    assert_eq!(server.stop().code, 0);
}

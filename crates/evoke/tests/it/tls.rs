//! TLS at the real listeners: which certificate whom, new ones while connections go on, what is wrong with one.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;

use crate::evoke::{PATIENCE, Server, eventually, evoke, folder};

const MANIFEST: &str = "evoke = \"1\"\n[app]\nname = \"secure\"\n[functions.echo]\nsource = \"echo.py\"\n\
    [[routes]]\npath = \"/{*rest}\"\nto = \"echo\"\n";
const ECHO: &str = "def handler(event, context):
    http = event['requestContext']['http']
    return {'statusCode': 200, 'body': ' '.join([http['sourceIp'], event['headers'].get('x-forwarded-proto', '-')])}
";

/// A certificate in a file of its own, with its key.
pub fn pair(folder: &Path, file: &str, names: &[&str]) -> (PathBuf, CertificateDer<'static>) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    let path = folder.join(file);
    let draft = path.with_extension("draft");
    std::fs::write(&draft, certificate.pem() + &key.serialize_pem()).unwrap();
    std::fs::rename(&draft, &path).unwrap();
    (path, certificate.der().clone())
}

/// A client that trusts exactly these.
pub fn connect(
    address: &str,
    name: &str,
    trusted: &[&CertificateDer<'static>],
    protocols: &[&str],
) -> Result<StreamOwned<ClientConnection, TcpStream>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in trusted {
        roots.add((*certificate).clone()).unwrap();
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let mut config = builder
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = TcpStream::connect(address).map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    while connection.is_handshaking() {
        connection.complete_io(&mut stream).map_err(|error| error.to_string())?;
    }
    Ok(StreamOwned::new(connection, stream))
}

/// One request over a connection that stays.
pub fn get(stream: &mut StreamOwned<ClientConnection, TcpStream>, fields: &str) -> String {
    write!(stream, "GET /x HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n").unwrap();
    let mut text = String::new();
    let whole = |text: &str| {
        let (head, body) = text.split_once("\r\n\r\n")?;
        let length = head.to_lowercase().split("content-length: ").nth(1)?.lines().next()?.parse().ok()?;
        (body.len() >= length).then_some(())
    };
    while whole(&text).is_none() {
        let mut bytes = [0; 4096];
        let read = stream.read(&mut bytes).unwrap();
        assert!(read > 0, "ended: {text}");
        text += &String::from_utf8_lossy(&bytes[..read]);
    }
    text
}

fn served(options: &[&str]) -> (Server, TempDir, TempDir) {
    let (app, data) = (folder(&[("evoke.toml", MANIFEST), ("echo.py", ECHO)]), tempfile::tempdir().unwrap());
    let server = Server::start_with(&data.path().join("data"), options);
    server.evoke(app.path(), &["deploy"]).ok();
    (server, app, data)
}

pub fn address(server: &Server) -> &str {
    server.data_url.strip_prefix("https://").unwrap()
}

#[test]
fn each_name_has_its_certificate_and_new_ones_come_into_use_while_connections_go_on() {
    let certificates = folder(&[]);
    let (a, a_cert) = pair(certificates.path(), "a.pem", &["a.test", "127.0.0.1"]);
    let (b, b_cert) = pair(certificates.path(), "b.pem", &["*.b.test"]);
    let (a_path, b_path) = (a.to_str().unwrap(), b.to_str().unwrap());
    let (server, _app, _data) = served(&["--tls-cert", a_path, "--tls-cert", b_path]);
    let address = address(&server);

    let mut silent = TcpStream::connect(address).unwrap();
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut first = connect(address, "a.test", &[&a_cert], &["http/1.1"]).unwrap();
    let said = get(&mut first, "");
    assert!(said.ends_with("127.0.0.1 -"), "{said}");
    connect(address, "x.b.test", &[&b_cert], &[]).unwrap();
    let two = connect(address, "a.test", &[&a_cert], &["h2", "http/1.1"]).unwrap();
    assert_eq!(two.conn.alpn_protocol(), Some(&b"h2"[..]));
    assert!(connect(address, "a.test", &[&b_cert], &[]).is_err(), "a.test showed the certificate of b.test");
    // Who names nobody, or somebody else, is shown the first.
    connect(address, "127.0.0.1", &[&a_cert], &[]).unwrap();
    let other = connect(address, "other.test", &[&a_cert], &[]).map(drop).unwrap_err();
    assert!(other.contains("not valid for name"), "{other}");
    // And who asks as an ACME server does is shown nothing: no certificate is being got.
    let asked = connect(address, "a.test", &[&a_cert], &["acme-tls/1"]).map(drop);
    assert!(asked.is_err(), "a question of an ACME server was answered");
    let mut plain = TcpStream::connect(address).unwrap();
    plain.write_all(b"GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "a request without TLS was answered");
    // Who does not shake hands at all is sent away.
    assert_eq!(silent.read_to_end(&mut Vec::new()).unwrap(), 0);

    let (_, new) = pair(certificates.path(), "a.pem", &["a.test"]);
    server.running.signal("HUP");
    eventually("the new certificate", || connect(address, "a.test", &[&new], &[]).ok().map(drop));
    assert!(get(&mut first, "").ends_with("127.0.0.1 -"));
    // What cannot be read changes nothing.
    std::fs::write(&a, "nothing").unwrap();
    server.running.signal("HUP");
    let mut server = server;
    server.running.wait_for_talk("were not read again");
    connect(server.data_url.strip_prefix("https://").unwrap(), "a.test", &[&new], &[]).unwrap();
    assert_eq!(server.stop().code, 0);
}

#[test]
fn http_leads_to_https_and_only_a_trusted_proxy_says_who_the_client_is() {
    let certificates = folder(&[]);
    let (a, a_cert) = pair(certificates.path(), "a.pem", &["a.test"]);
    let redirect = format!("127.0.0.1:{}", crate::acme::free_port());
    let (server, _app, _data) = served(&[
        "--tls-cert",
        a.to_str().unwrap(),
        "--tls-redirect",
        &redirect,
        "--trusted-proxy",
        "127.0.0.0/8",
    ]);
    let mut stream = TcpStream::connect(&redirect).unwrap();
    write!(stream, "GET /a?b HTTP/1.1\r\nHost: a.test:80\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let https = address(&server).rsplit_once(':').unwrap().1;
    assert!(
        answer.starts_with("HTTP/1.1 308")
            && answer.contains(&format!("location: https://a.test:{https}/a?b\r\n")),
        "{answer}"
    );
    // What nobody was told to show is a path like any other.
    let mut stream = TcpStream::connect(&redirect).unwrap();
    let path = "/.well-known/acme-challenge/token";
    write!(stream, "GET {path} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 308"), "{answer}");
    let mut client = connect(address(&server), "a.test", &[&a_cert], &[]).unwrap();
    assert!(get(&mut client, "X-Forwarded-For: 6.6.6.6, 9.9.9.9\r\n").contains("9.9.9.9"));
}

#[test]
fn what_is_wrong_with_a_certificate_is_said_before_anything_starts() {
    let files = folder(&[("empty.pem", "")]);
    let (a, _) = pair(files.path(), "a.pem", &["a.test"]);
    let (b, _) = pair(files.path(), "b.pem", &["b.test"]);
    let (a, b) = (a.to_str().unwrap(), b.to_str().unwrap());
    for (options, said) in [
        (&["--tls-cert", "absent.pem"][..], "absent.pem: No such file"),
        (&["--tls-cert", "empty.pem"], "empty.pem has no certificate in PEM form"),
        (&["--tls-cert", a, "--tls-key", b], "is not the key of the first certificate"),
        (&["--tls-cert", a, "--tls-key", "empty.pem"], "has no private key that can be used"),
        (&["--tls-cert", a, "--tls-key", a, "--tls-key", b], "--tls-key 2 times"),
        (&["--tls-redirect", "127.0.0.1:0"], "needs a certificate"),
    ] {
        let args = ["serve", "--data", "data", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
        let done = evoke(files.path(), &[&args[..], options].concat());
        assert!(done.code != 0 && done.stderr.contains(said), "{options:?}: {}", done.whole());
    }
}

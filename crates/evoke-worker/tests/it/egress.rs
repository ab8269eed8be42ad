//! What functions reach of the network, and what they are told when they do not: real clients in the functions, real
//! servers on this machine, names out of a table.

use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use evoke_core::egress::{AddressPolicy, AllowList};
use evoke_core::record::LogStream;
use evoke_core::runtime::InstanceSpec;
use evoke_worker::{Options, ProcessRuntime, Resolver};

use crate::support::*;

const LOOPBACK: &str = "127.0.0.0/8";

/// The servers of `egress/servers.py`.
struct Servers {
    process: Child,
    ports: serde_json::Value,
    mails: mpsc::Receiver<String>,
}

impl Servers {
    fn start() -> Self {
        let script = folder().join("servers.py");
        let python = venv().join("bin/python");
        let mut process =
            Command::new(python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let ports = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        let (said, mails) = mpsc::channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| said.send(line)));
        Self { process, ports, mails }
    }

    fn port(&self, name: &str) -> u16 {
        u16::try_from(self.ports[name].as_u64().unwrap()).unwrap()
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/egress")
}

fn own_file(name: &str) -> (String, String) {
    (name.to_owned(), std::fs::read_to_string(folder().join(name)).unwrap())
}

/// Where `scripts/tools` puts the test-only Python packages.
fn venv() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let target = test.ancestors().find(|path| path.ends_with("debug") || path.ends_with("release")).unwrap();
    let target = target.parent().unwrap();
    let venv = target.join("venv");
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/requirements.txt");
    let same = std::fs::read(venv.join("installed.txt")).ok() == std::fs::read(list).ok();
    assert!(same, "the test-only Python packages are not in {}: run scripts/tools", venv.display());
    venv
}

/// The Python packages a function brings along, below `packages/`: path and content of every file that is text.
fn packages() -> Vec<(String, String)> {
    const NAMES: [&str; 10] = [
        "anyio",
        "certifi",
        "charset_normalizer",
        "h11",
        "httpcore",
        "httpx",
        "idna",
        "requests",
        "typing_extensions.py",
        "urllib3",
    ];
    let lib = std::fs::read_dir(venv().join("lib")).unwrap().next().unwrap().unwrap().path();
    let site = lib.join("site-packages");
    let mut files = Vec::new();
    let mut left: Vec<PathBuf> = NAMES.iter().map(|name| site.join(name)).collect();
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if let Ok(text) = std::fs::read_to_string(&path) {
            files.push((format!("packages/{}", path.strip_prefix(&site).unwrap().display()), text));
        }
    }
    files
}

/// A host on which these names have these addresses, and nothing else has any.
async fn host(names: &[(&str, &str)], opened: &[&str]) -> Host {
    host_with(names, opened, |_| {}).await
}

async fn host_with(names: &[(&str, &str)], opened: &[&str], change: impl FnOnce(&mut Options)) -> Host {
    let dir = tempfile::tempdir().unwrap();
    let mut options = Options::new(dir.path().join("workers"), vec![LAUNCHER.into()]);
    let address = |text: &str| vec![text.parse::<IpAddr>().unwrap()];
    options.resolver =
        Resolver::Table(names.iter().map(|(name, text)| ((*name).to_owned(), address(text))).collect());
    options.addresses = AddressPolicy { opened: opened.iter().map(|text| text.parse().unwrap()).collect() };
    change(&mut options);
    Host { runtime: ProcessRuntime::start(options).await.unwrap(), dir }
}

fn list<T: AsRef<str>>(entries: &[T]) -> AllowList {
    entries.iter().map(|entry| entry.as_ref().parse().unwrap()).collect()
}

impl Host {
    /// An instance of `source`, named after the extension, that may connect to these.
    async fn guest_with(&self, name: &str, source: &str, egress: AllowList, env: &[(&str, &str)]) -> Guest {
        self.guest_of(&[(name, source)], egress, env).await
    }

    async fn guest_of(&self, files: &[(&str, &str)], egress: AllowList, env: &[(&str, &str)]) -> Guest {
        let spec = self.prepare(files).await.unwrap();
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.start_spec(InstanceSpec { egress, env, ..spec }).await.unwrap()
    }
}

/// A function that dials `host:port` of the query, sends "ping", ends, and answers with what came back.
const DIAL: &str = "
import errno
import socket

def handler(event, context):
    query = event['queryStringParameters']
    try:
        with socket.create_connection((query['host'], int(query['port'])), timeout=5) as there:
            there.sendall(b'ping')
            there.shutdown(socket.SHUT_WR)
            return there.makefile('rb').read().decode()
    except OSError as error:
        # A reset that comes before the shutdown.
        return 'ConnectionResetError' if error.errno == errno.ENOTCONN else type(error).__name__
";

impl Guest {
    /// What the function of [`DIAL`] answered, and what the platform said in its log.
    async fn dial(&mut self, host: &str, port: u16) -> (String, Vec<String>) {
        let outcome = self.get(&format!("/?host={host}&port={port}")).await;
        let told = outcome.lines(LogStream::Platform).into_iter().map(str::to_owned).collect();
        (outcome.said(), told)
    }
}

impl Outcome {
    /// The string a handler returned.
    fn said(&self) -> String {
        self.answer().json().as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn python_clients_work_unchanged() {
    let servers = Servers::start();
    let host =
        host(&[("api.example.test", "127.0.0.1"), ("mail.example.test", "127.0.0.1")], &[LOOPBACK]).await;
    let [http, https, smtp, echo] = ["http", "https", "smtp", "echo"].map(|name| servers.port(name));
    let egress = list(&[
        format!("api.example.test:{http}"),
        format!("api.example.test:{https}"),
        format!("mail.example.test:{smtp}"),
        format!("*.example.test:{echo}"),
    ]);
    let env = [
        ("HTTP", http.to_string()),
        ("HTTPS", https.to_string()),
        ("SMTP", smtp.to_string()),
        ("ECHO", echo.to_string()),
    ];
    let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let files: Vec<(String, String)> =
        ["clients.py", "ca.pem"].map(own_file).into_iter().chain(packages()).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let mut guest = host.guest_of(&files, egress, &env).await;
    let outcome = guest.get("/").await;
    assert_eq!(outcome.lines(LogStream::Platform), [""; 0], "{outcome:#?}");
    let answers = outcome.answer().json();
    for client in ["urllib", "urllib tls", "requests", "requests tls", "httpx", "httpx tls", "http.client"] {
        assert_eq!(answers[client], "api.example.test /page", "{client}");
    }
    assert_eq!(answers["socket"], "ping bye");
    let mail = servers.mails.recv_timeout(PATIENCE).unwrap();
    assert!(mail.contains("b@example.test"), "{mail}");
}

#[tokio::test]
async fn node_clients_work_unchanged() {
    let servers = Servers::start();
    let host = host(&[("api.example.test", "127.0.0.1")], &[LOOPBACK]).await;
    let [http, https, echo] = ["http", "https", "echo"].map(|name| servers.port(name));
    let egress = list(&[http, https, echo].map(|port| format!("api.example.test:{port}")));
    let env = [
        // Beside the function's source, where it starts.
        ("NODE_EXTRA_CA_CERTS", "ca.pem".to_owned()),
        ("HTTP", http.to_string()),
        ("HTTPS", https.to_string()),
        ("ECHO", echo.to_string()),
    ];
    let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let files = ["clients.mjs", "ca.pem"].map(own_file);
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let mut guest = host.guest_of(&files, egress, &env).await;
    let outcome = guest.get("/").await;
    assert_eq!(outcome.lines(LogStream::Platform), [""; 0], "{outcome:#?}");
    let answers = outcome.answer().json();
    for client in ["fetch", "fetch tls", "http", "https"] {
        assert_eq!(answers[client], "api.example.test /page", "{client}");
    }
    assert_eq!((&answers["net"], &answers["resolver"]), (&"ping bye".into(), &true.into()));
}

#[tokio::test]
async fn a_refused_call_names_the_line_to_add() {
    let host = host(&[], &[]).await;
    let egress = list(&["other.example.test:443", "api.example.test:80"]);
    let mut guest = host.guest_with("dial.py", DIAL, egress, &[]).await;
    let line = |to: &str| {
        format!("egress to {to} was refused: add \"{to}\" to egress in [functions.sample] of evoke.toml")
    };
    // A port nobody listens on, and one that another entry has.
    for (port, error) in [(8443, "ConnectionRefusedError"), (443, "ConnectionResetError")] {
        let (answer, told) = guest.dial("api.example.test", port).await;
        assert_eq!((answer.as_str(), told), (error, vec![line(&format!("api.example.test:{port}"))]));
    }
    let (answer, told) = guest.dial("8.8.8.8", 53).await;
    assert_eq!((answer.as_str(), told), ("ConnectionRefusedError", vec![line("8.8.8.8:53")]));
    let (_, told) = guest.dial("2606:4700::1111", 8443).await;
    assert_eq!(told, [line("[2606:4700::1111]:8443")]);
    let (_, told) = guest.dial("2606:4700::1111", 443).await;
    assert_eq!(told, [line("[2606:4700::1111]:443")]);
    let (_, told) = guest.dial("169.254.169.254", 80).await;
    assert_eq!(
        told,
        [line("169.254.169.254:80") + "; the server must be started with --egress-allow 169.254.169.254 too"]
    );
    // Each call hears it anew, once.
    let (_, told) = guest.dial("8.8.8.8", 53).await;
    assert_eq!(told, [line("8.8.8.8:53")]);
}

#[tokio::test]
async fn a_listed_name_does_not_open_an_address_that_is_closed() {
    let servers = Servers::start();
    let echo = servers.port("echo");
    let names = [("inside.example.test", "127.0.0.1"), ("mapped.example.test", "::ffff:127.0.0.1")];
    let host = host(&names, &[]).await;
    let egress = list(&[format!("*:{echo}")]);
    let mut guest = host.guest_with("dial.py", DIAL, egress, &[]).await;
    let (answer, told) = guest.dial("inside.example.test", echo).await;
    assert_eq!(answer, "ConnectionResetError");
    assert_eq!(
        told,
        [format!(
            "egress to inside.example.test:{echo} was refused: 127.0.0.1 is a loopback address; the server must be started with --egress-allow 127.0.0.1"
        )]
    );
    for (name, what) in [("mapped.example.test", "a v4-mapped address"), ("127.0.0.1", "a loopback address")]
    {
        let (answer, told) = guest.dial(name, echo).await;
        assert_eq!(answer, "ConnectionResetError", "{name}");
        assert!(told[0].contains(what), "{told:?}");
    }
}

#[tokio::test]
async fn nothing_of_the_host_is_on_a_functions_loopback() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let host = host(&[], &[LOOPBACK]).await;
    let mut guest = host.guest_with("dial.py", DIAL, list(&[format!("x.example.test:{port}")]), &[]).await;
    let (answer, _) = guest.dial("127.0.0.1", port).await;
    assert_eq!(answer, "ConnectionResetError");
    let mut other = host.guest_with("dial.py", DIAL, AllowList::default(), &[]).await;
    let (answer, _) = other.dial("127.0.0.1", port).await;
    assert_eq!(answer, "ConnectionRefusedError");
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn an_address_or_localhost_of_the_list_is_that_of_the_host() {
    let servers = Servers::start();
    let echo = servers.port("echo");
    for entry in ["127.0.0.1", "127.0.0.0/8"] {
        let host = host(&[], &[LOOPBACK]).await;
        let mut guest = host.guest_with("dial.py", DIAL, list(&[format!("{entry}:{echo}")]), &[]).await;
        assert_eq!(guest.dial("127.0.0.1", echo).await, ("ping bye".to_owned(), vec![]), "{entry}");
    }
    let host = host(&[("localhost", "127.0.0.1")], &[LOOPBACK]).await;
    let mut guest = host.guest_with("dial.py", DIAL, list(&[format!("localhost:{echo}")]), &[]).await;
    assert_eq!(guest.dial("localhost", echo).await, ("ping bye".to_owned(), vec![]));
}

#[tokio::test]
async fn what_cannot_be_reached_is_told_with_the_reason() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let host = host(&[("api.example.test", "127.0.0.1")], &[LOOPBACK]).await;
    let mut guest = host.guest_with("dial.py", DIAL, list(&[format!("*:{free}")]), &[]).await;
    let (answer, told) = guest.dial("api.example.test", free).await;
    assert_eq!(answer, "ConnectionResetError");
    assert_eq!(told, [format!("egress to api.example.test:{free} failed: 127.0.0.1: connection refused")]);
    let (_, told) = guest.dial("absent.example.test", free).await;
    assert_eq!(told, [format!("egress to absent.example.test:{free} failed: no address: entity not found")]);
}

#[tokio::test]
async fn a_function_that_does_not_load_for_want_of_egress_says_so() {
    let host = host(&[], &[]).await;
    let source =
        "import socket\nsocket.create_connection(('db.example.test', 5432))\ndef handler(e, c): pass\n";
    let failure = host.refused(&[("db.py", source)]).await;
    assert!(failure.message.contains("ConnectionRefusedError"), "{failure:?}");
    assert!(
        failure.message.ends_with(
            "\negress to db.example.test:5432 was refused: add \"db.example.test:5432\" to egress in [functions.sample] of evoke.toml"
        ),
        "{failure:?}"
    );
}

#[tokio::test]
async fn connections_of_an_instance_are_bounded() {
    let servers = Servers::start();
    let echo = servers.port("echo");
    let host = host_with(&[("api.example.test", "127.0.0.1")], &[LOOPBACK], |options| {
        options.limits.egress_connections = 3;
    })
    .await;
    let source = "
import socket

def handler(event, context):
    port = int(event['queryStringParameters']['port'])
    held, ended = [], 0
    for _ in range(3):
        held.append(socket.create_connection(('api.example.test', port)))
        held[-1].sendall(b'x')
        held[-1].recv(1)
    try:
        extra = socket.create_connection(('api.example.test', port))
        extra.recv(1)
    except ConnectionResetError:
        ended += 1
    return str(ended)
";
    let mut guest =
        host.guest_with("many.py", source, list(&[format!("api.example.test:{echo}")]), &[]).await;
    let outcome = guest.get(&format!("/?port={echo}")).await;
    assert_eq!(outcome.said(), "1", "{outcome:#?}");
    let told = outcome.lines(LogStream::Platform);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].ends_with("3 connections of this instance are open, which is the limit"), "{told:?}");
}

#[tokio::test]
async fn a_connection_that_carries_nothing_is_ended() {
    let servers = Servers::start();
    let echo = servers.port("echo");
    let host = host_with(&[("api.example.test", "127.0.0.1")], &[LOOPBACK], |options| {
        options.limits.egress_idle = ENOUGH;
    })
    .await;
    let source = "
import socket

def handler(event, context):
    with socket.create_connection(('api.example.test', int(event['queryStringParameters']['port']))) as there:
        there.sendall(b'x')
        there.recv(1)
        try:
            return repr(there.recv(1))
        except ConnectionResetError:
            return 'reset'
";
    let mut guest =
        host.guest_with("idle.py", source, list(&[format!("api.example.test:{echo}")]), &[]).await;
    assert_eq!(guest.get(&format!("/?port={echo}")).await.said(), "reset");
}

#[tokio::test]
async fn names_the_system_knows_are_found() {
    let servers = Servers::start();
    let echo = servers.port("echo");
    let host = host_with(&[], &[LOOPBACK, "::1"], |options| options.resolver = Resolver::System).await;
    let egress = list(&[format!("localhost:{echo}"), format!("absent.invalid:{echo}")]);
    let mut guest = host.guest_with("dial.py", DIAL, egress, &[]).await;
    assert_eq!(guest.dial("localhost", echo).await, ("ping bye".to_owned(), vec![]));
    let (_, told) = guest.dial("absent.invalid", echo).await;
    assert!(told[0].starts_with(&format!("egress to absent.invalid:{echo} failed: ")), "{told:?}");
}

#[tokio::test]
async fn a_megabyte_goes_there_and_back() {
    let servers = Servers::start();
    let echo = servers.port("echo");
    let host = host(&[("api.example.test", "127.0.0.1")], &[LOOPBACK]).await;
    let source = "
import hashlib, os, socket, threading

def handler(event, context):
    data = os.urandom(1 << 20)
    with socket.create_connection(('api.example.test', int(event['queryStringParameters']['port']))) as there:
        def send():
            there.sendall(data)
            there.shutdown(socket.SHUT_WR)
        sender = threading.Thread(target=send)
        sender.start()
        back = there.makefile('rb').read()
        sender.join()
    return str(back == data + b' bye')
";
    let mut guest =
        host.guest_with("bulk.py", source, list(&[format!("api.example.test:{echo}")]), &[]).await;
    assert_eq!(guest.get(&format!("/?port={echo}")).await.said(), "True");
}

/// The listeners are the host's, but they are in the function's namespace: so ports below 1024 need no privilege.
#[tokio::test]
async fn two_functions_can_list_the_same_privileged_port() {
    let host = host(&[("mail.example.test", "10.0.0.1")], &[]).await;
    for _ in 0..2 {
        let mut guest = host.guest_with("dial.py", DIAL, list(&["mail.example.test:25"]), &[]).await;
        let (_, told) = guest.dial("mail.example.test", 25).await;
        assert!(told[0].contains("10.0.0.1 is a private address"), "{told:?}");
    }
}

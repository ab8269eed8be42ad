//! The server, what is behind its routes, and how a table of cases is gone through.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;

use tempfile::TempDir;

use super::upstream::Upstream;
use crate::evoke::{PATIENCE, Server, folder};

/// One case of a family. The bytes name paths below `/up/`.
pub struct Case {
    pub name: &'static str,
    pub bytes: &'static [u8],
    /// The statuses of the answers, in order.
    pub answers: &'static [u16],
    /// Method and path, below `/up`, of what is let through. What was broken off on its way need not have arrived.
    pub seen: &'static [&'static str],
    pub then: Then,
}

/// What becomes of the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Then {
    Closed,
    /// The next request on it is answered.
    Open,
}
pub use Then::{Closed, Open};

/// A case in one line.
pub const fn case(
    name: &'static str,
    bytes: &'static [u8],
    answers: &'static [u16],
    seen: &'static [&'static str],
    then: Then,
) -> Case {
    Case { name, bytes, answers, seen, then }
}

/// A case that is refused: nothing of it is let through, and the connection ends.
pub const fn refused(name: &'static str, bytes: &'static [u8], status: &'static [u16]) -> Case {
    case(name, bytes, status, &[], Closed)
}

pub struct Rig {
    pub server: Server,
    pub upstream: Upstream,
    _folders: (TempDir, TempDir),
}

const COUNT: &str = "SEEN = []
def handler(event, context):
    path, method = event['rawPath'], event['requestContext']['http']['method']
    if path == '/fn/seen':
        seen, SEEN[:] = list(SEEN), []
        return {'statusCode': 200, 'body': '\\n'.join(seen)}
    SEEN.append(method + ' ' + path.removeprefix('/fn'))
    return {'statusCode': 200, 'body': 'ok'}
";

pub fn ok(_: &str) -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()
}

impl Rig {
    pub fn new(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let upstream = Upstream::answering(answer);
        let manifest = format!(
            "evoke = \"1\"\n[app]\nname = \"wire\"\n[functions.count]\nsource = \"count.py\"\nconcurrency = 1\n\
             [[routes]]\npath = \"/up/{{*rest}}\"\nto = \"http://127.0.0.1:{}\"\nretries = 0\ntimeout = \"5s\"\n\
             [[routes]]\npath = \"/fn/{{*rest}}\"\nto = \"count\"\n",
            upstream.port
        );
        let app = folder(&[("evoke.toml", &manifest), ("count.py", COUNT)]);
        let data = tempfile::tempdir().unwrap();
        let server = Server::start_with(&data.path().join("data"), &["--egress-allow", "127.0.0.0/8"]);
        server.evoke(app.path(), &["deploy"]).ok();
        Self { server, upstream, _folders: (app, data) }
    }

    /// Goes through a table.
    pub fn hold(&self, cases: &[Case]) {
        let mut wrong = Vec::new();
        for case in cases {
            wrong.extend(self.at_upstream(case).map(|why| format!("{}, upstream: {why}", case.name)));
            wrong.extend(self.at_function(case).map(|why| format!("{}, function: {why}", case.name)));
            if case.seen.is_empty() {
                wrong.extend(self.at_control(case).map(|why| format!("{}, control: {why}", case.name)));
            }
        }
        assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    }

    fn at_upstream(&self, case: &Case) -> Option<String> {
        self.upstream.take();
        let said = talk(&self.server.data_url, case.bytes, case.answers.len(), case.then);
        let seen = self.upstream.take();
        if !seen.odd.is_empty() {
            return Some(format!("it was sent what is no request: {:?}", seen.odd));
        }
        let lines = seen.requests.iter().filter_map(|request| {
            let mut words = request.split(' ');
            Some(format!("{} {}", words.next()?, words.next()?.strip_prefix("/up")?))
        });
        differs(case, said, lines.filter(|line| line != PROBE).collect())
    }

    fn at_function(&self, case: &Case) -> Option<String> {
        let bytes = replaced(case.bytes, b"/up/", b"/fn/");
        let said = talk(&self.server.data_url, &bytes, case.answers.len(), case.then);
        let seen = self.server.http("GET", "/fn/seen", "").body;
        let lines = seen.lines().filter(|line| *line != PROBE).map(str::to_owned).collect();
        differs(case, said, lines)
    }

    fn at_control(&self, case: &Case) -> Option<String> {
        let (statuses, _) = talk(&self.server.admin_url, case.bytes, case.answers.len(), case.then);
        // What is wrong with the form of a request counts before who it is for; a body may not have been looked at.
        (case.then == Closed && statuses != case.answers && statuses != [421])
            .then(|| format!("answered {statuses:?}"))
    }
}

const PROBE: &str = "GET /probe";

fn differs(case: &Case, (statuses, then): (Vec<u16>, Then), seen: Vec<String>) -> Option<String> {
    let same = statuses == case.answers && then == case.then && seen == case.seen;
    (!same).then(|| format!("answered {statuses:?}, {then:?}, let through {seen:?}"))
}

pub fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for at in 0..bytes.len().saturating_sub(from.len()) {
        if bytes[at..].starts_with(from) {
            out[at..at + to.len()].copy_from_slice(to);
        }
    }
    out
}

/// Sends bytes; the statuses of what is answered, and what becomes of the connection.
pub fn talk(url: &str, bytes: &[u8], answers: usize, then: Then) -> (Vec<u16>, Then) {
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // A server that refuses may do so before it has read all.
    let _ = stream.write_all(bytes);
    let mut read = Answers::default();
    if then == Closed {
        let end = read.until(&mut stream, usize::MAX);
        return (read.statuses, end);
    }
    if read.until(&mut stream, answers) == Closed {
        return (read.statuses, Closed);
    }
    let probe = b"GET /up/probe HTTP/1.1\r\nHost: probe\r\n\r\n";
    let probe = replaced(probe, b"/up/", if contains(bytes, b"/fn/") { b"/fn/" } else { b"/up/" });
    let _ = stream.write_all(&probe);
    let end = read.until(&mut stream, answers + 1);
    let probed = read.statuses.split_off(answers.min(read.statuses.len()));
    (read.statuses, if end == Open && probed == [200] { Open } else { Closed })
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|part| part == text)
}

/// Answers as they come, read as a client does.
#[derive(Default)]
struct Answers {
    held: Vec<u8>,
    statuses: Vec<u16>,
}

impl Answers {
    /// Reads until there are so many, or the end.
    fn until(&mut self, stream: &mut TcpStream, count: usize) -> Then {
        while self.statuses.len() < count {
            if let Some(length) = self.first() {
                self.held.drain(..length);
                continue;
            }
            let mut bytes = [0; 16384];
            match stream.read(&mut bytes) {
                Ok(read @ 1..) => self.held.extend_from_slice(&bytes[..read]),
                Ok(_) => return Closed,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Closed,
                // All stood still for a while: a read that has a limit is not taken up again by itself.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("{error}; answered so far: {:?}", self.statuses),
            }
        }
        Open
    }

    fn first(&mut self) -> Option<usize> {
        let end = self.held.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&self.held[..end]).to_ascii_lowercase();
        let status: u16 = head.split(' ').nth(1)?.parse().ok()?;
        let field = |name: &str| {
            head.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
        };
        let whole = match field("content-length:") {
            _ if status < 200 => end,
            Some(length) => end + length.parse::<usize>().ok()?,
            None if field("transfer-encoding:").is_some() => {
                end + self.held[end..].windows(5).position(|five| five == b"0\r\n\r\n")? + 5
            }
            None => end,
        };
        if self.held.len() < whole {
            return None;
        }
        self.statuses.push(status);
        Some(whole)
    }
}

//! The executable under test: one command, a running server, the folders of apps.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take before a test says that it does not happen.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What a command said and how it ended.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// The one JSON value on stdout.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// All of it, as a snapshot.
    pub fn whole(&self) -> String {
        format!("exit {}\n--- stdout\n{}--- stderr\n{}", self.code, self.stdout, self.stderr)
    }
}

/// The executable without anything of the tester's own settings.
pub fn command(cwd: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evoke"));
    for (name, _) in
        std::env::vars().filter(|(name, _)| name.starts_with("EVOKE_") && name != "EVOKE_TEST_MARK")
    {
        command.env_remove(name);
    }
    command.current_dir(cwd).env_remove("NO_COLOR").env("COLUMNS", "100").stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Said {
    let done = command.output().unwrap();
    Said {
        code: done.status.code().unwrap_or(-1),
        stdout: String::from_utf8(done.stdout).unwrap(),
        stderr: String::from_utf8(done.stderr).unwrap(),
    }
}

/// `evoke ARGS` in a folder.
pub fn evoke(cwd: &Path, args: &[&str]) -> Said {
    run(command(cwd).args(args))
}

/// A folder with these files.
pub fn folder(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        write(dir.path(), path, text);
    }
    dir
}

/// Writes a file below a folder, as an editor does: all at once.
pub fn write(dir: &Path, path: &str, text: &str) {
    let path = dir.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let new = path.with_extension("saving");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(&new, &path).unwrap();
}

/// Asks again until it is so.
#[track_caller]
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = now();
    let (_never, pause) = channel::<()>();
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        let _ = pause.recv_timeout(Duration::from_millis(20));
    }
}

#[expect(clippy::disallowed_methods, reason = "processes do not know of paused time")]
pub fn now() -> Instant {
    Instant::now()
}

/// A process of the executable that goes on, with what it has said so far.
pub struct Running {
    child: Child,
    lines: Receiver<Line>,
    pub stdout: String,
    pub stderr: String,
}

enum Line {
    Stdout(String),
    Stderr(String),
}

impl Running {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (to, lines) = channel();
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let to_stderr = to.clone();
        read_lines(stdout, move |line| drop(to.send(Line::Stdout(line))));
        read_lines(stderr, move |line| drop(to_stderr.send(Line::Stderr(line))));
        Self { child, lines, stdout: String::new(), stderr: String::new() }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `found` in what it said.
    #[track_caller]
    pub fn wait_for<T>(&mut self, what: &str, mut found: impl FnMut(&Self) -> Option<T>) -> T {
        let begun = now();
        loop {
            if let Some(found) = found(self) {
                return found;
            }
            let left = PATIENCE.saturating_sub(begun.elapsed());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.take(line),
                Err(_) => panic!("{what}: did not come\nstdout:\n{}\nstderr:\n{}", self.stdout, self.stderr),
            }
        }
    }

    /// Waits for a text on stderr.
    #[track_caller]
    pub fn wait_for_talk(&mut self, text: &str) {
        self.wait_for(text, |running| running.stderr.contains(text).then_some(()));
    }

    pub fn signal(&self, name: &str) {
        let done =
            Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status().unwrap();
        assert!(done.success());
    }

    /// Waits for its end, and that none of its descendants is left.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let below = descendants(self.pid());
        let status = eventually("the end of the process", || self.child.try_wait().unwrap());
        eventually("the end of its children", || below.iter().all(|pid| is_gone(*pid)).then_some(()));
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            self.take(line);
        }
        status
    }

    fn take(&mut self, line: Line) {
        match line {
            Line::Stdout(line) => self.stdout.push_str(&line),
            Line::Stderr(line) => self.stderr.push_str(&line),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_lines(from: impl Read + Send + 'static, mut take: impl FnMut(String) + Send + 'static) {
    std::thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while from.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            take(String::from_utf8_lossy(&std::mem::take(&mut line)).into_owned());
        }
    });
}

/// All processes below one.
pub fn descendants(pid: u32) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    let mut open = vec![pid];
    while let Some(pid) = open.pop() {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for task in tasks {
            let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            for child in children.split_whitespace().filter_map(|child| child.parse().ok()) {
                if found.insert(child) {
                    open.push(child);
                }
            }
        }
    }
    found
}

fn is_gone(pid: u32) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        // A zombie nobody has waited for yet is gone enough.
        Ok(stat) => stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')),
        Err(_) => true,
    }
}

/// `evoke serve` on a data folder of its own.
pub struct Server {
    pub running: Running,
    pub data: PathBuf,
    pub data_url: String,
    pub admin_url: String,
    _folder: Option<TempDir>,
}

impl Server {
    /// On a fresh data folder.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut server = Self::start_on(&folder.path().join("data"));
        server._folder = Some(folder);
        server
    }

    /// On a data folder that may have been used before.
    pub fn start_on(data: &Path) -> Self {
        Self::start_with(data, &[])
    }

    /// Another one on the data folder of this one, which has ended.
    pub fn again(self) -> Self {
        self.again_with(&[])
    }

    /// The same, with further options.
    pub fn again_with(mut self, options: &[&str]) -> Self {
        let mut next = Self::start_with(&self.data, options);
        next._folder = self._folder.take();
        next
    }

    /// The same, with further options.
    pub fn start_with(data: &Path, options: &[&str]) -> Self {
        Self::start_only(data, &[&["--listen", "127.0.0.1:0"], options].concat())
    }

    /// With these options, and a control listener.
    pub fn start_only(data: &Path, options: &[&str]) -> Self {
        let cwd = std::env::temp_dir();
        let mut command = command(&cwd);
        command.arg("serve").arg("--data").arg(data).args(["--admin", "127.0.0.1:0"]);
        command.args(options);
        let mut running = Running::start(&mut command);
        let [data_url, admin_url] = running.wait_for("both listeners", ready);
        Self { running, data: data.to_owned(), data_url, admin_url, _folder: None }
    }

    /// `evoke ARGS` against this server.
    pub fn command(&self, cwd: &Path, args: &[&str]) -> Command {
        let mut command = command(cwd);
        command.args(args).env("EVOKE_ADMIN", &self.admin_url).env("EVOKE_TOKEN", self.token());
        command
    }

    pub fn evoke(&self, cwd: &Path, args: &[&str]) -> Said {
        run(&mut self.command(cwd, args))
    }

    pub fn token(&self) -> String {
        std::fs::read_to_string(self.data.join("admin.token")).unwrap().trim().to_owned()
    }

    /// Accepts a batch of events, a JSON array.
    pub fn publish(&self, app: &str, batch: &str) {
        let address = self.admin_url.strip_prefix("http://").unwrap();
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let (token, length) = (self.token(), batch.len());
        write!(
            stream,
            "POST /v1/apps/{app}/events HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
             connection: close\r\ncontent-type: application/cloudevents-batch+json\r\n\
             content-length: {length}\r\n\r\n{batch}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    }

    /// A request to the data listener.
    pub fn http(&self, method: &str, path: &str, body: &str) -> Answer {
        http(&self.data_url, method, path, body)
    }

    /// SIGTERM, and the end.
    pub fn stop(mut self) -> Said {
        self.running.signal("TERM");
        let status = self.running.wait();
        let (stdout, stderr) = (self.running.stdout.clone(), self.running.stderr.clone());
        Said { code: status.code().unwrap_or(-1), stdout, stderr }
    }
}

/// The URLs of both listeners, once they are said.
pub fn ready(running: &Running) -> Option<[String; 2]> {
    let url = |name: &str| {
        let line = format!("evoke: {name} listener ready on ");
        running.stdout.lines().find_map(|said| said.strip_prefix(&line)).map(str::to_owned)
    };
    Some([url("data")?, url("admin")?])
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Status line and header fields.
    pub head: String,
    pub body: String,
}

/// One HTTP/1.1 request on a connection of its own.
pub fn http(base: &str, method: &str, path: &str, body: &str) -> Answer {
    http_with(base, method, path, "", body)
}

/// The same with these further header fields, each with its line end.
pub fn http_with(base: &str, method: &str, path: &str, fields: &str, body: &str) -> Answer {
    let address = base.strip_prefix("http://").unwrap();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: application/json\r\n\
         {fields}content-length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    let all = String::from_utf8_lossy(&all).into_owned();
    let (head, body) = all.split_once("\r\n\r\n").unwrap_or((&all, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let body = if head.to_lowercase().contains("transfer-encoding: chunked") {
        dechunk(body)
    } else {
        body.to_owned()
    };
    Answer { status, head: head.to_owned(), body }
}

fn dechunk(mut text: &str) -> String {
    let mut body = String::new();
    while let Some((size, rest)) = text.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        body.push_str(&rest[..size]);
        text = rest[size..].trim_start_matches("\r\n");
        if size == 0 {
            break;
        }
    }
    body
}

/// Takes out of a text what is different every time: ids, ports, times, folders.
pub fn redact(text: &str, folders: &[&Path]) -> String {
    let mut text = text.to_owned();
    for folder in folders {
        for folder in [folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf()), folder.to_path_buf()] {
            text = text.replace(&folder.display().to_string(), "[folder]");
        }
    }
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(at) =
        rest.char_indices().find_map(|(at, _)| redaction(&rest[at..], &rest[..at]).map(|r| (at, r)))
    {
        let (at, (length, name)) = at;
        out.push_str(&rest[..at]);
        out.push_str(name);
        rest = &rest[at + length..];
    }
    out + rest
}

/// What to take out at the start of `text`: its length, and what stands there instead.
fn redaction(text: &str, before: &str) -> Option<(usize, &'static str)> {
    let run_of =
        |skip: usize, is: fn(char) -> bool| text[skip..].find(|c| !is(c)).unwrap_or(text.len() - skip);
    for (prefix, name) in [("run_", "[run]"), ("evt_", "[event]")] {
        if text.starts_with(prefix) {
            let length = run_of(4, |c| c.is_ascii_alphanumeric());
            if length == 26 {
                return Some((30, name));
            }
        }
    }
    if let Some(port) = text.strip_prefix("127.0.0.1:") {
        let length = run_of(10, |c| c.is_ascii_digit());
        return (length > 0 && !port.starts_with('0')).then_some((10 + length, "[address]"));
    }
    if before.ends_with("process ") {
        let length = run_of(0, |c| c.is_ascii_digit());
        return (length > 0).then_some((length, "[pid]"));
    }
    None
}

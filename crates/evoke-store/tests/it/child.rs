//! Another process: this test binary again, running one ignored test as its main function.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// Names the data directory to the child.
pub const DIR: &str = "EVOKE_STORE_TEST_DIR";

/// A running child and its output.
pub struct Running {
    pub child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

/// Starts `test` (its full path in this binary) on `dir`, behind `sh -c` with `prelude`.
pub fn start(prelude: &str, test: &str, dir: &Path) -> Running {
    let binary = std::env::current_exe().unwrap();
    let script = format!("{prelude} exec \"$0\" --exact {test} --ignored --nocapture --test-threads 1");
    let mut child = Command::new("sh")
        .args(["-c", &script])
        .arg(binary)
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    Running { child, lines }
}

impl Running {
    /// The next line that is the child's own: `word rest`.
    pub fn line(&mut self) -> Option<(String, String)> {
        loop {
            let line = self.lines.next()?.ok()?;
            if let Some((word, rest)) = line.strip_prefix("> ").and_then(|line| line.split_once(' ')) {
                return Some((word.to_owned(), rest.to_owned()));
            }
        }
    }

    /// All further lines; waits for the child's end, which must be a good one.
    pub fn finish(mut self) -> Vec<(String, String)> {
        let lines = std::iter::from_fn(|| self.line()).collect();
        assert!(self.child.wait().unwrap().success(), "the child failed: {lines:?}");
        lines
    }
}

/// In the child: the data directory.
pub fn dir() -> std::path::PathBuf {
    std::env::var_os(DIR).expect("started by another test").into()
}

/// In the child: says something to the parent, at once and whole.
pub fn say(word: &str, rest: impl std::fmt::Display) {
    use std::io::Write;
    // The test harness leaves its own line open.
    let line = format!("\n> {word} {rest}\n");
    let mut out = std::io::stdout().lock();
    out.write_all(line.as_bytes()).unwrap();
    out.flush().unwrap();
}

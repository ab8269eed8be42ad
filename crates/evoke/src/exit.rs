//! How a command ends: its exit code, and the error that is shown when it is not 0.

use std::fmt;
use std::process::ExitCode;

use serde::Serialize;

/// What `--help` says about the environment and exit codes. More is in `docs/reference/cli.md`.
pub const AFTER_HELP: &str = "\
Environment:
  EVOKE_ADMIN    URL of the control listener, as --admin of the commands that talk to a server
  EVOKE_TOKEN    token of the control listener; otherwise read from the data folder of a local server
  EVOKE_DATA     data folder, as --data and --data-dir
  EVOKE_SANDBOX  auto or required, as --sandbox
  EVOKE_LOG      what the server says about itself on stderr: a level, or a list of them by module
  NO_COLOR       no colours, whatever the value

Exit codes:
  0  done
  1  it failed: the function, the app's files, or the server
  2  the command line or its input is wrong
  3  the server cannot be reached, or is shutting down
  4  there is no such app, function, event or run
  5  the server refused: wrong token, conflict, or a limit";

/// Exit codes; stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// The function, the app's files, or the server failed.
    Failed = 1,
    /// The command line or its input is wrong.
    Usage = 2,
    /// The server cannot be reached, or is shutting down.
    Unreachable = 3,
    /// No such app, function, event or run.
    NotFound = 4,
    /// Wrong token, conflict, or a limit.
    Refused = 5,
    /// A second Ctrl-C did not wait for the end.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// What a command returns.
pub type Result<T = Exit> = std::result::Result<T, Error>;

/// Why a command did not do what it was asked: what happened, why, and what helps.
#[derive(Debug)]
pub struct Error {
    /// How the process ends.
    pub exit: Exit,
    /// Stable, for programs: a code of this executable, or the `code` of the server's problem document.
    pub code: Box<str>,
    /// One sentence: what was tried, and what stood against it.
    pub message: Box<str>,
    /// What is wrong, one by one.
    pub details: Vec<Detail>,
    /// What to do about it.
    pub help: Option<Box<str>>,
}

/// One thing that is wrong.
#[derive(Debug, Default, Serialize)]
pub struct Detail {
    /// One sentence.
    pub message: String,
    /// The file, relative to the app's folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// From 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// From 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// What to do about it, or what more there is to know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The last lines of the tool that failed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub output: Vec<String>,
    /// All of it for a person, with the lines of the file in question.
    #[serde(skip)]
    pub excerpt: Option<String>,
}

impl From<String> for Detail {
    fn from(message: String) -> Self {
        Self { message, ..Self::default() }
    }
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            f.write_str(file)?;
            for number in [self.line, self.column].into_iter().flatten() {
                write!(f, ":{number}")?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.message)
    }
}

impl Error {
    /// An error without details.
    pub fn new(exit: Exit, code: impl Into<Box<str>>, message: impl Into<Box<str>>) -> Self {
        Self { exit, code: code.into(), message: message.into(), details: Vec::new(), help: None }
    }

    /// The input is wrong.
    pub fn usage(message: impl Into<Box<str>>) -> Self {
        Self::new(Exit::Usage, "usage", message)
    }

    /// It failed.
    pub fn failed(code: &str, message: impl Into<Box<str>>) -> Self {
        Self::new(Exit::Failed, code, message)
    }

    /// With what helps.
    #[must_use]
    pub fn help(mut self, help: impl Into<Box<str>>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// With one of the things that are wrong.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<Detail>) -> Self {
        self.details.push(detail.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// Only standard output is written with `?` on an [`std::io::Error`]; everything else says what it was doing.
impl From<std::io::Error> for Error {
    fn from(cause: std::io::Error) -> Self {
        if cause.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::new(Exit::Done, BROKEN_PIPE, "");
        }
        Self::failed("output", format!("standard output cannot be written: {cause}"))
    }
}

/// Whoever read standard output has enough: the end, but no error.
pub const BROKEN_PIPE: &str = "broken_pipe";

//! What a command says: data on stdout, talk on stderr.
//!
//! What others wrote is made safe for a terminal ([`shown`]): where it is printed as text, and once more at the end, where
//! nothing but colours passes.
//!
//! Colours appear only on a terminal, and never when `NO_COLOR` is set (`anstream` takes them out). A reader of stdout
//! that goes away ends the command quietly: see [`crate::exit::BROKEN_PIPE`].

mod agree;
pub mod shown;
pub mod table;
pub mod tree;
pub mod words;

use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;
use serde_json::json;

use crate::exit::{BROKEN_PIPE, Error, Exit};

pub use agree::agree;

/// How the user wants to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For a person.
    Text,
    /// For a program.
    Json,
}

impl Format {
    /// Whether a program reads.
    pub fn is_json(self) -> bool {
        self == Self::Json
    }

    /// Says something on stderr, to a person. A program is told what it needs to know on stdout.
    pub fn talk(self, line: impl std::fmt::Display) {
        if self == Self::Text {
            let _ = writeln!(anstream::stderr(), "{}", shown::styled(&line.to_string()));
        }
    }

    /// Shows why a command ended, on stderr. Returns how the process ends.
    pub fn failed(self, error: &Error) -> Exit {
        if &*error.code == BROKEN_PIPE {
            return error.exit;
        }
        let mut stderr = anstream::stderr().lock();
        let _ = match self {
            Self::Json => {
                writeln!(stderr, "{}", shown::json(&json!({ "error": describe(error) }).to_string()))
            }
            Self::Text => write!(stderr, "{}", shown::styled(&render(error))),
        };
        error.exit
    }
}

/// Prints a line of text on stdout.
pub fn line(text: impl std::fmt::Display) -> io::Result<()> {
    let mut stdout = anstream::stdout().lock();
    writeln!(stdout, "{}", shown::styled(&text.to_string()))?;
    stdout.flush()
}

/// Prints one JSON value as one line on stdout.
pub fn json(value: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_string(value)?;
    let mut stdout = io::stdout().lock();
    stdout.write_all(shown::json(&text).as_bytes())?;
    stdout.write_all(b"\n")?;
    stdout.flush()
}

/// Prints bytes as they are on stdout.
pub fn raw(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}

/// Says on stderr that a list goes on, and how to see more of it.
pub fn more(format: Format, next: Option<&str>) {
    if let Some(cursor) = next {
        format.talk(words::faint(format_args!("there may be more: --before {cursor}")));
    }
}

/// Whether a person looks at stdout.
pub fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// The error as a person reads it: the sentence, its details, and what helps.
pub fn render(error: &Error) -> String {
    let mut text = format!("{}: {}\n", words::bad("error"), shown::lines(&error.message));
    for detail in &error.details {
        // What has a place and one problem only is often the sentence itself.
        let said = *detail.to_string() == *error.message;
        match &detail.excerpt {
            Some(excerpt) => text.push_str(&format!("\n{excerpt}")),
            None if said => {}
            None => text.push_str(&format!("  {}\n", shown::lines(&detail.to_string()))),
        }
        let help = detail.help.iter().filter(|_| detail.excerpt.is_none()).flat_map(|help| help.lines());
        help.chain(detail.output.iter().map(String::as_str))
            .for_each(|line| text.push_str(&format!("    {}\n", shown::line(line))));
    }
    if let Some(help) = &error.help {
        text.push_str(&format!("  {}: {help}\n", words::good("help")));
    }
    text
}

fn describe(error: &Error) -> serde_json::Value {
    json!({
        "code": error.code, "message": error.message, "details": error.details, "help": error.help,
        "exit": error.exit as u8,
    })
}

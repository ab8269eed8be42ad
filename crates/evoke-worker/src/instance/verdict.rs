//! Failures in words: what a person is told about an exit, an error of the guest, a breach of the protocol.

use evoke_core::outcome::{Failure, FailureCode};

use crate::frame::FrameError;
use crate::frame::message::{CallError, InitError};
use crate::launcher::Exit;

/// Lines of standard error shown in a message.
const SHOWN_LINES: usize = 3;

/// What V8 writes before it aborts.
const OUT_OF_HEAP: [&str; 2] = ["JavaScript heap out of memory", "Allocation failed - process out of memory"];

/// The process ended although nobody wanted it to. `tail` is the last of what it wrote to standard error.
pub(crate) fn exited(exit: Exit, tail: &[&str]) -> Failure {
    if tail.iter().any(|line| OUT_OF_HEAP.iter().any(|words| line.contains(words))) {
        return Failure::new(FailureCode::OutOfMemory, "the JavaScript heap reached its limit");
    }
    if tail.last().is_some_and(|line| line.starts_with("MemoryError")) {
        return Failure::new(FailureCode::OutOfMemory, "MemoryError: the memory limit was reached");
    }
    match exit {
        Exit::OutOfMemory => {
            let message = "the process was killed when it reached its memory limit";
            return Failure::new(FailureCode::OutOfMemory, message);
        }
        Exit::NotStarted(cause) => {
            return Failure::new(
                FailureCode::InitError,
                format!("its process could not be started: {cause}"),
            );
        }
        _ => {}
    }
    let mut message = describe(&exit);
    let last = &tail[tail.len().saturating_sub(SHOWN_LINES)..];
    if !last.is_empty() {
        message = format!("{message}: {}", last.join(" | "));
    }
    let stack = (tail.len() > SHOWN_LINES).then(|| tail.join("\n"));
    Failure { stack, ..Failure::new(FailureCode::Crashed, message) }
}

fn describe(exit: &Exit) -> String {
    match exit {
        Exit::Code(code) => format!("the process exited with status {code}"),
        Exit::Signal(libc::SIGKILL) => {
            "the process was killed by SIGKILL, by somebody else or because the machine ran out of memory"
                .to_owned()
        }
        Exit::Signal(signal) => format!("the process was killed by {}", signal_name(*signal)),
        Exit::OutOfMemory => "the process reached its memory limit".to_owned(),
        Exit::NotStarted(cause) => format!("the process could not be started: {cause}"),
        Exit::With(words) => format!("the process it was forked from {words}"),
        Exit::Unseen => "the process ended together with the one that started it".to_owned(),
    }
}

/// How a process ended that others were forked from, to follow its name.
pub(crate) fn of_parent(exit: &Exit) -> String {
    let words = describe(exit);
    words.strip_prefix("the process ").map_or(words.clone(), str::to_owned)
}

fn signal_name(signal: i32) -> String {
    let name = match signal {
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGHUP => "SIGHUP",
        libc::SIGILL => "SIGILL",
        libc::SIGINT => "SIGINT",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGSYS => "SIGSYS",
        libc::SIGTERM => "SIGTERM",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGXCPU => "SIGXCPU",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}

/// The handler failed, and says how.
pub(crate) fn call_error(error: CallError) -> Failure {
    let code = match error.code.as_deref() {
        Some("out_of_memory") => FailureCode::OutOfMemory,
        _ => FailureCode::FunctionError,
    };
    Failure { stack: error.stack, ..Failure::new(code, typed(&error.ty, &error.message)) }
}

/// The function could not be loaded, and its worker says why.
pub(crate) fn init_error(error: InitError) -> Failure {
    let message = typed(&error.ty, &error.message);
    let message = match (error.file, error.line) {
        (Some(file), Some(line)) => format!("{file}:{line}: {message}"),
        (Some(file), None) => format!("{file}: {message}"),
        (None, _) => message,
    };
    Failure { stack: error.stack, ..Failure::new(FailureCode::InitError, message) }
}

/// The worker did what no worker may.
pub(crate) fn violation(cause: &FrameError) -> Failure {
    Failure::new(FailureCode::ProtocolViolation, cause.to_string())
}

fn typed(ty: &str, message: &str) -> String {
    match (ty.is_empty(), message.is_empty()) {
        (true, _) => message.to_owned(),
        (false, true) => ty.to_owned(),
        (false, false) => format!("{ty}: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exits_are_told_with_the_last_lines_of_stderr() {
        let failure = exited(Exit::Code(3), &["a", "b", "c", "d"]);
        assert_eq!(failure.code, FailureCode::Crashed);
        assert_eq!(failure.message, "the process exited with status 3: b | c | d");
        assert_eq!(failure.stack.as_deref(), Some("a\nb\nc\nd"));
        assert_eq!(exited(Exit::Signal(libc::SIGSEGV), &[]).message, "the process was killed by SIGSEGV");
    }

    #[test]
    fn an_abort_for_want_of_heap_is_out_of_memory() {
        let line = "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory";
        assert_eq!(
            exited(Exit::Signal(libc::SIGABRT), &[line, "----- Native stack trace -----"]).code,
            FailureCode::OutOfMemory
        );
    }

    #[test]
    fn init_errors_name_file_and_line() {
        let error = InitError {
            ty: "SyntaxError".into(),
            message: "invalid syntax".into(),
            stack: None,
            file: Some("a.py".into()),
            line: Some(3),
        };
        assert_eq!(init_error(error).message, "a.py:3: SyntaxError: invalid syntax");
    }
}

//! What is written while a function is loaded: kept for its first call, in moderation.

use evoke_core::outcome::Failure;
use evoke_core::record::LogStream;

use super::output::Output;

/// Lines that are kept.
const LINES: usize = 200;
/// What stands for those beyond.
const DROPPED: &str = "further lines were dropped: a function may write 200 lines while it is loaded";

/// Lines in the order in which they came.
pub(crate) type Early = Vec<(LogStream, String)>;

/// Keeps a line, if it is not one too many.
pub(crate) fn keep(early: &mut Early, stream: LogStream, line: String) {
    match early.len() {
        0..LINES => early.push((stream, line)),
        LINES => early.push((LogStream::Platform, DROPPED.to_owned())),
        _ => {}
    }
}

/// There is no log of a function that did not load, so what it was refused of the network goes with the failure.
pub(crate) fn with_refusals(mut failure: Failure, early: &Early, output: &mut Output) -> Failure {
    let mut lines = early.clone();
    output.drain(|stream, line| lines.push((stream, line)));
    let refusals = lines.iter().filter(|(stream, line)| *stream == LogStream::Platform && line != DROPPED);
    for (_, line) in refusals {
        failure.message.push('\n');
        failure.message.push_str(line);
    }
    failure
}

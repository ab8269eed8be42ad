//! The process all instances are forked from.

use std::process::ExitCode;

/// What `evoke worker launcher` does. Returns when the host is gone and everything it started is dead.
pub fn main() -> ExitCode {
    ExitCode::FAILURE
}

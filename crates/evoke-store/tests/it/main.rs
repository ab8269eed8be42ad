//! One binary for all integration tests of the crate.

#![allow(clippy::unwrap_used, reason = "a test ends where its preparation fails")]

mod conformance;

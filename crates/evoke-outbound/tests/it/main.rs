//! One binary for all integration tests of the crate; the files mirror `src`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, and so may what it is made of")]

mod endpoint;
mod hook;
mod unkind;

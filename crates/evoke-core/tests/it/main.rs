//! One binary for all integration tests of the crate; the files mirror `src`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, and so may what it is made of")]

mod body;
mod egress;
mod event;
mod experiment;
mod filter;
mod hook;
mod id;
mod manifest;
mod retry;
mod rollout;
mod schedule;
mod store;
mod time;
mod webhook;
mod weights;

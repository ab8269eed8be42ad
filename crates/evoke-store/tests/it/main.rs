//! One binary for all integration tests of the crate.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, and so may what it is made of")]

mod backup;
mod child;
mod conformance;
mod corrupt;
mod flip;
mod format;
mod full;
mod kill;
mod opening;
mod ordered;
mod page_map;
mod power;
mod queues;
mod recording;
mod rubbish;
mod salvage;
mod sample;
mod shrink;
mod slices;
mod write_error;

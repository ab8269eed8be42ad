//! The worker against real components, over its sockets.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod calls;
mod ends;
mod guests;
mod host;
mod loading;
mod malformed;
mod preload;
mod reuse;

//! What Evoke itself sends out over HTTP.
//!
//! **What it is:** a client that connects only where it may ([`Client`]), the pools of connections to the servers behind
//! routes ([`Upstreams`]), and the runtime of hooks
//! ([`HookRuntime`]): an "instance" of a hook makes each delivery a signed request. What a delivery looks like and what
//! an answer means is decided in [`evoke_core::hook`].
//!
//! **What it is not:** a browser. It follows no redirect, keeps no cookie, knows no cache and no proxy, and reads no more
//! of an answer than it has a use for. Which addresses may be connected to is not known here: connections are made by
//! whoever made the client ([`Dial`]).
//!
//! **Bounds:** requests at once ([`Limits::hook_requests`](evoke_core::limits::Limits::hook_requests)), bytes and time of an
//! answer's body ([`Excerpt`]), idle connections.

mod client;
mod connect;
mod excerpt;
mod hook;
mod trust;
mod upstream;

pub use client::{Client, SendError};
pub use connect::{Dial, Dialled};
pub use excerpt::Excerpt;
pub use hook::HookRuntime;
pub use trust::{Trust, TrustError};
pub use upstream::Upstreams;

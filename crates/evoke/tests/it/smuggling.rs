//! Requests that two servers could take for two different things, at the real listeners of a real server: what is refused,
//! and which bytes a server behind a route gets of the rest.
//!
//! Each family has a table, one line a case: what is sent, byte for byte; the statuses of all answers; what was let through.
//! The same bytes go to a route with a server behind, to one with a function and, where nothing may be let through, to the
//! control listener.

mod answers;
mod chunks;
mod frames;
mod heads;
mod http2;
mod lengths;
mod meaning;
mod rig;
mod upstream;

//! Webhooks as pure functions: whether a request is signed by whoever has the secret, and the event it becomes.
//!
//! [`verify`] looks at raw bytes and header fields and parses nothing of the body; only what passed it is handed to
//! [`to_events`]. Comparisons take the same time wherever a signature differs. What a [`Refused`] says is for the
//! operator's log; whoever sent the request learns only that it was not accepted.

mod map;
mod scheme;
pub mod standard;

pub use map::{Mapping, Place, to_events};
pub use scheme::{Encoding, Refused, Scheme, verify};

//! The words of Evoke as types, its decisions as pure functions, and its seams.
//!
//! **What it is:** everything two crates have to agree on. Names and ids ([`id`]), time ([`time`]),
//! CloudEvents ([`event`]), which of them a subscription takes ([`filter`]) and how they are sent on ([`hook`]), the manifest ([`manifest`]), how an
//! execution ends ([`outcome`]), when it is tried again ([`retry`]), how often something may be done ([`rate`]), which of several
//! variants has it ([`weights`]), how a new version takes the place of the one before ([`rollout`]), when a schedule
//! fires ([`schedule`]), what the platform says of itself ([`lifecycle`]), what is remembered of it ([`record`]), where a
//! route leads that is no function ([`upstream`], [`redirect`]), who may read it ([`cors`]), which of
//! several ways it takes ([`experiment`]), which requests come from functions of
//! the same node ([`origin`]), and the seams behind which the outside
//! world lies: [`store::Store`], [`runtime::Runtime`], and for proxied requests [`upstream::Forward`].
//!
//! **What it is not:** a place for I/O. Nothing here opens a file or a socket, reads a clock or draws a
//! random number that was not handed in.
//!
//! **Bounds:** every limit that more than one crate must know is a field of [`limits::Limits`].
//!
//! ```
//! use evoke_core::event::Event;
//! let event = Event::new("evt_1", "/shop", "purchase_complete").with_json(serde_json::json!({ "total": 42 }));
//! assert_eq!(event.ty(), "purchase_complete");
//! ```

pub mod answer;
pub mod archive;
pub mod body;
pub mod chain;
pub mod cors;
pub mod dead_letter;
pub mod decorator;
pub mod destination;
pub mod egress;
pub mod event;
pub mod experiment;
pub mod filter;
pub mod histogram;
pub mod holdings;
pub mod hook;
pub mod id;
pub mod lifecycle;
pub mod limits;
pub mod manifest;
pub mod origin;
pub mod outcome;
pub mod rate;
pub mod record;
pub mod redirect;
pub mod retry;
pub mod rollout;
pub mod runtime;
pub mod schedule;
pub mod secret;
pub mod store;
pub mod template;
#[cfg(feature = "testing")]
pub mod testing;
pub mod time;
pub mod upstream;
pub mod usage;
pub mod wait;
pub mod webhook;
pub mod weights;

//! The executable from the outside: real processes, real files, real functions.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod acme;
mod app;
mod bad_input;
mod commands;
mod decorators;
mod delivery;
mod destinations;
mod dev;
mod doctor;
mod evoke;
mod experiments;
mod filter;
#[path = "../../../evoke-wasm/tests/it/guests.rs"]
mod guests;
mod help;
mod hooks;
mod languages;
mod life;
mod new;
mod packages;
mod printed;
mod provided;
mod removal;
mod replay;
mod reports;
mod retention;
mod search;
mod slow;
mod smuggling;
mod store;
mod storm;
mod subscriptions;
mod tls;
mod usage;
mod versions;
mod wasm;

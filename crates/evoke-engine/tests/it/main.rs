//! The engine over the in-memory store and scripted functions, in paused time.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod admission;
mod calls;
mod cancel;
mod chains;
mod conflicts;
mod delivery;
mod deploy;
mod destinations;
mod drain;
mod effects;
mod events;
mod explain;
mod files;
mod filters;
mod hooks;
mod idempotency;
mod later;
mod lifecycle;
mod pool;
mod removal;
mod replay;
mod reports;
mod retain;
mod retries;
mod rollout;
mod routes;
mod schedule;
mod selection;
mod simulation;
mod start;
mod support;
mod usage;
mod wait;

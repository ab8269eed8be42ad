//! What Evoke does between a trigger and a settled invocation.
//!
//! The files follow the data: [`ingest`] accepts events and asynchronous calls, [`route`] finds who they are for,
//! `queue` leases what is due, `admission` lets it in, `deliver` sees each of them through: `pool` finds an
//! instance, `attempt` runs one execution, `settle` decides what becomes of it. A synchronous [`call`] enters at
//! `admission` and never touches the queue. What the platform says of itself starts in `lifecycle`.
//!
//! **What it is not:** HTTP (that is the gateway), storage or processes (those lie behind the seams of `evoke-core`).
//!
//! **Bounds:** all in [`evoke_core::limits::Limits`]. Tasks run on one `TaskTracker` that [`Engine::drain`] waits for.

mod admission;
mod again;
mod arrival;
mod attempt;
pub mod call;
pub mod cancel;
mod chain;
mod choose;
mod commit;
pub mod dead_letter;
mod deliver;
pub mod deploy;
mod destination;
mod effects;
mod endings;
mod engine;
pub mod events;
pub mod experiment;
pub mod explain;
pub mod hook;
pub mod ingest;
pub mod later;
mod lifecycle;
mod live;
mod meter;
pub mod next;
mod place;
mod platform;
mod pool;
mod position;
mod queue;
mod recent;
mod recorder;
mod refusal;
pub mod removal;
pub mod replay;
pub mod report;
pub mod result;
mod retain;
pub mod rollout;
pub mod route;
pub mod schedule;
pub mod schema;
pub mod secrets;
mod settle;
pub mod subscription;
mod trace;
mod under_way;
mod wait;

pub use arrival::Arrival;
pub use engine::{Engine, Parts, StartError};
pub use meter::Spent;
pub use pool::{Failing, Instances};
pub use secrets::SealingKey;
pub use trace::TraceParent;

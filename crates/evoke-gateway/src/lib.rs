//! HTTP in front of the engine: routes on the data listener, the control API on the other, and every error as problem
//! details.
//!
//! [`Gateway::serve`] takes two bound listeners. The data listener finds a request's route and calls its function
//! (`data`, `call`); the control listener has `/v1` behind a bearer token (`control`, [`auth`]). What is said on the wire
//! is in [`api`], which the command line reads with the same types. `problem` is the one table from errors to HTTP.
//!
//! **What it is not:** anything that decides about invocations (that is the engine), or a place where function code
//! runs.
//!
//! **Bounds:** [`Bounds`], and of bodies, header fields and pages those of the engine's limits. Nothing is detached: every
//! connection and stream is a task on one tracker, and dropping a connection drops the calls it waits for.

pub mod api;
pub mod auth;
mod body;
mod call;
mod client;
mod connections;
mod control;
mod cors;
mod data;
mod decorate;
mod experiment;
mod figures;
mod gateway;
mod headers;
mod keep;
mod listener;
mod pace;
mod problem;
mod redirect;
mod report;
mod serve;
mod threads;
pub mod tls;
mod tunnel;
mod turnover;
mod upstream;
mod vet;
mod wire;

pub use client::Proxies;
pub use control::openapi;
pub use gateway::{Bounds, Front, Gateway};
pub use pace::Pace;
pub use problem::table as problem_table;

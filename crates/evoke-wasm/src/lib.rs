//! The Wasm worker: a process that runs the components of one app, each request in an instance of its own.
//!
//! **What it is:** the other side of the [worker protocol](evoke_worker::frame), in Rust. [`worker_main`] is the body of that
//! process; [`compile_main`] that of a short-lived one, which turns a component into machine code at deploy. Both are
//! started, confined, limited and killed by the host like any worker.
//!
//! **What it is not:** part of the server. No guest code runs in the process that owns the store, nor is any compiled there.
//!
//! **Bounds:** memory, stack, tables and handles of an instance by wasmtime's limits, time by its epochs, bodies by the
//! protocol's credit, everything else by constants beside their use.

mod answer;
mod body;
mod call;
mod compile;
mod connection;
mod eager;
mod engine;
mod failure;
mod function;
mod guest;
mod instance;
mod kept;
mod keyvalue;
mod lent;
mod making;
mod meter;
mod outbox;
mod outgoing;
mod output;
mod patience;
mod platform;
mod pool;
mod preload;
mod process;
mod request;
mod threads;
mod ticker;
mod tie;
mod tls;
mod trim;
mod wire;

pub use compile::{compile, main as compile_main};
pub use engine::name as engine;
pub use process::main as worker_main;

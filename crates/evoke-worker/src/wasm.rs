//! Components: compiled at deploy, and run in one process per app.
//!
//! This crate knows nothing of wasmtime. It starts the programs it is told to (the `evoke` executable with `worker compile`
//! and `worker wasm`), confines them, and talks to them: [`components`] keeps what was compiled, [`worker`] is one app's
//! process, [`apps`] decides which there are. A function's socket in such a process carries the calls of all its instances
//! ([`crate::instance`]); why that is so is told in `docs/decisions/0016-wasm-worker.md`.

mod apps;
mod components;
mod lending;
mod sealed;
mod trunks;
mod worker;

pub(crate) use apps::Apps;
pub use components::CompileBounds;
pub(crate) use components::Components;
pub(crate) use lending::Lending;
pub(crate) use trunks::Trunks;
pub(crate) use worker::Worker;

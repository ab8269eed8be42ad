//! The host side of process workers: the runtimes `node`, `python` and `provided`.
//!
//! **What it is:** an implementation of [`evoke_core::runtime::Runtime`] that runs each instance as a child process.
//! [`prepare`](mod@prepare) turns a bundle into files, `packages` installs what it asks for, [`launcher`] is the small process all instances are forked from,
//! [`frame`] is what host and instance say to each other, [`shim`] holds the guest's half of it in JavaScript and Python,
//! [`sandbox`] is what holds it, `instance` drives one call, and `zygote` forks instances from a process that has loaded
//! their function. `provided` drives programs that speak the AWS Lambda runtime API instead.
//! `docs/reference/worker-protocol.md` and `docs/reference/lambda-runtime-api.md` describe what goes over the wire.
//!
//! **What it is not:** a pool. Who starts instances, how many and when they are evicted is the engine's decision.
//!
//! **Bounds:** frames, header fields and platform requests under way are bounded by [`frame`]; bodies flow under credit of
//! [`frame::WINDOW_BYTES`] in either direction, logs through bounded channels, bundles by [`evoke_core::limits::Limits`].
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use evoke_worker::{Options, ProcessRuntime};
//! let launcher = vec!["/usr/local/bin/evoke".into(), "worker".into(), "launcher".into()];
//! let runtime = ProcessRuntime::start(Options::new("/var/lib/evoke/workers", launcher)).await?;
//! # Ok(()) }
//! ```

mod aside;
mod egress;
pub mod frame;
mod function_url;
mod gauge;
mod idle;
mod instance;
mod interpreter;
pub mod launcher;
mod logs;
mod meter;
mod netns;
mod packages;
pub mod prepare;
mod provided;
mod runtime;
pub mod sandbox;
pub mod shim;
mod socket;
mod sys;
#[cfg(feature = "testing")]
pub mod testing;
mod wasm;
mod zygote;

pub use egress::{Dialler, Resolver};
pub use interpreter::Language;
pub use launcher::main as launcher_main;
pub use runtime::{
    Options, ProcessRuntime, StartError, WasmCommands, allow_open_files, make_room_for_open_files, open_files,
};
pub use socket::Socket;
pub use sys::channel;
pub use wasm::CompileBounds;

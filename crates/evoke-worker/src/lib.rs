//! The host side of process workers: the runtimes `node` and `python`.

mod launcher;
mod runtime;

pub use launcher::main as launcher_main;
pub use runtime::{Options, ProcessRuntime, StartError};

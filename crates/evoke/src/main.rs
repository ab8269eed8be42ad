//! Evoke's executable: the server, and the command line that talks to it.
//!
//! **What it is:** the one place that knows the concrete parts. [`serve`] puts store, runtime, engine and gateway together;
//! [`commands`] has a file per verb, each a caller of the control API like any other.
//!
//! **What it is not:** a home for rules of the product. What an event, a deploy or a retry is, the engine decides.
//!
//! **Bounds:** answers held in memory [`client::ANSWER_BYTES_MAX`], payloads [`commands`], bundles
//! [`evoke_core::limits::Limits`].

mod allocator;
mod app_folder;
mod cli;
mod client;
mod clock;
mod commands;
mod context;
mod crates;
mod excerpt;
mod exit;
mod output;
mod pack;
mod seed;
mod serve;
mod signals;
mod sse;
mod watch;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{Cli, Command, WorkerVerb};
use crate::exit::{Error, Exit};
use crate::output::Format;

/// Connections and instances that a server comes to have without a pause for them; 128 KiB of the kernel's memory.
const OPEN_FILES: u64 = 16_384;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() };
        }
    };
    // The launcher forks; it must be the only thread, so it starts before there is a runtime. The others make their own.
    if let Command::Worker { verb } = &cli.command {
        return match verb {
            WorkerVerb::Launcher => evoke_worker::launcher_main(),
            WorkerVerb::Wasm => evoke_wasm::worker_main(evoke_worker::channel()),
            WorkerVerb::Compile { source } => evoke_wasm::compile_main(source, evoke_worker::channel()),
        };
    }
    if let Command::Serve(_) | Command::Dev(_) = &cli.command {
        evoke_worker::allow_open_files();
        evoke_worker::make_room_for_open_files(std::io::stdin(), OPEN_FILES);
    }
    let format = if cli.json { Format::Json } else { Format::Text };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(cause) => {
            let error =
                Error::failed("runtime", format!("the threads of this process cannot be started: {cause}"));
            return format.failed(&error).into();
        }
    };
    let exit = runtime.block_on(commands::run(cli, format)).unwrap_or_else(|error| format.failed(&error));
    // What is still running belongs to a user who did not want to wait.
    runtime.shutdown_background();
    exit.into()
}

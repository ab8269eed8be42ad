//! One file per verb of the command line.

pub mod apps;
pub mod canary;
pub mod completions;
pub mod deploy;
pub mod dev;
pub mod dlq;
pub mod doctor;
pub mod events;
pub mod filter;
pub mod functions;
pub mod hooks;
pub mod invoke;
pub mod logs;
pub mod new;
pub mod queues;
pub mod replays;
pub mod rollback;
pub mod routes;
pub mod runs;
pub mod schedules;
pub mod secrets;
pub mod send;
pub mod serve;
pub mod store;
pub mod subscriptions;
pub mod versions;
pub mod waits;

mod payload;

use crate::cli::{Cli, Command};
use crate::exit::Result;
use crate::output::Format;

/// Does what was asked.
pub async fn run(cli: Cli, format: Format) -> Result {
    match cli.command {
        Command::Serve(args) => serve::run(args, format).await,
        Command::Dev(args) => dev::run(args, format).await,
        Command::New(args) => new::run(&args, format),
        Command::Deploy(args) => deploy::run(&args, format).await,
        Command::Rollback(args) => rollback::run(args, format).await,
        Command::Versions(args) => versions::run(args, format).await,
        Command::Canary { verb } => canary::run(verb, format).await,
        Command::Invoke(args) => invoke::run(args, format).await,
        Command::Send(args) => send::run(args, format).await,
        Command::Filter(args) => filter::run(&args, format),
        Command::Events { verb } => events::run(verb, format).await,
        Command::Replays { verb } => replays::run(verb, format).await,
        Command::Runs { verb } => runs::run(verb, format).await,
        Command::Waits { verb } => waits::run(verb, format).await,
        Command::Logs(args) => logs::run(args, format).await,
        Command::Dlq { verb } => dlq::run(verb, format).await,
        Command::Queues { verb } => queues::run(verb, format).await,
        Command::Subscriptions { verb } => subscriptions::run(verb, format).await,
        Command::Hooks { verb } => hooks::run(verb, format).await,
        Command::Secrets { verb } => secrets::run(verb, format).await,
        Command::Apps { verb } => apps::run(verb, format).await,
        Command::Functions { verb } => functions::run(verb, format).await,
        Command::Routes { verb } => routes::run(verb, format).await,
        Command::Schedules(args) => schedules::run(args, format).await,
        Command::Store { verb } => store::run(&verb, format),
        Command::Doctor(args) => doctor::run(&args, format).await,
        Command::Completions(args) => completions::run(&args, format),
        Command::Worker { .. } => unreachable!("main starts workers before there is a runtime"),
    }
}

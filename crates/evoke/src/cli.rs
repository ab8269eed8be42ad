//! The command line as types. Raw only: what the options mean together is settled in [`crate::context`].

mod apps;
mod dlq;
mod edge;
mod events;
mod keep;
mod replay;
mod routes;
mod runs;
mod server;
mod store;
mod versions;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use evoke_core::manifest::units;
use evoke_core::rollout::Portion;
use evoke_core::time::Timestamp;

use crate::exit::AFTER_HELP;
pub use apps::{AppsVerb, RmArgs};
pub use dlq::{DeadLetterArgs, DlqVerb, HowArgs};
pub use edge::{CertificateArgs, EdgeArgs};
pub use events::{EventArgs, EventsVerb, FilterArgs, SendArgs};
pub use keep::KeepArgs;
pub use replay::{Moment, ReplayArgs, ReplaysVerb};
pub use routes::{PromoteArgs, RoutesVerb};
pub use runs::{CancelArgs, Pending, RunsVerb, State};
pub use server::{DevArgs, DoctorArgs, ListenArgs, ServeArgs};
pub use store::StoreVerb;
pub use versions::{CanaryVerb, RollbackArgs};

/// A self-hosted functions platform: source in, events through functions, nothing lost.
#[derive(Debug, Parser)]
#[command(name = "evoke", version, after_help = AFTER_HELP, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,

    /// Print JSON on stdout: one value, or one per line for streams.
    #[arg(long, global = true, display_order = 900)]
    pub json: bool,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server.
    Serve(ServeArgs),
    /// Run the server for one app and deploy it whenever a file is saved.
    Dev(DevArgs),
    /// Make a folder with a small working app.
    New(NewArgs),
    /// Put an app's files to work; what is unchanged keeps running.
    Deploy(DeployArgs),
    /// Go back to an earlier version of an app, at once.
    Rollback(RollbackArgs),
    /// See the versions of an app that are kept: each that was deployed, and what became of it.
    Versions(AppArgs),
    /// See a new version that does a part of the work; give it more, all or none of it.
    Canary {
        /// What to do.
        #[command(subcommand)]
        verb: CanaryVerb,
    },
    /// Call a function and print its answer.
    Invoke(InvokeArgs),
    /// Publish an event.
    Send(SendArgs),
    /// Evaluate a filter, a CESQL expression or an event pattern, for an event.
    Filter(FilterArgs),
    /// See the events that were accepted.
    Events {
        /// Which.
        #[command(subcommand)]
        verb: EventsVerb,
    },
    /// See events being delivered again, and end that.
    Replays {
        /// Which.
        #[command(subcommand)]
        verb: ReplaysVerb,
    },
    /// See what ran, why, and what became of it; cancel what has not ended.
    Runs {
        /// Which.
        #[command(subcommand)]
        verb: RunsVerb,
    },
    /// See what functions wait for, and take a wait back.
    Waits {
        /// Which.
        #[command(subcommand)]
        verb: WaitsVerb,
    },
    /// Print what functions wrote to stdout and stderr.
    Logs(LogsArgs),
    /// See and redrive dead letters: work that was given up after its last attempt.
    Dlq {
        /// Which.
        #[command(subcommand)]
        verb: DlqVerb,
    },
    /// See how much waits for each subscription and queue, and pause or resume one.
    Subscriptions {
        /// Which.
        #[command(subcommand)]
        verb: SubscriptionsVerb,
    },
    /// See what waits in the queues of an app.
    Queues {
        /// Which.
        #[command(subcommand)]
        verb: QueuesVerb,
    },
    /// See whether hooks deliver, enable one that its endpoint disabled, and send one a sample event.
    Hooks {
        /// Which.
        #[command(subcommand)]
        verb: HooksVerb,
    },
    /// Set, list and remove secrets: values that functions and webhooks need and nobody else may see.
    Secrets {
        /// Which.
        #[command(subcommand)]
        verb: SecretsVerb,
    },
    /// See which apps are deployed, and remove one.
    Apps {
        /// Which.
        #[command(subcommand)]
        verb: AppsVerb,
    },
    /// See the functions that are deployed.
    Functions {
        /// Which.
        #[command(subcommand)]
        verb: FunctionsVerb,
    },
    /// See how routes do, compare the variants of experiments, and promote one.
    Routes {
        /// Which.
        #[command(subcommand)]
        verb: RoutesVerb,
    },
    /// See the schedules of an app, and when they fire next.
    Schedules(AppArgs),
    /// See what this machine gives a server: the sandbox, interpreters, the disk, certificates.
    Doctor(DoctorArgs),
    /// Verify, save, restore and measure the files of a store.
    Store {
        /// Which.
        #[command(subcommand)]
        verb: StoreVerb,
    },
    /// Print a completion script for a shell.
    Completions(CompletionsArgs),
    /// Processes Evoke starts for itself.
    #[command(hide = true)]
    Worker {
        /// Which.
        #[command(subcommand)]
        verb: WorkerVerb,
    },
}

/// `evoke new`.
#[derive(Debug, Args)]
pub struct NewArgs {
    /// The app's name, and that of the folder.
    pub name: String,

    /// Language of the functions.
    #[arg(long, value_enum, default_value_t = Template::Ts)]
    pub template: Template,
}

/// What `evoke new` can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Template {
    /// TypeScript on Node.js.
    Ts,
    /// Python.
    Python,
    /// Rust, built into a WebAssembly component.
    Rust,
}

/// Which server, and how to be let in.
#[derive(Debug, Clone, Args)]
pub struct ServerArgs {
    /// The control listener of the server [default: that of the data folder, else 127.0.0.1:7071].
    #[arg(long, value_name = "URL", env = "EVOKE_ADMIN", display_order = 800)]
    pub admin: Option<String>,

    /// Data folder of a local server, to read its address and token from [default: the nearest .evoke].
    #[arg(long, value_name = "DIR", env = "EVOKE_DATA", display_order = 801)]
    pub data_dir: Option<PathBuf>,
}

/// Which server, and which app on it.
#[derive(Debug, Clone, Args)]
pub struct AppArgs {
    /// The app [default: that of the nearest evoke.toml].
    #[arg(long, value_name = "APP", display_order = 799)]
    pub app: Option<String>,

    /// The server.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// `evoke deploy`.
#[derive(Debug, Args)]
pub struct DeployArgs {
    /// The app's folder, with its evoke.toml.
    #[arg(default_value = ".")]
    pub dir: PathBuf,

    /// Beside the version that runs, with this part of the work: 5%; 0% for none but calls of FUNCTION@canary.
    #[arg(long, value_name = "PERCENT", value_parser = parse_portion)]
    pub canary: Option<Portion>,

    /// Do not take it back by itself, whatever `rollback` in evoke.toml says.
    #[arg(long)]
    pub no_watch: bool,

    /// The server.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// `evoke invoke`.
#[derive(Debug, Args)]
pub struct InvokeArgs {
    /// The function; with @VERSION, @current or @canary that version of it, while there are two.
    pub function: String,

    /// Request body: a text, @FILE, or - for stdin.
    #[arg(short, long, value_name = "TEXT|@FILE|-", allow_hyphen_values = true)]
    pub data: Option<String>,

    /// Do not wait: print the id of the run that was accepted, durably, to be done.
    #[arg(long = "async")]
    pub later: bool,

    /// Method [default: POST with --data, GET without].
    #[arg(short = 'X', long, value_name = "METHOD")]
    pub method: Option<String>,

    /// Path and query the function sees.
    #[arg(long, value_name = "PATH", default_value = "/")]
    pub path: String,

    /// Header field; may be given several times.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    pub headers: Vec<String>,

    /// The app.
    #[command(flatten)]
    pub app: AppArgs,
}

/// `evoke waits …`.
#[derive(Debug, Subcommand)]
pub enum WaitsVerb {
    /// List what is waited for, by the runs that wait, oldest first.
    Ls {
        /// Only of this run.
        #[arg(long, value_name = "ID")]
        run: Option<String>,
        /// At most so many.
        #[arg(short = 'n', long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
        /// Only what comes after this; the end of a page names it.
        #[arg(long, value_name = "CURSOR")]
        after: Option<String>,
        /// The app.
        #[command(flatten)]
        app: AppArgs,
    },
    /// Take a wait back: its function is not called.
    Cancel {
        /// Its id.
        id: String,
        /// The app.
        #[command(flatten)]
        app: AppArgs,
    },
}

/// `evoke logs`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// Only of this function.
    pub function: Option<String>,

    /// Go on printing lines as they come, until Ctrl-C.
    #[arg(short, long)]
    pub follow: bool,

    /// Only of this run.
    #[arg(long, value_name = "RUN")]
    pub run: Option<String>,

    /// How many of the newest lines.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,

    /// The app.
    #[command(flatten)]
    pub app: AppArgs,
}

/// `evoke functions …`.
#[derive(Debug, Subcommand)]
pub enum FunctionsVerb {
    /// List functions with their revision, limits, subscriptions and routes.
    Ls {
        /// The app.
        #[command(flatten)]
        app: AppArgs,
    },
}

/// `evoke hooks …`.
#[derive(Debug, Subcommand)]
pub enum HooksVerb {
    /// List hooks with what became of their newest deliveries.
    Ls {
        /// The app.
        #[command(flatten)]
        app: AppArgs,
    },
    /// Enable a hook that was disabled because its endpoint answered 410.
    Enable {
        /// The hook.
        hook: String,
        /// The app.
        #[command(flatten)]
        app: AppArgs,
    },
    /// Send a hook a signed sample event, once, and show what its endpoint answers.
    Test {
        /// The hook.
        hook: String,
        /// The app.
        #[command(flatten)]
        app: AppArgs,
    },
}

/// `evoke queues …`.
#[derive(Debug, Subcommand)]
pub enum QueuesVerb {
    /// List queues with what waits in them.
    Ls {
        /// The app.
        #[command(flatten)]
        app: AppArgs,
    },
    /// Show one queue: its terms, and what waits in it.
    Stats {
        /// The queue, by the name it has in evoke.toml.
        queue: String,
        /// The app.
        #[command(flatten)]
        app: AppArgs,
    },
}

/// `evoke subscriptions …`.
#[derive(Debug, Subcommand)]
pub enum SubscriptionsVerb {
    /// List subscriptions with what waits for them.
    Ls {
        /// The app.
        #[command(flatten)]
        app: AppArgs,
    },
    /// Hold a subscription up: it collects deliveries and attempts none until it is resumed.
    Pause {
        /// The function and the subscription, as the list has them.
        #[arg(value_name = "FUNCTION/NAME")]
        subscription: String,
        /// The app.
        #[command(flatten)]
        app: AppArgs,
    },
    /// Let a paused subscription go on, with what it collected.
    Resume {
        /// The function and the subscription, as the list has them.
        #[arg(value_name = "FUNCTION/NAME")]
        subscription: String,
        /// The app.
        #[command(flatten)]
        app: AppArgs,
    },
}

/// `evoke secrets …`.
#[derive(Debug, Subcommand)]
pub enum SecretsVerb {
    /// List the names of secrets, never their values.
    Ls {
        /// The app.
        #[command(flatten)]
        app: AppArgs,
    },
    /// Set a secret to what is read from stdin, without the line end at its end. Functions that use it get fresh instances.
    Set {
        /// Its name, that of the environment variable functions get it in.
        name: String,
        /// Read it from a file instead. There is no option for the value itself: others on the machine can read a command
        /// line.
        #[arg(long, value_name = "FILE")]
        from: Option<PathBuf>,
        /// The app.
        #[command(flatten)]
        app: AppArgs,
    },
    /// Remove a secret.
    Rm {
        /// Its name.
        name: String,
        /// The app.
        #[command(flatten)]
        app: AppArgs,
    },
}

/// `evoke completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// `evoke worker …`.
#[derive(Debug, Subcommand)]
pub enum WorkerVerb {
    /// The small process that starts workers.
    #[command(hide = true)]
    Launcher,
    /// The process that runs an app's components.
    #[command(hide = true)]
    Wasm,
    /// The process that compiles a component.
    #[command(hide = true)]
    Compile {
        /// The component.
        source: PathBuf,
    },
}

/// One page of a list.
#[derive(Debug, Clone, Args)]
pub struct PageArgs {
    /// At most so many.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,

    /// Only what is older than this; the end of a page names it.
    #[arg(long, value_name = "CURSOR")]
    pub before: Option<String>,
}

fn parse_size(text: &str) -> Result<u64, String> {
    units::parse_bytes(text).map_err(|error| format!("it {}; {}", error.reason, error.help))
}

fn parse_time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse_rfc3339(text)
        .ok_or_else(|| "it is no time of RFC 3339; write it as 2026-12-24T18:00:00+01:00".to_owned())
}

fn parse_portion(text: &str) -> Result<Portion, String> {
    text.parse()
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    units::parse_duration(text).map_err(|error| format!("it {}; {}", error.reason, error.help))
}

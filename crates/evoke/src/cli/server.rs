//! A server on this machine, as types: where it listens, what it may use, and looking at what it would find.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use evoke_core::egress::Cidr;

use super::{CertificateArgs, EdgeArgs, KeepArgs, parse_duration, parse_size};

/// Where a server listens and keeps its data.
#[derive(Debug, Clone, Args)]
pub struct ListenArgs {
    /// Address of the data listener, where routes are served; port 0 picks a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7070")]
    pub listen: SocketAddr,

    /// Address of the control listener; keep it on loopback or behind a private network.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7071")]
    pub admin: SocketAddr,

    /// How long running calls may take to finish after SIGTERM or Ctrl-C.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration)]
    pub grace: Duration,

    /// Whether to run functions where layers of the sandbox are missing; `evoke doctor` tells which.
    #[arg(long, value_name = "auto|required", value_enum, hide_possible_values = true, env = "EVOKE_SANDBOX", default_value_t = SandboxArg::Auto)]
    pub sandbox: SandboxArg,

    /// Private or special addresses that functions may connect to if their egress list names them, and hooks, also without
    /// TLS; may be given several times.
    #[arg(long, value_name = "CIDR", env = "EVOKE_EGRESS_ALLOW", value_delimiter = ',')]
    pub egress_allow: Vec<Cidr>,

    /// Certificate authorities that hooks trust besides the system's, in PEM form.
    #[arg(long, value_name = "FILE", env = "EVOKE_CA_FILE")]
    pub ca_file: Option<PathBuf>,

    /// Instances of all functions together, at most.
    #[arg(long, value_name = "COUNT", env = "EVOKE_INSTANCES", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub instances: Option<u32>,

    /// Memory of all instances together: the sum of what each may use at most. Three quarters of the machine's unless it is
    /// given.
    #[arg(long, value_name = "SIZE", env = "EVOKE_INSTANCE_MEMORY", value_parser = parse_size)]
    pub instance_memory: Option<u64>,

    /// Threads that do nothing but serve the connections of the data listener; 0 for none, then all threads do. Half as many as
    /// processors unless it is given.
    #[arg(long, value_name = "COUNT", env = "EVOKE_CALL_THREADS", value_parser = clap::value_parser!(u32).range(0..=256))]
    pub call_threads: Option<u32>,

    /// How much is kept.
    #[command(flatten)]
    pub keep: KeepArgs,

    /// How clients reach it.
    #[command(flatten)]
    pub edge: EdgeArgs,
}

/// What `--sandbox` can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SandboxArg {
    /// With the layers that there are.
    Auto,
    /// Only with all of them.
    Required,
}

impl From<SandboxArg> for evoke_worker::sandbox::Policy {
    fn from(arg: SandboxArg) -> Self {
        match arg {
            SandboxArg::Auto => Self::Auto,
            SandboxArg::Required => Self::Required,
        }
    }
}

/// `evoke doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Folder of everything durable, whose disk is tried; nothing is left in it.
    #[arg(long, value_name = "DIR", env = "EVOKE_DATA", default_value = ".evoke")]
    pub data: PathBuf,

    /// Certificates that are looked at, beside those of ACME servers in the data folder.
    #[command(flatten)]
    pub certificates: CertificateArgs,
}

/// `evoke serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Folder of everything durable; made when it is not there.
    #[arg(long, value_name = "DIR", env = "EVOKE_DATA", default_value = ".evoke")]
    pub data: PathBuf,

    /// Listeners.
    #[command(flatten)]
    pub listen: ListenArgs,
}

/// `evoke dev`.
#[derive(Debug, Args)]
pub struct DevArgs {
    /// The app's folder, with its evoke.toml.
    #[arg(default_value = ".")]
    pub dir: PathBuf,

    /// Folder of everything durable [default: DIR/.evoke].
    #[arg(long, value_name = "DIR", env = "EVOKE_DATA")]
    pub data: Option<PathBuf>,

    /// Listeners.
    #[command(flatten)]
    pub listen: ListenArgs,
}

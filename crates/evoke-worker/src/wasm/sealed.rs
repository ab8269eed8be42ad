//! Starting a program of ours in the tightest sandbox there is: no network, and nothing to read but what is named.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use tokio_util::task::TaskTracker;

use crate::interpreter::pipe_pair;
use crate::launcher::{Launcher, Process, Spawn, Stdio};
use crate::netns::{self, Inside, Sockets};
use crate::sandbox::Confinement;

/// How long a process may take to be confined.
const START: Duration = Duration::from_secs(10);
/// Size of `/tmp`, which these programs do not use; only those that count (`scripts/dist`) leave what they have counted there.
const TMP_BYTES: u64 = if cfg!(evoke_counts) { 64 << 20 } else { 1 << 20 };

/// A program to start.
#[derive(Debug)]
pub(crate) struct Sealed {
    /// With its arguments.
    pub command: Vec<String>,
    /// Whose user it runs as.
    pub number: u32,
    pub readable: Vec<PathBuf>,
    /// For its temporary files, where it cannot have a `/tmp` of its own.
    pub scratch: Option<PathBuf>,
    pub memory_bytes: u64,
}

/// A program that was started, and our ends of what it is connected to.
#[derive(Debug)]
pub(super) struct Running {
    pub process: Process,
    pub channel: OwnedFd,
    pub stderr: OwnedFd,
}

impl Sealed {
    /// Starts it. Waits until it is confined.
    pub(super) async fn start(self, launcher: &Launcher, tasks: &TaskTracker) -> io::Result<Running> {
        let Self { command, number, readable, scratch, memory_bytes } = self;
        let (program, args) = command.split_first().ok_or_else(|| io::Error::other("there is no program"))?;
        let (channel, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        let (_, stdout) = pipe_pair()?;
        let (stderr, their_stderr) = pipe_pair()?;
        let mut stdio = Stdio { channel: theirs, stdout, stderr: their_stderr, network: None };
        let mut network = None;
        if launcher.machine().isolates_network() {
            let (ours, theirs) = netns::hand_over_pair()?;
            (network, stdio.network) = (Some(ours), Some(theirs));
        }
        let readable = readable.into_iter().chain([PathBuf::from(program)]).collect();
        let confinement = Confinement {
            function: number,
            readable,
            writable: Vec::new(),
            scratch: scratch.clone(),
            tmp_bytes: TMP_BYTES,
            memory_bytes,
            // Compiled code and stacks are mapped ahead, and do not count as long as nobody writes to them.
            data_bytes: memory_bytes.saturating_mul(2),
            network: Some(Inside::default()),
        };
        let spawn = Spawn {
            id: 0,
            program: program.clone(),
            args: args.to_vec(),
            env: Vec::new(),
            cwd: "/".to_owned(),
            confinement: Some(confinement),
        };
        let spawned = launcher.spawn(spawn, stdio).await;
        if let Some(folder) = scratch {
            let mut death = spawned.as_ref().ok().map(Process::death);
            tasks.spawn(async move {
                if let Some(death) = &mut death {
                    death.seen().await;
                }
                if let Err(cause) = tokio::fs::remove_dir_all(&folder).await {
                    tracing::warn!(path = %folder.display(), %cause, "a scratch folder cannot be removed");
                }
            });
        }
        let process = spawned.map_err(io::Error::other)?;
        if let Some(network) = network {
            // Nobody serves what is in there: there is nothing to be reached.
            drop(tokio::time::timeout(START, Sockets::arrive(network)).await??);
        }
        Ok(Running { process, channel, stderr })
    }
}

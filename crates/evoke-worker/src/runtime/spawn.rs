//! From a command to a running process, with what it is connected to.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use evoke_core::outcome::Failure;
use evoke_core::runtime::InstanceSpec;

use super::folders::remove;
use super::{ProcessRuntime, init_error};
use crate::egress::Egress;
use crate::launcher::{Ends, Launcher, Process, Spawn, connect};
use crate::netns::{self, Sockets};

/// A process that was started.
#[derive(Debug)]
pub(super) struct Spawned {
    pub process: Process,
    pub ends: Ends,
    /// The host's half of its network; `None` where it has none of its own, and for a process that died before it had
    /// one, which is explained by its exit.
    pub egress: Option<Egress>,
    /// The platform's listener in that network, if the command asked for one.
    pub platform: Option<OwnedFd>,
}

impl ProcessRuntime {
    /// A folder for temporary files, where a process cannot have a `/tmp` of its own.
    pub(super) fn scratch_for(&self, launcher: &Launcher) -> Result<Option<PathBuf>, Failure> {
        if launcher.machine().private_tmp { Ok(None) } else { self.scratch.make().map(Some) }
    }

    /// Starts a process and waits for its network. `scratch` is removed when it is dead, and until then the
    /// packages that it reads are kept.
    pub(super) async fn spawn(
        &self,
        spec: &InstanceSpec,
        launcher: &Launcher,
        spawn: Spawn,
        scratch: Option<PathBuf>,
    ) -> Result<Spawned, Failure> {
        let io = |cause: io::Error| init_error(format!("its process cannot be connected: {cause}"));
        let (ends, mut stdio) = connect().map_err(io)?;
        let readable = spawn.confinement.as_ref().map_or(&[][..], |held| &held.readable);
        let packages = self.packages.pin(readable);
        let network = if launcher.machine().isolates_network() {
            let (ours, theirs) = netns::hand_over_pair().map_err(io)?;
            stdio.network = Some(theirs);
            Some(ours)
        } else {
            None
        };
        let process = match launcher.spawn(spawn, stdio).await {
            Ok(process) => process,
            Err(cause) => {
                remove(scratch).await;
                return Err(init_error(format!("its process could not be started: {cause}")));
            }
        };
        let mut death = process.death();
        self.tasks.spawn(async move {
            death.seen().await;
            drop(packages);
            remove(scratch).await;
        });
        let mut spawned = Spawned { process, ends, egress: None, platform: None };
        if let Some(network) = network
            && let Some(mut sockets) = sockets(network, spec).await.map_err(io)?
        {
            spawned.platform = sockets.platform.take();
            let (function, allowed) = (spec.function.to_string(), spec.egress.clone());
            spawned.egress = Some(Egress::serve(sockets, function, allowed, &self.egress).map_err(io)?);
        }
        Ok(spawned)
    }
}

async fn sockets(from: OwnedFd, spec: &InstanceSpec) -> io::Result<Option<Sockets>> {
    tokio::time::timeout(spec.start_timeout, Sockets::arrive(from)).await?
}

//! Starting a function that is a program of its own.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use evoke_core::outcome::Failure;
use evoke_core::runtime::{Instance, InstanceSpec};

use super::place::Place;
use super::spawn::Spawned;
use super::{ProcessRuntime, command, init_error};
use crate::interpreter::Language;
use crate::launcher::Launcher;
use crate::netns::{self, Inside};
use crate::prepare::script_interpreter;
use crate::provided::{self, Guard, Setup};

impl ProcessRuntime {
    /// Starts it and waits until it asks for its first invocation.
    pub(super) async fn start_provided(
        &self,
        spec: &Arc<InstanceSpec>,
        launcher: &Launcher,
    ) -> Result<Box<dyn Instance>, Failure> {
        let place = Place::find(&self.bundles, spec)?;
        let program = Path::new(&place.source);
        let number = self.numbers.of(spec);
        let network = Inside::new(spec.egress.ports());
        let (network, api, outside) = if launcher.machine().isolates_network() {
            let (network, port) = network.with_platform();
            (network, SocketAddr::from((Ipv4Addr::LOCALHOST, port)), None)
        } else {
            let (listener, address) = listen_outside()
                .map_err(|cause| init_error(format!("its runtime API cannot be served: {cause}")))?;
            let user = launcher.machine().user_of(number);
            (network, address, Some((listener, Guard::User(user))))
        };
        let mut interpreters = Vec::new();
        // Looked for only where it may be wanted: a missing one is looked for each time.
        if script_interpreter(program).is_some() {
            for language in Language::ALL {
                interpreters.extend(self.programs.interpreter(language, launcher).await.ok());
            }
        }
        let scratch = self.scratch_for(launcher)?;
        let network = (network, api.to_string());
        let spawn = command::provided(spec, number, &place, scratch.clone(), network, &interpreters);
        let Spawned { process, ends, egress, platform } = self.spawn(spec, launcher, spawn, scratch).await?;
        let (listener, guard) = match outside {
            Some((listener, guard)) => (Some(listener), guard),
            None => (platform, Guard::Namespace),
        };
        let setup = Setup {
            spec: Arc::clone(spec),
            process,
            stdout: ends.stdout,
            stderr: ends.stderr,
            egress,
            listener,
            guard,
            program,
            name: &place.name,
            limits: &self.limits,
            tasks: self.tasks.clone(),
        };
        Ok(Box::new(Box::pin(provided::start(setup)).await?))
    }
}

/// Where there is no network of its own: a port of the machine's loopback interface.
fn listen_outside() -> io::Result<(OwnedFd, SocketAddr)> {
    let listener = netns::listener_on((Ipv4Addr::LOCALHOST, 0).into())?;
    let listener = std::net::TcpListener::from(listener);
    let address = listener.local_addr()?;
    Ok((listener.into(), address))
}

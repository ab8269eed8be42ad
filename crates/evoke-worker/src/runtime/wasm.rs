//! Starting a function that is a component.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use evoke_core::manifest::RuntimeKind;
use evoke_core::outcome::{Failure, FailureCode};
use evoke_core::runtime::{Instance, InstanceSpec, PrepareError, PreparedBundle};

use super::command::API;
use super::place::Place;
use super::{ProcessRuntime, init_error};
use crate::egress;
use crate::frame::Form;
use crate::instance::{self, Guests, Loaded, Setup, Trunk};
use crate::launcher::Launcher;
use crate::prepare::find_entry;
use crate::wasm::{Apps, Components, Trunks};

/// What runs components.
#[derive(Debug)]
pub(super) struct Wasm {
    pub components: Arc<Components>,
    pub apps: Apps,
    pub trunks: Trunks,
}

impl ProcessRuntime {
    /// Compiles the components of a bundle that was just prepared.
    pub(super) async fn compile_components(&self, bundle: &PreparedBundle) -> Result<(), PrepareError> {
        let root = self.bundles.folder(&bundle.digest);
        for (kind, source) in bundle.sources.iter().filter(|(kind, _)| *kind == RuntimeKind::Wasm) {
            let entry = find_entry(&root, *kind, source)?;
            let name = entry.source.to_string_lossy();
            let launcher = self.launcher.lock().clone();
            let launcher =
                launcher.ok_or_else(|| PrepareError::Io("the server is shutting down".to_owned()))?;
            self.compiled(&root.join(&entry.load), &name, &launcher).await?;
        }
        Ok(())
    }

    /// The right to one more call at a time. What serves it is made in the app's process when it is called; all of a function are
    /// called over the same socket.
    pub(super) async fn start_wasm(
        &self,
        spec: &Arc<InstanceSpec>,
        launcher: &Launcher,
    ) -> Result<Box<dyn Instance>, Failure> {
        let trunk = self.wasm()?.trunks.get(spec, self.open_wasm(spec, launcher)).await?;
        let function = spec.function.to_string();
        trunk.guest(function, spec.egress.clone(), &self.egress).map_err(unreachable)
    }

    /// Opens a socket for it in its app's process, and waits until it is loaded.
    async fn open_wasm(&self, spec: &Arc<InstanceSpec>, launcher: &Launcher) -> Result<Trunk, Failure> {
        let place = Place::find(&self.bundles, spec)?;
        let compiled = self.compiled(Path::new(&place.source), &place.name, launcher).await;
        let compiled = compiled.map_err(|cause| init_error(cause.to_string()))?;
        let opened = self.wasm()?.apps.open(&spec.app, launcher, || self.next(launcher)).await;
        let (opened, worker) = opened.map_err(unreachable)?;
        let own = [
            ("EVOKE_API", API),
            ("EVOKE_APP", spec.app.as_str()),
            ("EVOKE_FUNCTION", spec.function.as_str()),
            ("EVOKE_REVISION", spec.revision.as_str()),
        ];
        let own = own.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        let setup = Setup {
            spec: Arc::clone(spec),
            process: opened.process,
            channel: opened.channel,
            stdout: None,
            stderr: None,
            // A function's own variables win.
            variables: Some(own.chain(spec.env.iter().cloned()).collect()),
            egress: None,
            shared_egress: None,
            form: Form::Compact,
            source: &compiled.to_string_lossy(),
            root: &place.root,
            name: &place.name,
            limits: &self.limits,
            tasks: self.tasks.clone(),
            zygote: false,
            early: Vec::new(),
        };
        match Box::pin(instance::start(setup)).await? {
            Loaded::Instance(instance) => {
                let guests = Guests { worker, common: egress::Common::new(&self.egress) };
                Trunk::new(*instance, Some(guests)).map_err(unreachable)
            }
            Loaded::Zygote(..) => Err(init_error("a component cannot be forked".to_owned())),
        }
    }

    async fn compiled(
        &self,
        source: &Path,
        name: &str,
        launcher: &Launcher,
    ) -> Result<PathBuf, PrepareError> {
        let wasm = self.wasm().map_err(|failure| PrepareError::Io(failure.message))?;
        wasm.components.compiled(source, name, launcher, || self.next(launcher)).await
    }

    /// A user's number and a folder for temporary files, where one is needed.
    fn next(&self, launcher: &Launcher) -> io::Result<(u32, Option<PathBuf>)> {
        let scratch = self.scratch_for(launcher).map_err(|failure| io::Error::other(failure.message))?;
        Ok((self.numbers.next(), scratch))
    }

    fn wasm(&self) -> Result<&Wasm, Failure> {
        let missing =
            || Failure::new(FailureCode::InitError, "this server was built without the runtime wasm");
        self.wasm.as_ref().ok_or_else(missing)
    }
}

fn unreachable(cause: io::Error) -> Failure {
    init_error(format!("its app's process cannot be started: {cause}"))
}

//! Preparing a bundle: its files first, then the packages they ask for.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use evoke_core::runtime::{InstallError, PrepareError, Prepared, PreparedBundle, Progress};

use super::ProcessRuntime;
use crate::aside::on_disk_thread;
use crate::packages::{self, Means, Wish};

impl ProcessRuntime {
    /// As [`evoke_core::runtime::Runtime::prepare`].
    pub(super) async fn prepare_bundle(
        &self,
        bundle: &PreparedBundle,
        bytes: Bytes,
        progress: &Progress,
    ) -> Result<Prepared, PrepareError> {
        let (bundles, unpacked) = (self.bundles.clone(), bundle.clone());
        let (root, wishes) = on_disk_thread(move || {
            let root = bundles.prepare(&unpacked, &bytes)?;
            let wishes = packages::wishes(&root, &unpacked.sources, unpacked.install)?;
            Ok::<_, PrepareError>((root, wishes))
        })
        .await?;
        Box::pin(self.compile_components(bundle)).await?;
        // If one cannot be installed, the others are given up.
        let installed = wishes.into_iter().map(|wish| self.supply(bundle, &root, wish, progress));
        let pins = futures_util::future::try_join_all(installed).await?;
        Ok(Prepared::holding(pins))
    }

    /// Has it installed and linked to.
    async fn supply(
        &self,
        bundle: &PreparedBundle,
        root: &Path,
        wish: Wish,
        progress: &Progress,
    ) -> Result<packages::Pin, PrepareError> {
        let (language, folder) = (wish.language, root.join(&wish.folder));
        let (tree, pin) = self.install(bundle, wish, progress).await?;
        let linked = on_disk_thread(move || packages::link(&folder, &tree, language)).await;
        linked.map_err(|cause| PrepareError::Io(cause.to_string()))?;
        Ok(pin)
    }

    async fn install(
        &self,
        bundle: &PreparedBundle,
        wish: Wish,
        progress: &Progress,
    ) -> Result<(PathBuf, packages::Pin), InstallError> {
        let failed = |message: String| InstallError {
            file: wish.file.clone(),
            line: None,
            message,
            output: Vec::new(),
            help: None,
        };
        let launcher = self.launcher.lock().clone();
        let launcher = launcher.ok_or_else(|| failed("the server is shutting down".to_owned()))?;
        let interpreter = self.programs.interpreter(wish.language, &launcher).await.map_err(failed)?;
        let means =
            Means { interpreter: interpreter.clone(), pip: self.shims.pip(), install: bundle.install };
        self.packages.install(wish, means, &launcher, progress).await
    }
}

//! What runs invocations here: processes of the app's functions, and Evoke itself for its hooks.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use evoke_core::manifest::RuntimeKind;
use evoke_core::outcome::Failure;
use evoke_core::runtime::{
    Instance, InstanceSpec, PrepareError, Prepared, PreparedBundle, Progress, Runtime,
};
use evoke_outbound::HookRuntime;
use evoke_worker::ProcessRuntime;

/// Both.
pub struct Runtimes {
    pub processes: ProcessRuntime,
    pub hooks: HookRuntime,
}

impl Runtimes {
    fn of(&self, kind: RuntimeKind) -> &dyn Runtime {
        match kind {
            RuntimeKind::Hook => &self.hooks,
            RuntimeKind::Node | RuntimeKind::Python | RuntimeKind::Provided | RuntimeKind::Wasm => {
                &self.processes
            }
        }
    }
}

#[async_trait]
impl Runtime for Runtimes {
    /// Only functions have files.
    async fn prepare(
        &self,
        bundle: &PreparedBundle,
        bytes: Bytes,
        progress: &Progress,
    ) -> Result<Prepared, PrepareError> {
        self.processes.prepare(bundle, bytes, progress).await
    }

    async fn start(&self, spec: Arc<InstanceSpec>) -> Result<Box<dyn Instance>, Failure> {
        self.of(spec.runtime).start(spec).await
    }

    fn is_preloaded(&self, spec: &InstanceSpec) -> bool {
        self.of(spec.runtime).is_preloaded(spec)
    }

    async fn discard(&self, wanted: HashSet<String>, grace: Duration) {
        self.processes.discard(wanted, grace).await;
    }

    async fn shutdown(&self) {
        self.hooks.shutdown().await;
        self.processes.shutdown().await;
    }
}

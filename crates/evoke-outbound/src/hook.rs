//! The runtime of hooks: to start an instance is to have a look at its secrets, and a call is a request.

mod instance;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use evoke_core::limits::Limits;
use evoke_core::outcome::{Failure, FailureCode};
use evoke_core::runtime::{
    Instance, InstanceSpec, PrepareError, Prepared, PreparedBundle, Progress, Runtime,
};
use evoke_core::time::Clock;

use crate::client::Client;
use instance::{Endpoint, HookInstance};

/// Delivers the events of hooks.
#[derive(Clone)]
pub struct HookRuntime {
    client: Client,
    clock: Arc<dyn Clock>,
    retry_after_max: Duration,
}

impl HookRuntime {
    /// Sends with `client`; `clock` is what the receivers' clocks are near.
    pub fn new(client: Client, clock: Arc<dyn Clock>, limits: &Limits) -> Self {
        Self { client, clock, retry_after_max: limits.hook_retry_after }
    }
}

#[async_trait]
impl Runtime for HookRuntime {
    /// A hook has no files.
    async fn prepare(&self, _: &PreparedBundle, _: Bytes, _: &Progress) -> Result<Prepared, PrepareError> {
        Ok(Prepared::default())
    }

    async fn start(&self, spec: Arc<InstanceSpec>) -> Result<Box<dyn Instance>, Failure> {
        let endpoint = Endpoint::new(&spec).map_err(|words| Failure::new(FailureCode::InitError, words))?;
        Ok(Box::new(HookInstance::new(self.clone(), Arc::new(endpoint), spec.instance_concurrency)))
    }

    async fn shutdown(&self) {}
}

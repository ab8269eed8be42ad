//! What the server sends out itself: connections by the rules of the workers, certificates by the system's authorities.

use std::path::Path;
use std::sync::Arc;

use evoke_core::limits::Limits;
use evoke_core::time::Clock;
use evoke_core::upstream::Forward;
use evoke_outbound::{Client, Dial, HookRuntime, Trust, Upstreams};
use evoke_worker::ProcessRuntime;

use super::failure;
use crate::exit::Result;

/// The authorities of the system, and those of `--ca-file`. Blocks on the disk.
pub fn trust(file: Option<&Path>) -> Result<Trust> {
    let trust = Trust::load(file).map_err(|cause| failure::ca_file(&cause))?;
    if trust.is_empty() {
        tracing::warn!(
            "this system trusts no certificate authority; hooks reach no https endpoint without --ca-file"
        );
    }
    Ok(trust)
}

/// What delivers the events of hooks.
pub fn hooks(
    processes: &ProcessRuntime,
    trust: &Trust,
    clock: Arc<dyn Clock>,
    limits: &Limits,
) -> HookRuntime {
    HookRuntime::new(Client::new(dial(processes), trust, limits.hook_requests), clock, limits)
}

/// What sends requests on to the upstreams of routes.
pub fn forward(processes: &ProcessRuntime, trust: &Trust) -> Forward {
    let upstreams = Upstreams::new(dial(processes), trust);
    Arc::new(move |upstream, request| {
        let upstreams = upstreams.clone();
        Box::pin(async move { upstreams.forward(&upstream, request).await })
    })
}

/// Connections by the rules that functions have: the same `--egress-allow` opens special addresses.
fn dial(processes: &ProcessRuntime) -> Dial {
    let dialler = processes.dialler();
    Arc::new(move |to, reach| {
        let dialler = dialler.clone();
        Box::pin(async move { dialler.dial(&to, reach).await })
    })
}

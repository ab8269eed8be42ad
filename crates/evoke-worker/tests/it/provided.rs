//! Functions that are programs: the runtime API as clients see it, and what becomes of those that break its rules.

mod api;
mod clients;
mod ends;
mod hostile;
mod platform;
mod streaming;

use evoke_core::manifest::RuntimeKind;
use evoke_core::outcome::Failure;
use evoke_core::runtime::InstanceSpec;

use crate::support::*;

/// Python with the runtime API by hand.
const PRELUDE: &str = include_str!("provided/prelude.py");

/// A prepared bundle whose bootstrap is `source` after the prelude.
async fn prepare(host: &Host, source: &str) -> InstanceSpec {
    let text = format!("{PRELUDE}\n{source}");
    host.prepare_as(RuntimeKind::Provided, "bootstrap", &[("bootstrap", &text)]).await.unwrap()
}

async fn guest(host: &Host, source: &str) -> Guest {
    let spec = prepare(host, source).await;
    host.start_spec(spec).await.unwrap()
}

async fn refused(host: &Host, source: &str) -> Failure {
    let spec = prepare(host, source).await;
    match host.start_spec(spec).await {
        Ok(_) => panic!("it started"),
        Err(failure) => failure,
    }
}

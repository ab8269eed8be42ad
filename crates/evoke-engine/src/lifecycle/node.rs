//! The node starts and stops; an app is deployed, or removed.

use std::time::Duration;

use evoke_core::id::{AppName, RunId};
use evoke_core::lifecycle::{APP_DEPLOYED, APP_REMOVED, NODE_STARTING, NODE_STOPPING};
use evoke_core::record::RunState;
use evoke_core::store::{Append, RunQuery};
use evoke_core::time::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{event, publish};
use crate::engine::Inner;
use crate::live::Accepting;
use crate::removal::Document;

/// How often the end of what reacts to a stop is looked for.
const LOOK: Duration = Duration::from_millis(20);

/// `evoke.app.deployed`. Under an id of this deployment, so that telling it again does nothing.
pub(crate) async fn deployed(inner: &Inner, name: &AppName) {
    let Some(app) = inner.directory.snapshot().apps.get(name).cloned() else { return };
    let deployment = &app.deployment;
    let data = json!({
        "app": name,
        "version": deployment.version,
        "bundle": deployment.bundle,
        "revisions": deployment.revisions,
        "deployed_at": deployment.deployed_at.to_rfc3339(),
    });
    let id = format!("deployed-{name}-{}-{}", deployment.version, deployment.deployed_at.as_millis());
    publish(inner, event(inner, &app, id, APP_DEPLOYED, name.as_str(), data)).await;
}

/// `evoke.app.removed`, to each of the other apps that wants it, to be accepted in the transaction that ends the removal.
pub(crate) fn removed(inner: &Inner, accepting: &Accepting<'_>, removal: &Document) -> Vec<Append> {
    let Document { app: name, version, asked_at, held } = removal;
    let id = format!("removed-{name}-{version}-{}", asked_at.as_millis());
    let data = json!({
        "app": name,
        "version": version,
        "asked_at": asked_at.to_rfc3339(),
        "removed_at": inner.now().to_rfc3339(),
        "held": held,
    });
    let news = |app| event(inner, app, id.clone(), APP_REMOVED, name.as_str(), data.clone());
    let apps = accepting.snapshot.apps.values();
    apps.filter_map(|app| news(app)?.append(inner, accepting)).collect()
}

/// `evoke.node.starting`, to each app; before it what an end of the server right after a deployment may have kept from it.
pub(crate) async fn starting(inner: &Inner) {
    let snapshot = inner.directory.snapshot();
    for (name, app) in &snapshot.apps {
        // Later than that, its id is forgotten, and it would be told twice.
        if inner.now().since(app.deployment.deployed_at) < inner.retention.dedup {
            deployed(inner, name).await;
        }
        let data = json!({ "app": name, "version": env!("CARGO_PKG_VERSION") });
        to_app(inner, name, NODE_STARTING, data).await;
    }
}

/// `evoke.node.stopping`, to each app. Returns when all that this started has ended, at `deadline` at the latest.
pub(crate) async fn stopping(inner: &Inner, grace: Duration, deadline: Instant) {
    let ends = inner.now().after(grace);
    let mut runs = Vec::new();
    for name in inner.directory.snapshot().apps.keys() {
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        let data = json!({ "app": name, "grace_ms": grace_ms, "deadline": ends.to_rfc3339() });
        runs.extend(to_app(inner, name, NODE_STOPPING, data).await);
    }
    let ended = async {
        for run in &runs {
            while is_awaited(inner, run, ends).await {
                tokio::time::sleep(LOOK).await;
            }
        }
    };
    if tokio::time::timeout_at(deadline, ended).await.is_err() {
        tracing::warn!(
            grace_s = grace.as_secs_f64(),
            "functions that react to the stop of this node are not done; they are ended, and start again with it"
        );
    }
}

async fn to_app(inner: &Inner, name: &AppName, ty: &str, data: Value) -> Vec<RunId> {
    let Some(app) = inner.directory.snapshot().apps.get(name).cloned() else { return Vec::new() };
    let id = inner.chance.lock().ids.event(inner.now());
    publish(inner, event(inner, &app, id, ty, name.as_str(), data)).await
}

/// Whether the run can still end in time: it runs, or an attempt is due before `ends`.
async fn is_awaited(inner: &Inner, run: &RunId, ends: Timestamp) -> bool {
    let query = RunQuery { id: Some(run.clone()), limit: 1, ..RunQuery::default() };
    let Ok(found) = inner.store.runs(&query).await else { return false };
    found.first().is_some_and(|run| match run.state {
        RunState::Queued => run.due_at.is_none_or(|due| due < ends),
        RunState::Running => true,
        _ => false,
    })
}

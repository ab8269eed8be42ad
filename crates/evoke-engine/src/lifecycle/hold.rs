//! A hook is disabled or enabled, a subscription paused or resumed: the event is in the transaction of the change itself.

use evoke_core::id::{AppName, RunId};
use evoke_core::lifecycle::{HOOK_DISABLED, HOOK_ENABLED, SUBSCRIPTION_PAUSED, SUBSCRIPTION_RESUMED};
use evoke_core::store::{Queue, SettleError, StoreError, Write};
use evoke_core::time::Timestamp;
use serde_json::{Value, json};

use super::event;
use crate::commit::commit;
use crate::engine::Inner;
use crate::route::Target;

/// What is held up, or goes on.
pub(crate) struct Change {
    app: AppName,
    ty: &'static str,
    /// What of the app.
    subject: String,
    data: Value,
}

impl Change {
    /// The endpoint of the hook `target` said in `run` that it wants no more.
    pub fn disabled(target: &Target, run: &RunId, reason: &str, at: Timestamp) -> Self {
        let data =
            json!({ "hook": target.name, "run": run, "reason": reason, "disabled_at": at.to_rfc3339() });
        Self { app: target.app.clone(), ty: HOOK_DISABLED, subject: target.name.to_string(), data }
    }

    /// Somebody enabled the hook `target`, which was disabled since `since`.
    pub fn enabled(target: &Target, since: Timestamp) -> Self {
        let data = json!({ "hook": target.name, "disabled_at": since.to_rfc3339() });
        Self { app: target.app.clone(), ty: HOOK_ENABLED, subject: target.name.to_string(), data }
    }

    /// Somebody paused the subscription that waits in `queue`.
    pub fn paused(queue: &Queue, at: Timestamp) -> Self {
        Self::of(queue, SUBSCRIPTION_PAUSED, at)
    }

    /// Somebody let it go on; it was paused since `since`.
    pub fn resumed(queue: &Queue, since: Timestamp) -> Self {
        Self::of(queue, SUBSCRIPTION_RESUMED, since)
    }

    fn of(queue: &Queue, ty: &'static str, paused_at: Timestamp) -> Self {
        let Queue { app, function, subscription } = queue;
        let name = subscription.as_ref().map_or("", |name| name.as_str());
        let data = json!({ "function": function, "subscription": name, "paused_at": paused_at.to_rfc3339() });
        Self { app: app.clone(), ty, subject: format!("{function}/{name}"), data }
    }
}

/// Writes the change, with the event that tells of it where the app wants one.
pub(crate) async fn write(inner: &Inner, write: Write, change: Change) -> Result<(), StoreError> {
    let Change { app, ty, subject, data } = change;
    let now = inner.now();
    let id = inner.chance.lock().ids.event(now);
    let app = inner.directory.snapshot().apps.get(&app).cloned();
    let told = app.and_then(|app| event(inner, &app, id, ty, &subject, data));
    let accepting = inner.accepting().await;
    let told = told.and_then(|news| news.append(inner, &accepting));
    match commit(inner, vec![write], Vec::from_iter(told), now).await {
        Ok(_) => Ok(()),
        Err(SettleError::Store(error)) => Err(error),
        Err(other) => Err(StoreError::Unavailable(other.to_string())),
    }
}

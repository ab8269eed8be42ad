//! A new version shares the work, has all of it, or none; an earlier one comes back. Each is told in the transaction that does it,
//! to the version that was current before.

use evoke_core::id::AppName;
use evoke_core::lifecycle::{APP_ROLLED_BACK, CANARY_PROMOTED, CANARY_STARTED, CANARY_WITHDRAWN};
use evoke_core::rollout::Portion;
use serde_json::{Value, json};

use super::{News, event};
use crate::deploy::{Deployment, Withdrawn};
use crate::engine::Inner;
use crate::rollout::Withdrawal;

/// `evoke.canary.started`.
pub(crate) fn canary_started(inner: &Inner, canary: &Deployment, weight: Portion) -> Option<News> {
    let Deployment { manifest, version, .. } = canary;
    let data = json!({ "app": manifest.app, "version": version, "weight": weight });
    news(inner, &manifest.app, CANARY_STARTED, *version, data)
}

/// `evoke.canary.promoted`: it was beside version `former`.
pub(crate) fn promoted(inner: &Inner, canary: &Deployment, former: u64) -> Option<News> {
    let Deployment { manifest, version, .. } = canary;
    let data = json!({ "app": manifest.app, "version": version, "former": former });
    news(inner, &manifest.app, CANARY_PROMOTED, *version, data)
}

/// `evoke.canary.withdrawn`.
pub(crate) fn withdrawn(inner: &Inner, app: &AppName, done: &Withdrawal) -> Option<News> {
    let Withdrawal { version, current, withdrawn: Withdrawn { at, automatic, reason } } = done;
    let data = json!({
        "app": app,
        "version": version,
        "current": current,
        "automatic": automatic,
        "reason": reason,
        "withdrawn_at": at.to_rfc3339(),
    });
    news(inner, app, CANARY_WITHDRAWN, *version, data)
}

/// `evoke.app.rolled_back`: version `from` was left for `next`, which is like an earlier one.
pub(crate) fn rolled_back(inner: &Inner, next: &Deployment, from: u64, why: &Withdrawn) -> Option<News> {
    let Deployment { manifest, version, back_to, .. } = next;
    let data = json!({
        "app": manifest.app,
        "version": version,
        "back_to": back_to,
        "from": from,
        "automatic": why.automatic,
        "reason": why.reason,
        "rolled_back_at": why.at.to_rfc3339(),
    });
    news(inner, &manifest.app, APP_ROLLED_BACK, *version, data)
}

fn news(inner: &Inner, app: &AppName, ty: &str, version: u64, data: Value) -> Option<News> {
    let to = inner.directory.snapshot().apps.get(app)?.clone();
    let id = format!("{ty}-{app}-{version}-{}", inner.now().as_millis());
    event(inner, &to, id, ty, app.as_str(), data)
}

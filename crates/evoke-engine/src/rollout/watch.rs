//! Whether a new version fails too often, looked at after each of its attempts, and what follows.
//!
//! The decision is `evoke_core::rollout::judge`. Each node counts what it did itself; the document says which of them was first.
//! What was taken back is not tried again by itself: what comes back is not watched.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evoke_core::id::AppName;
use evoke_core::record::AttemptRecord;
use evoke_core::rollout::{Guard, Tally, Verdict, judge};
use parking_lot::Mutex;

use super::{Role, RolloutError, Watch, back, change};
use crate::deploy::{Deployment, Withdrawn};
use crate::engine::Inner;
use crate::route::{App, Snapshot, Target};

/// The pause before a version that could not be taken back is judged again.
const AGAIN: Duration = Duration::from_secs(5);

/// Versions that are being taken back.
#[derive(Default)]
pub(crate) struct Acting(Mutex<BTreeSet<(AppName, u64)>>);

/// Counts how an attempt ended, and takes its version back if that was one too many.
pub(crate) fn attempted(inner: &Inner, app: &App, target: &Target, attempt: &AttemptRecord) {
    let snapshot = inner.directory.snapshot();
    let name = &app.deployment.manifest.app;
    let counts =
        snapshot.canaries.contains_key(name) || app.deployment.manifest.rollback.of_deploy().is_some();
    let Some(well) = attempt.outcome.is_well().filter(|_| counts) else { return };
    let new = {
        let mut tally = target.tally.lock();
        tally.note(!well, attempt.ended_at);
        tally.tally(attempt.ended_at)
    };
    let Some(case) = Case::of(inner, &snapshot, app, target) else { return };
    let Verdict::RollBack { allowed } = judge(new, case.old, &case.guard) else { return };
    if !inner.acting.0.lock().insert((name.clone(), case.version)) {
        return;
    }
    let reason = words(target, new, allowed, &case);
    let (acting, work) = (inner.me.clone(), inner.work.clone());
    let (name, version) = (name.clone(), case.version);
    work.spawn(async move {
        let Some(inner) = acting.upgrade() else { return };
        tracing::warn!(app = %name, version, reason, "the version fails too often and is taken back");
        let withdrawn = Withdrawn { at: inner.now(), automatic: true, reason };
        let done = match case.back_to {
            None => change::withdraw(&inner, &name, Some(version), withdrawn).await.map(drop),
            Some(back_to) => still(&inner, &name, version, back_to, withdrawn).await,
        };
        if let Err(error) = done {
            tracing::error!(app = %name, version, %error, "the version could not be taken back");
            inner.stopping.run_until_cancelled(tokio::time::sleep(AGAIN)).await;
        }
        inner.acting.0.lock().remove(&(name, version));
    });
}

/// Goes back if that version is current still.
async fn still(
    inner: &Inner,
    app: &AppName,
    version: u64,
    back_to: u64,
    withdrawn: Withdrawn,
) -> Result<(), RolloutError> {
    let current = inner.directory.snapshot().apps.get(app).map(|app| app.version());
    if current != Some(version) {
        return Ok(());
    }
    back::roll_back(inner, app, Some(back_to), withdrawn).await.map(drop)
}

/// A version that may be taken back, for what one of its functions does.
struct Case {
    version: u64,
    guard: Guard,
    /// What the version before or beside it did.
    old: Tally,
    /// The version that is beside it, or was before.
    other: u64,
    /// What is brought back; `None` for a canary.
    back_to: Option<u64>,
}

impl Case {
    fn of(inner: &Inner, snapshot: &Snapshot, app: &App, target: &Target) -> Option<Self> {
        let (name, version) = (&app.deployment.manifest.app, app.version());
        // As it is now: the attempt may have begun when it was something else.
        let now = snapshot.both(name).find(|now| now.version() == version)?;
        let rollback = now.deployment.manifest.rollback;
        match &now.role {
            Role::Canary { .. } => {
                let current = snapshot.apps.get(name)?;
                let old = current.functions.get(&target.name);
                // What both have says nothing of either.
                let same = old.is_some_and(|old| std::ptr::eq(&raw const *old.pool, &raw const *target.pool));
                let old = old.map(|old| old.tally.lock().tally(inner.now())).unwrap_or_default();
                let guard = rollback.of_canary().filter(|_| !same)?;
                Some(Self { version, guard, old, other: current.version(), back_to: None })
            }
            Role::Current { watch, .. } => {
                let watch = watch.as_ref().filter(|watch| inner.now() < watch.until)?;
                let old = watch.before.get(&target.name).copied().unwrap_or_default();
                let (guard, back_to) = (rollback.of_deploy()?, watch.back_to);
                Some(Self { version, guard, old, other: back_to, back_to: Some(back_to) })
            }
        }
    }
}

/// The watch over `next` in the place of `former`, where its manifest wants one.
pub(crate) fn over(inner: &Inner, next: &Deployment, former: &Deployment) -> Option<Watch> {
    let guard = next.manifest.rollback.of_deploy()?;
    let now = inner.now();
    let snapshot = inner.directory.snapshot();
    let present = snapshot.apps.get(&next.manifest.app).filter(|app| app.version() == former.version);
    let functions = present.into_iter().flat_map(|app| &app.functions);
    let before = functions.filter(|(name, _)| next.revisions.contains_key(*name));
    let before = before.map(|(name, target)| (name.clone(), target.tally.lock().tally(now)));
    let before: BTreeMap<_, _> = before.filter(|(_, tally)| tally.attempts > 0).collect();
    Some(Watch { version: next.version, back_to: former.version, until: now.after(guard.within), before })
}

fn words(target: &Target, new: Tally, allowed: f64, case: &Case) -> String {
    let percent = |rate: f64| format!("{:.1}%", rate * 100.0);
    let Case { old, other, .. } = case;
    let beside = match old.attempts {
        0 => String::new(),
        attempts => format!("; with version {other} it was {} of {attempts}", old.errors),
    };
    format!(
        "function {} failed in {} of {} attempts ({}), where {} may{beside}",
        target.name,
        new.errors,
        new.attempts,
        percent(new.rate()),
        percent(allowed),
    )
}

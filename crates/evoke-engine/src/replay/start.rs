//! Subscriptions that start in the past: their catching up begins in the transaction that deploys them.

use std::collections::BTreeMap;

use evoke_core::id::AppName;
use evoke_core::manifest::{Manifest, Start};
use evoke_core::store::{Expect, Queue, StoreError, Write};

use super::documents::{document, entries, read, remove};
use super::{CatchUp, REMEMBERED_MAX, Replay, State, Take, scan};
use crate::engine::Inner;
use crate::explain::{find, subscriptions};
use crate::position;

/// Of each subscription that `next` has and `former` had not, and that starts in the past, its catching up. What was under way
/// for one that goes, or went before, ends.
pub(crate) async fn begin(
    inner: &Inner,
    next: &Manifest,
    former: Option<&Manifest>,
) -> Result<Vec<Write>, StoreError> {
    let app = &next.app;
    let now = inner.now();
    let (running, over): (Vec<Replay>, Vec<Replay>) =
        all(inner, app).await?.into_iter().partition(|replay| replay.state == State::Running);
    let mut writes = Vec::new();
    for mut replay in running.into_iter().filter(|replay| replay.catch_up.is_some()) {
        let has = |manifest| find(manifest, &replay.function, &replay.subscription).is_some();
        if !(has(next) && former.is_some_and(has)) {
            let reason = format!("subscription {} was removed", replay.subscription);
            replay.state = State::Failed { at: now, reason };
            // Wherever it is by now.
            writes.push(document(&replay, Expect::Anything));
        }
    }
    let mut ends = None;
    for (function, name, on) in subscriptions(next) {
        if former.is_some_and(|former| find(former, function, &name).is_some()) {
            continue;
        }
        // A time that has not come means what is accepted from now on.
        let Some(at) = on.from.time(now).filter(|at| *at <= now) else { continue };
        let (end, oldest) = match ends {
            Some(ends) => ends,
            None => {
                let oldest = scan::oldest(inner, app).await?.map(|oldest| oldest.accepted_at);
                *ends.insert((position::end(inner).await?, oldest))
            }
        };
        let from = position::at(inner, at, end).await?;
        let archive_from = oldest.filter(|oldest| *oldest > at && on.from != Start::Beginning);
        let replay = Replay {
            id: inner.chance.lock().ids.replay(now),
            app: app.clone(),
            function: function.clone(),
            subscription: name,
            take: Take { from, to: end, archive_from, types: None, filter: None },
            next: from,
            seen: 0,
            delivered: 0,
            created_at: now,
            catch_up: Some(CatchUp { from: on.from, cut_at: None }),
            state: State::Running,
        };
        writes.push(document(&replay, Expect::Absent));
    }
    // The oldest first, as their ids are.
    let many = (over.len() + writes.len()).saturating_sub(REMEMBERED_MAX);
    writes.extend(over.iter().take(many).map(remove));
    Ok(writes)
}

/// A warning for each subscription that was there and has another start now: it does not start again.
pub(crate) fn moved(next: &Manifest, former: &Manifest) -> Vec<String> {
    let all = subscriptions(next);
    let moved = all.filter_map(|(function, name, on)| {
        let was = find(former, function, &name)?.from;
        (was != on.from).then(|| {
            format!(
                "subscription {function}/{name} has started already, so that from = \"{}\" changes nothing; `evoke events replay {function}/{name}` delivers earlier events",
                on.from
            )
        })
    });
    moved.collect()
}

/// Has it known in memory which subscriptions of an app are catching up. Before these are looked up for events.
pub(crate) async fn learn(inner: &Inner, app: &AppName) -> Result<(), StoreError> {
    let mut still = inner.live.still().await;
    still.are_not_live(app, catching_up(inner, app).await?.into_keys());
    Ok(())
}

/// Those of an app that are catching up.
pub(crate) async fn catching_up(inner: &Inner, app: &AppName) -> Result<BTreeMap<Queue, Replay>, StoreError> {
    let all = all(inner, app).await?.into_iter();
    let behind = all.filter(|replay| replay.state == State::Running && replay.catch_up.is_some());
    Ok(behind.map(|replay| (replay.queue(), replay)).collect())
}

async fn all(inner: &Inner, app: &AppName) -> Result<Vec<Replay>, StoreError> {
    entries(inner, &format!("{app}/")).await?.iter().map(read).collect()
}

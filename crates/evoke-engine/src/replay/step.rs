//! One step of a replay: the deliveries of a portion of the log, and the document that says so, in one transaction.

use std::time::Duration;

use evoke_core::manifest::Subscription;
use evoke_core::store::{Append, Expect, SettleError, Settled, Settlement, Space, StoreError, Verdict};
use evoke_core::time::Timestamp;

use super::documents::{document, key, read};
use super::page::{Page, Portion};
use super::{Replay, State};
use crate::deploy::{Deployment, read_json};
use crate::engine::Inner;
use crate::ingest::queues_of;
use crate::live::Still;

/// Deliveries of the function that may wait; a replay goes on when there are fewer, so that what comes in meanwhile has to wait
/// for no more than these.
const BACKLOG: u64 = 256;
/// How often the store is asked again whether a subscription has caught up, when it did not say.
const ASK: Duration = Duration::from_millis(100);

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stepped {
    /// There was nothing to do for now.
    Waits,
    /// It came further, and nothing was to be delivered.
    Looked,
    /// It put deliveries in the queue.
    Delivered,
}

/// Makes a step from the document of this revision.
pub(super) async fn step(inner: &Inner, replay: Replay, revision: u64) -> Result<Stepped, StoreError> {
    let snapshot = inner.directory.snapshot();
    let target = snapshot.target(&replay.app, &replay.function);
    let mut all = target.into_iter().flat_map(|target| (0_u32..).zip(&target.settings.on));
    let Some((at, on)) = all.find(|(_, on)| on.name() == replay.subscription) else {
        // What is deployed at this moment is in the store before it is current here.
        return match is_gone(inner, &replay).await? {
            Some(reason) => fail(inner, replay, revision, reason).await,
            None => Ok(Stepped::Waits),
        };
    };
    if is_behind(inner, &replay).await? {
        return Ok(Stepped::Waits);
    }
    let page = Page::read(inner, &replay, on).await?;
    let is_end = page.is_last && replay.catch_up.is_some();
    if is_end && page.is_empty() {
        return go_live(inner, replay, revision, (at, on)).await;
    }
    let now = inner.now();
    let portion = page.portion(inner, &replay, (at, on), now).await;
    if portion.seen == 0 && !page.is_empty() {
        return Ok(Stepped::Waits);
    }
    let over = page.is_last && portion.is_whole && !is_end;
    let (replay, appends) = advance(replay, portion, over, now);
    let stepped = if appends.is_empty() { Stepped::Looked } else { Stepped::Delivered };
    match settle(inner, &replay, revision, appends, now).await {
        // Right behind it, while hardly anything can have come in.
        Ok(settled) if is_end => match settled.revisions.first() {
            Some(revision) => go_live(inner, replay, *revision, (at, on)).await.map(|_| stepped),
            None => Ok(stepped),
        },
        Ok(_) => Ok(stepped),
        Err(SettleError::Store(error)) => Err(error),
        // It was cancelled, or another server made the step.
        Err(SettleError::Conflict { .. } | SettleError::StaleLease { .. }) => Ok(Stepped::Looked),
    }
}

/// The replay after a portion.
fn advance(mut replay: Replay, portion: Portion, over: bool, now: Timestamp) -> (Replay, Vec<Append>) {
    replay.seen += portion.seen;
    replay.delivered += portion.appends.len() as u64;
    replay.next = portion.next.unwrap_or(replay.next);
    if over {
        replay.next = replay.next.max(replay.take.to);
        replay.state = match replay.catch_up.as_ref().and_then(|catch_up| catch_up.cut_at) {
            Some(at) => State::Cancelled { at },
            None => State::Done { at: now },
        };
    }
    (replay, portion.appends)
}

/// The end of catching up: while nobody accepts events, the last ones of the log are delivered, and from then on each is when it
/// is accepted.
async fn go_live(
    inner: &Inner,
    replay: Replay,
    revision: u64,
    (at, on): (u32, &Subscription),
) -> Result<Stepped, StoreError> {
    let mut still = inner.live.still().await;
    let page = Page::read(inner, &replay, on).await?;
    if !page.is_last {
        // Much came in at the last moment.
        return Ok(Stepped::Looked);
    }
    let now = inner.now();
    let portion = page.portion(inner, &replay, (at, on), now).await;
    if !portion.is_whole {
        return Ok(Stepped::Waits);
    }
    let (replay, appends) = advance(replay, portion, true, now);
    match settle(inner, &replay, revision, appends, now).await {
        Ok(_) => {
            still.goes_live(&replay.queue());
            Ok(Stepped::Delivered)
        }
        // Whether it is live decides about the next event, so it has to be known before there is one.
        Err(SettleError::Store(StoreError::Outcome(cause))) => {
            tracing::warn!(cause, replay = %replay.id, "the store did not say whether a subscription has caught up");
            learn(inner, &replay, &mut still).await;
            Ok(Stepped::Looked)
        }
        Err(SettleError::Store(error)) => Err(error),
        Err(SettleError::Conflict { .. } | SettleError::StaleLease { .. }) => Ok(Stepped::Looked),
    }
}

/// Asks the store until it says how far the replay is.
async fn learn(inner: &Inner, replay: &Replay, still: &mut Still<'_>) {
    while !inner.stopping.is_cancelled() {
        let found = inner.store.get(&Space::replays(), &key(&replay.app, &replay.id), inner.now()).await;
        match found.and_then(|entry| entry.as_ref().map(read).transpose()) {
            Ok(Some(found)) if found.state == State::Running => return,
            Ok(_) => return still.goes_live(&replay.queue()),
            Err(error) => {
                tracing::warn!(%error, replay = %replay.id, "how far a replay is could not be read")
            }
        }
        inner.stopping.run_until_cancelled(tokio::time::sleep(ASK)).await;
    }
}

/// The deliveries and the document, or nothing.
async fn settle(
    inner: &Inner,
    replay: &Replay,
    revision: u64,
    appends: Vec<Append>,
    now: Timestamp,
) -> Result<Settled, SettleError> {
    let queues = queues_of(&appends);
    let settlement = Settlement {
        lease: None,
        verdict: Verdict::Complete,
        run: None,
        others: Vec::new(),
        writes: vec![document(replay, Expect::Revision(revision))],
        appends,
    };
    let settled = inner.store.settle(settlement, now).await;
    // Also after an error: whether it happened may be unknown.
    inner.agenda.wake(queues, now);
    settled
}

/// Why there is nobody to deliver to any more, by the store.
async fn is_gone(inner: &Inner, replay: &Replay) -> Result<Option<String>, StoreError> {
    let Replay { app, function, subscription, .. } = replay;
    let entry = inner.store.get(&Space::apps(), app.as_str(), inner.now()).await?;
    let deployment = entry.map(|entry| read_json::<Deployment>(&entry.key, &entry.value)).transpose()?;
    let settings = deployment.as_ref().and_then(|deployment| deployment.manifest.functions.get(function));
    Ok(match settings {
        None => Some(format!("function {function} is not deployed any more")),
        Some(settings) if !settings.on.iter().any(|on| on.name() == *subscription) => {
            Some(format!("function {function} has no subscription {subscription} any more"))
        }
        Some(_) => None,
    })
}

async fn fail(
    inner: &Inner,
    mut replay: Replay,
    revision: u64,
    reason: String,
) -> Result<Stepped, StoreError> {
    let now = inner.now();
    replay.state = State::Failed { at: now, reason };
    match settle(inner, &replay, revision, Vec::new(), now).await {
        Ok(_) | Err(SettleError::Conflict { .. } | SettleError::StaleLease { .. }) => Ok(Stepped::Looked),
        Err(SettleError::Store(error)) => Err(error),
    }
}

/// Whether the subscription has enough to do.
async fn is_behind(inner: &Inner, replay: &Replay) -> Result<bool, StoreError> {
    Ok(inner.store.waiting(&replay.queue(), inner.now(), BACKLOG).await?.pending >= BACKLOG)
}

//! How far each delivery of an event is.

use std::collections::BTreeMap;

use evoke_core::id::{FunctionName, ReplayId, RunId, SubscriptionName};
use evoke_core::manifest::{Manifest, Subscription};
use evoke_core::outcome::{FailureCode, Outcome};
use evoke_core::record::{AttemptRecord, RunRecord, RunState, Trigger};
use evoke_core::store::{DeadLetterQuery, StoreError, StoredEvent};
use evoke_core::time::Timestamp;

use super::find;
use super::hold::{self, Hold};
use crate::deploy::Deployment;
use crate::engine::Inner;
use crate::rollout;

/// One delivery.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Its run.
    pub run: RunId,
    /// Whether it was delivered again.
    pub again: bool,
    /// The replay that did.
    pub replay: Option<ReplayId>,
    /// Attempts so far.
    pub attempts: u32,
    /// Attempts there will be at most, by the retry policy of now.
    pub attempts_max: u32,
    /// How far it is.
    pub fate: Fate,
    /// What it waits for, while it waits.
    pub hold: Option<Hold>,
}

/// How far a delivery is.
#[derive(Debug, Clone, PartialEq)]
pub enum Fate {
    /// It waits for its first attempt, due then.
    Waiting {
        /// When.
        due_at: Timestamp,
    },
    /// An attempt is being made.
    Running,
    /// An attempt failed; the next is due then.
    Retrying {
        /// When.
        next_at: Timestamp,
        /// Why the last one failed.
        last_error: String,
    },
    /// The handler took it.
    Delivered {
        /// When.
        at: Timestamp,
    },
    /// It was given up and can be redriven.
    DeadLettered {
        /// When.
        at: Timestamp,
        /// Why.
        reason: String,
    },
    /// It was not attempted, or will not be any more.
    Dropped {
        /// When.
        at: Timestamp,
        /// Why.
        reason: String,
    },
    /// It ended long ago: its record is not kept any more.
    Forgotten,
}

/// By subscription: the function, and the name.
pub(super) type Deliveries = BTreeMap<(FunctionName, SubscriptionName), Vec<Delivery>>;

/// What became of the runs of an event.
pub(super) async fn deliveries(
    inner: &Inner,
    current: &Deployment,
    stored: &StoredEvent,
    runs: Vec<(RunId, Option<RunRecord>)>,
) -> Result<Deliveries, StoreError> {
    let met = match stored.version {
        Some(version) => rollout::version(inner, &stored.app, version).await?.map(|met| met.manifest),
        None => None,
    };
    let met = met.as_ref().unwrap_or(&current.manifest);
    let mut found = Deliveries::new();
    // Those whose records are gone: the ids are in the order of the subscriptions that took the event.
    let takers: Vec<_> = met.subscribers(&stored.event).collect();
    for (id, record) in runs {
        let again = stored.again.contains(&id);
        let Some(record) = record else {
            let place = stored.runs.iter().position(|run| *run == id);
            let taker = place.filter(|_| takers.len() == stored.runs.len()).and_then(|at| takers.get(at));
            if let Some((function, _, on)) = taker {
                let gone = Delivery {
                    run: id,
                    again,
                    replay: None,
                    attempts: 0,
                    attempts_max: 0,
                    fate: Fate::Forgotten,
                    hold: None,
                };
                found.entry(((*function).clone(), on.name())).or_default().push(gone);
            }
            continue;
        };
        let name = record.subscription.clone().unwrap_or_else(|| name_in(met, &record));
        let policy = find(&current.manifest, &record.function, &name).map(|on| on.retry.attempts);
        let hold = if record.state == RunState::Queued { hold::of(inner, &record).await? } else { None };
        let delivery = Delivery {
            run: id,
            again,
            replay: record.replay.clone(),
            attempts: record.attempts.last().map_or(0, |attempt| attempt.number),
            attempts_max: policy.unwrap_or(0),
            fate: fate(inner, &record).await?,
            hold,
        };
        found.entry((record.function.clone(), name)).or_default().push(delivery);
    }
    Ok(found)
}

/// The subscription a run is a delivery of, where that was before records said so.
fn name_in(manifest: &Manifest, record: &RunRecord) -> SubscriptionName {
    let (ty, subscription) = match &record.trigger {
        Trigger::Event { ty, subscription, .. } => (ty, subscription),
        // It was told of the end of other work, which no subscription of its own says.
        Trigger::Destination { fate, .. } => return SubscriptionName::from_text(fate.key()),
        _ => return SubscriptionName::from_text(""),
    };
    let function = manifest.functions.get(&record.function);
    let on = function.and_then(|function| function.on.get(*subscription as usize));
    on.map_or_else(|| SubscriptionName::from_text(ty.as_str()), Subscription::name)
}

/// Whether it was found out only then that the subscription does not take the event.
fn is_filtered(attempt: &AttemptRecord) -> bool {
    matches!(&attempt.outcome, Outcome::Rejected(failure) if failure.code == FailureCode::Filtered)
}

async fn fate(inner: &Inner, record: &RunRecord) -> Result<Fate, StoreError> {
    let last = record.attempts.last();
    let last_error = || last.map(|attempt| attempt.outcome.reason()).unwrap_or_default();
    let ended_at = record.ended_at.unwrap_or(record.created_at);
    Ok(match record.state {
        RunState::Running => Fate::Running,
        RunState::Queued => {
            let at = record.due_at.unwrap_or(record.created_at);
            match last {
                None => Fate::Waiting { due_at: at },
                Some(_) => Fate::Retrying { next_at: at, last_error: last_error() },
            }
        }
        RunState::Completed if last.is_some_and(is_filtered) => {
            Fate::Dropped { at: ended_at, reason: last_error() }
        }
        RunState::Completed => Fate::Delivered { at: ended_at },
        RunState::Failed => Fate::Dropped { at: ended_at, reason: last_error() },
        RunState::DeadLettered => {
            let query =
                DeadLetterQuery { run: Some(record.id.clone()), limit: 1, ..DeadLetterQuery::default() };
            let letter = inner.store.dead_letters(&query).await?.pop();
            let (at, reason) =
                letter.map_or_else(|| (ended_at, last_error()), |letter| (letter.at, letter.reason));
            Fate::DeadLettered { at, reason }
        }
    })
}

//! What became of an event: for each subscription what it made of the event when that was accepted, what it would make of it
//! now, and how far each delivery is.
//!
//! What was decided then is computed again: the log has the version of the deployment that the event met, and
//! `sys/deployments` its manifest (`past`). What came of it is in the records of the runs (`fate`).

mod fate;
mod hold;
mod past;

use std::collections::BTreeMap;

use evoke_core::event::Event;
use evoke_core::filter::{Cause, Filtered};
use evoke_core::id::{AppName, FunctionName, RunId, SubscriptionName};
use evoke_core::manifest::{self, Manifest, Subscription};
use evoke_core::record::{RunRecord, Trigger};
use evoke_core::store::{EventQuery, Queue, RunQuery, StoreError, StoredEvent};
use evoke_core::time::Timestamp;

use crate::Engine;
use crate::engine::Inner;
use crate::replay::start;
use crate::rollout;

pub use fate::{Delivery, Fate};
pub use hold::Hold;

/// Events of one id that are looked through for one of the right source.
const SAME_ID: usize = 100;

/// What became of an event.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// The event.
    pub event: StoredEvent,
    /// When the deployment it met was made; `None` when that is not known or not kept any more.
    pub deployed_at: Option<Timestamp>,
    /// The version of what is deployed now.
    pub current: u64,
    /// Each subscription that has to do with it, by function, in the order of the manifest.
    pub subscriptions: Vec<Subscriber>,
    /// How many further ones are deployed, for other types of events.
    pub others: usize,
}

/// A subscription, and what it has to do with an event.
#[derive(Debug, Clone)]
pub struct Subscriber {
    /// Whose.
    pub function: FunctionName,
    /// Which of the function's.
    pub name: SubscriptionName,
    /// Where it is sent to, for a hook; without the query, in which people put tokens.
    pub hook: Option<String>,
    /// What it made of the event when that was accepted.
    pub then: Then,
    /// What it would make of it now.
    pub now: Now,
    /// It catches up with earlier events and has not come to this one: positions of the log until then.
    pub behind: Option<u64>,
    /// What came of it, oldest first.
    pub deliveries: Vec<Delivery>,
}

/// What a subscription made of an event when that was accepted.
#[derive(Debug, Clone, PartialEq)]
pub enum Then {
    /// It took it.
    Took,
    /// A filter did not let it pass.
    Filtered(Filtered),
    /// It was for other types of events.
    OtherType,
    /// It was not there yet, or not any more.
    NotThere {
        /// The deployment that added it after that: its version, and when.
        added: Option<(u64, Timestamp)>,
    },
    /// Nobody knows: the deployment of then is not kept any more, or was not noted.
    Unknown,
}

/// What a subscription would make of an event now.
#[derive(Debug, Clone, PartialEq)]
pub enum Now {
    /// It would take it.
    Takes,
    /// A filter would not let it pass.
    Filtered(Filtered),
    /// It is for other types of events.
    OtherType,
    /// It is not there any more.
    Gone,
}

/// Why there is no explanation.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ExplainError {
    /// No such app.
    #[error("app {app} is not deployed")]
    NoApp {
        /// The app.
        app: AppName,
    },
    /// No such event.
    #[error("app {app} has no event {id:?}{}; it may be older than events are kept", of(.source_of))]
    NoEvent {
        /// The app.
        app: AppName,
        /// The event's id.
        id: String,
        /// The source that was asked for.
        source_of: Option<String>,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn of(source: &Option<String>) -> String {
    source.as_ref().map(|source| format!(" of source {source:?}")).unwrap_or_default()
}

impl Engine {
    /// The newest event of this id, and of this source if one is named.
    pub async fn event(
        &self,
        app: &AppName,
        id: &str,
        source: Option<&str>,
    ) -> Result<StoredEvent, ExplainError> {
        let query = EventQuery {
            app: Some(app.clone()),
            id: Some(id.to_owned()),
            limit: SAME_ID,
            ..EventQuery::default()
        };
        let mut found = self.store().events(&query).await?.into_iter();
        let wanted = |stored: &StoredEvent| source.is_none_or(|source| source == stored.event.source());
        found.find(wanted).ok_or_else(|| ExplainError::NoEvent {
            app: app.clone(),
            id: id.to_owned(),
            source_of: source.map(str::to_owned),
        })
    }

    /// What became of the newest event of this id.
    pub async fn explain(
        &self,
        app: &AppName,
        id: &str,
        source: Option<&str>,
    ) -> Result<Explanation, ExplainError> {
        let inner = &*self.0;
        let current = self.app(app).ok_or_else(|| ExplainError::NoApp { app: app.clone() })?;
        let stored = self.event(app, id, source).await?;
        let met = match stored.version {
            Some(version) if version == current.version => Some(current.clone()),
            Some(version) => rollout::version(inner, app, version).await?.map(Into::into),
            None => None,
        };
        let mut found = BTreeMap::new();
        let mut add = |manifest: &Manifest| {
            for (at, (function, name, on)) in subscriptions(manifest).enumerate() {
                if on.event.matches(stored.event.ty()) {
                    found.entry((function.clone(), name)).or_insert(at);
                }
            }
        };
        add(&current.manifest);
        met.iter().for_each(|met| add(&met.manifest));
        let runs = runs(inner, &stored).await?;
        let mut deliveries = fate::deliveries(inner, &current, &stored, runs).await?;
        for key in deliveries.keys() {
            found.entry(key.clone()).or_insert(usize::MAX);
        }
        let catching_up = start::catching_up(inner, app).await?;
        let mut order: Vec<_> = found.into_iter().collect();
        order.sort_by(|((a, _), at), ((b, _), bt)| (a, at).cmp(&(b, bt)));
        let event = &stored.event;
        let mut subscriptions: Vec<Subscriber> = Vec::with_capacity(order.len());
        for ((function, name), _) in order {
            let deliveries = deliveries.remove(&(function.clone(), name.clone())).unwrap_or_default();
            // Of a delivery that was dropped it may have been found out late that it should not have been made.
            let dropped = |one: &Delivery| matches!(one.fate, Fate::Dropped { .. });
            let took = deliveries.iter().any(|one| stored.runs.contains(&one.run) && !dropped(one));
            let then = match &met {
                _ if took => Then::Took,
                Some(met) => match then(find(&met.manifest, &function, &name), event) {
                    // What a pattern saw may have gone with the data.
                    Then::Filtered(Filtered { cause: Cause::Pattern, .. }) if stored.expired_at.is_some() => {
                        Then::Unknown
                    }
                    then => then,
                },
                None => Then::Unknown,
            };
            let now = match find(&current.manifest, &function, &name) {
                // It was told as the destination of other work; that is no subscription.
                None if is_destination(&name) => Now::Takes,
                on => now(on, event),
            };
            let subscription = Some(name.clone());
            let queue = Queue { app: app.clone(), function: function.clone(), subscription };
            let behind = catching_up.get(&queue).filter(|_| deliveries.is_empty() && now == Now::Takes);
            let behind = behind.and_then(|replay| stored.seq.checked_sub(replay.next));
            let settings = current.manifest.functions.get(&function);
            let hook = settings.and_then(|function| function.hook.as_ref()).map(|hook| hook.url.shown());
            subscriptions.push(Subscriber { function, name, hook, then, now, behind, deliveries });
        }
        if let Some(version) = stored.version {
            past::note_additions(inner, app, version, &mut subscriptions).await?;
        }
        let all = current.manifest.functions.values().map(|function| function.on.len()).sum::<usize>();
        let shown = subscriptions.iter().filter(|one| one.now != Now::Gone).count();
        Ok(Explanation {
            deployed_at: met.map(|met| met.deployed_at),
            current: current.version,
            event: stored,
            subscriptions,
            others: all.saturating_sub(shown),
        })
    }
}

/// All subscriptions of an app, with their functions and what tells those of one function apart.
pub(crate) fn subscriptions(
    manifest: &Manifest,
) -> impl Iterator<Item = (&FunctionName, SubscriptionName, &Subscription)> {
    let each = manifest.functions.iter();
    each.flat_map(|(name, function)| function.on.iter().map(move |on| (name, on.name(), on)))
}

/// The subscription of this name.
pub(crate) fn find<'m>(
    manifest: &'m Manifest,
    function: &FunctionName,
    name: &SubscriptionName,
) -> Option<&'m Subscription> {
    manifest.functions.get(function)?.on.iter().find(|on| on.name() == *name)
}

/// Whether deliveries of this name are those of a destination.
fn is_destination(name: &SubscriptionName) -> bool {
    [manifest::Fate::Success, manifest::Fate::Failure].iter().any(|fate| fate.key() == name.as_str())
}

fn then(on: Option<&Subscription>, event: &Event) -> Then {
    match on {
        None => Then::NotThere { added: None },
        Some(on) if !on.event.matches(event.ty()) => Then::OtherType,
        Some(on) => on.explain(event).map_or(Then::Took, Then::Filtered),
    }
}

fn now(on: Option<&Subscription>, event: &Event) -> Now {
    match on {
        None => Now::Gone,
        Some(on) if !on.event.matches(event.ty()) => Now::OtherType,
        Some(on) => on.explain(event).map_or(Now::Takes, Now::Filtered),
    }
}

/// Each run that the event caused, with its record if that is still kept.
async fn runs(inner: &Inner, stored: &StoredEvent) -> Result<Vec<(RunId, Option<RunRecord>)>, StoreError> {
    let mut runs = Vec::new();
    for id in stored.runs.iter().chain(&stored.again) {
        let query = RunQuery { id: Some(id.clone()), limit: 1, ..RunQuery::default() };
        runs.push((id.clone(), inner.store.runs(&query).await?.pop()));
    }
    // A delivery that was not queued is no run of the event's, but has a record that says why.
    let root = stored.event.extension_str(evoke_core::event::CORRELATION_ID);
    if let Some(root) = root.map(evoke_core::id::Correlation::from_text) {
        let query = RunQuery {
            app: Some(stored.app.clone()),
            root: Some(root),
            limit: inner.limits.page,
            ..RunQuery::default()
        };
        let reference = stored.event.reference();
        let is_ours =
            |run: &RunRecord| matches!(&run.trigger, Trigger::Event { event, .. } if *event == reference);
        let related = inner.store.runs(&query).await?.into_iter().filter(is_ours);
        for run in related.collect::<Vec<_>>() {
            if !runs.iter().any(|(id, _)| *id == run.id) {
                runs.push((run.id.clone(), Some(run)));
            }
        }
    }
    Ok(runs)
}

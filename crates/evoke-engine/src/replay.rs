//! Events of the log, delivered to one subscription: again, because somebody asks for that, or for the first time, because the
//! subscription is new and starts in the past (`start`).
//!
//! A replay is a document in `sys/replays`: what it takes, and how far it came. `run` goes through the log in steps; each is one
//! transaction that makes the deliveries of a page and moves the document on, under the condition that nobody else did
//! (`step`). So it goes on after a restart where it was, delivers no event twice, and several servers do not get in each other's way.

mod documents;
mod order;
mod page;
mod scan;
mod sieve;
pub(crate) mod start;
mod step;

use std::sync::Arc;
use std::time::Duration;

use evoke_core::filter::cesql::Expression;
use evoke_core::id::{AppName, FunctionName, ReplayId, SubscriptionName};
use evoke_core::manifest::{Start, TypePattern};
use evoke_core::store::{Expect, Held, Queue, SettleError, Space, StoreError};
use evoke_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::Engine;
use crate::engine::Inner;
use documents::{entries, key, read, remove, write};
pub use order::{Order, Point, Preview, ReplayError};
pub(crate) use start::{begin, catching_up, learn, moved};
use step::Stepped;

/// Pause between steps, so that a replay leaves room for what comes in.
const PAUSE: Duration = Duration::from_millis(20);
/// How often one that waits, as its subscription has enough to do, is looked at again.
const LOOK: Duration = Duration::from_millis(500);
/// Replays of one app that may be under way.
pub const RUNNING_MAX: usize = 8;
/// How long one that is over is remembered.
const REMEMBERED: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How many of an app that are over are remembered.
const REMEMBERED_MAX: usize = 100;

/// A replay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Replay {
    /// Its id.
    pub id: ReplayId,
    /// Whose events.
    pub app: AppName,
    /// The function they go to.
    pub function: FunctionName,
    /// The subscription of it.
    pub subscription: SubscriptionName,
    /// Which events.
    pub take: Take,
    /// The position that is looked at next.
    pub next: u64,
    /// Events looked at.
    pub seen: u64,
    /// Events delivered.
    pub delivered: u64,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// It is the beginning of a subscription that starts in the past, which gets no other events meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catch_up: Option<CatchUp>,
    /// How far it is.
    pub state: State,
}

/// The beginning of a subscription that starts in the past. What is accepted until it is over is part of it, beyond
/// [`Take::to`], where the log ended when it began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatchUp {
    /// Where it starts, as the manifest had it.
    pub from: Start,
    /// When somebody left out the rest of what was accepted before it was deployed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut_at: Option<Timestamp>,
}

impl Replay {
    /// How much of what there was when it began has been looked at, in percent.
    pub fn percent(&self) -> u64 {
        let (whole, done) =
            (self.take.to.saturating_sub(self.take.from), self.next.saturating_sub(self.take.from));
        if whole == 0 { 100 } else { (u128::from(done.min(whole)) * 100 / u128::from(whole)) as u64 }
    }

    /// Where its deliveries wait.
    pub(crate) fn queue(&self) -> Queue {
        let (app, function) = (self.app.clone(), self.function.clone());
        Queue { app, function, subscription: Some(self.subscription.clone()) }
    }
}

/// Which events of the log: those in a range of positions that pass, beside the subscription's own filters, these.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Take {
    /// From this position on.
    pub from: u64,
    /// Before this position.
    pub to: u64,
    /// When the oldest event there was had been accepted, where the range was to begin before that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive_from: Option<Timestamp>,
    /// Only of these types.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub types: Option<TypePattern>,
    /// Only those for which this is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<Expression>,
}

/// How far a replay is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// There is more to look at.
    Running,
    /// All events were looked at.
    Done {
        /// When.
        at: Timestamp,
    },
    /// Somebody ended it. What had been delivered stays.
    Cancelled {
        /// When.
        at: Timestamp,
    },
    /// It cannot go on.
    Failed {
        /// When.
        at: Timestamp,
        /// Why.
        reason: String,
    },
}

impl Engine {
    /// What a replay would deliver; looks at a bounded number of events.
    pub async fn preview_replay(&self, app: &AppName, order: &Order) -> Result<Preview, ReplayError> {
        let take = self.resolve(app, order).await?;
        Ok(scan::preview(&self.0, app, order, &take).await?)
    }

    /// Begins a replay. Durable when it returns.
    pub async fn replay(&self, app: &AppName, order: &Order) -> Result<Replay, ReplayError> {
        let inner = &self.0;
        let _work = inner.begin().ok_or(ReplayError::Draining)?;
        let take = self.resolve(app, order).await?;
        let (running, over): (Vec<_>, Vec<_>) =
            self.replays(app).await?.into_iter().partition(|replay| replay.state == State::Running);
        // Those that catch up nobody asked for one by one; there are as many as subscriptions at most.
        if running.iter().filter(|replay| replay.catch_up.is_none()).count() >= RUNNING_MAX {
            return Err(ReplayError::TooMany { app: app.clone() });
        }
        let old: Vec<_> = over.iter().skip(REMEMBERED_MAX - 1).map(remove).collect();
        if !old.is_empty() {
            inner.store.write(old, inner.now()).await.map_err(|error| match error {
                SettleError::Store(error) => error,
                other => StoreError::Unavailable(other.to_string()),
            })?;
        }
        let now = inner.now();
        let replay = Replay {
            id: inner.chance.lock().ids.replay(now),
            app: app.clone(),
            function: order.function.clone(),
            subscription: order.subscription.clone(),
            next: take.from,
            take,
            seen: 0,
            delivered: 0,
            created_at: now,
            catch_up: None,
            state: State::Running,
        };
        write(inner, &replay, Expect::Absent).await?;
        Ok(replay)
    }

    /// The replays of an app, newest first: those under way, and those that ended lately.
    pub async fn replays(&self, app: &AppName) -> Result<Vec<Replay>, StoreError> {
        let all = entries(&self.0, &format!("{app}/")).await?;
        let mut all: Vec<Replay> = all.iter().map(read).collect::<Result<_, _>>()?;
        all.reverse();
        Ok(all)
    }

    /// One replay.
    pub async fn find_replay(&self, app: &AppName, id: &ReplayId) -> Result<Replay, ReplayError> {
        let inner = &self.0;
        let entry = inner.store.get(&Space::replays(), &key(app, id), inner.now()).await?;
        let entry = entry.ok_or_else(|| ReplayError::NoReplay { app: app.clone(), id: id.clone() })?;
        Ok(read(&entry)?)
    }

    /// Ends a replay; one that is over stays as it is. What it delivered stays delivered. Of one that catches up the rest is left
    /// out that was accepted before its subscription was deployed; it goes on with what came since.
    pub async fn cancel_replay(&self, app: &AppName, id: &ReplayId) -> Result<Replay, ReplayError> {
        let inner = &self.0;
        loop {
            let entry = inner.store.get(&Space::replays(), &key(app, id), inner.now()).await?;
            let Some(entry) = entry else {
                return Err(ReplayError::NoReplay { app: app.clone(), id: id.clone() });
            };
            let mut replay = read(&entry)?;
            let now = inner.now();
            match &mut replay.catch_up {
                _ if replay.state != State::Running => return Ok(replay),
                None => replay.state = State::Cancelled { at: now },
                Some(CatchUp { cut_at: Some(_), .. }) => return Ok(replay),
                Some(catch_up) => {
                    catch_up.cut_at = Some(now);
                    replay.next = replay.next.max(replay.take.to);
                }
            }
            // A step may have been made meanwhile.
            if write(inner, &replay, Expect::Revision(entry.revision)).await? {
                return Ok(replay);
            }
        }
    }
}

/// Makes the steps of all replays, until the engine stops taking work. `changes` are those of their documents.
pub(crate) async fn run(inner: Arc<Inner>, mut changes: watch::Receiver<u64>) {
    while !inner.stopping.is_cancelled() {
        changes.mark_unchanged();
        let pause = match round(&inner).await {
            Ok(Round { stepped: Some(Stepped::Delivered), .. }) => Some(PAUSE),
            Ok(Round { stepped: Some(Stepped::Looked), .. }) => Some(Duration::ZERO),
            Ok(Round { running: true, .. }) => Some(LOOK),
            Ok(_) => None,
            Err(error) => {
                tracing::warn!(%error, "a replay could not go on; it is tried again");
                Some(LOOK)
            }
        };
        let rest = async {
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                // Nothing to do before somebody begins one; without a store there is nothing to do at all.
                None => match changes.changed().await {
                    Ok(()) => {}
                    Err(_) => std::future::pending().await,
                },
            }
        };
        inner.stopping.run_until_cancelled(rest).await;
    }
}

/// What became of a round.
#[derive(Default)]
struct Round {
    /// There are replays under way.
    running: bool,
    /// The most that one of them did.
    stepped: Option<Stepped>,
}

/// A step of each.
async fn round(inner: &Inner) -> Result<Round, StoreError> {
    let mut round = Round::default();
    for entry in entries(inner, "").await? {
        let replay = read(&entry)?;
        if replay.state != State::Running {
            continue;
        }
        let Some(_work) = inner.begin() else { break };
        round.running = true;
        let stepped = step::step(inner, replay, entry.revision).await?;
        round.stepped = round.stepped.max(Some(stepped));
    }
    Ok(round)
}

/// What replays under way still have to come to: it is kept.
pub(crate) async fn held(inner: &Inner) -> Result<Vec<Held>, StoreError> {
    let all = entries(inner, "").await?;
    let all: Vec<Replay> = all.iter().map(read).collect::<Result<_, _>>()?;
    let open = all.into_iter().filter(|replay| replay.state == State::Running);
    let held = |replay: Replay| Held {
        app: replay.app,
        after: replay.next.saturating_sub(1),
        through: if replay.catch_up.is_some() { u64::MAX } else { replay.take.to.saturating_sub(1) },
    };
    Ok(open.map(held).collect())
}

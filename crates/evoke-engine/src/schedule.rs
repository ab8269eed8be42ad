//! Publishes an event whenever a schedule fires.
//!
//! The event's id is the time it fires at, and its source names the schedule: restarts, clocks that jump back and other
//! nodes that fire the same schedule all make the same event, which the store takes once. How far a schedule got is
//! written in the transaction that accepts its event; what was missed while no server ran is found by it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use evoke_core::event::{Data, Event};
use evoke_core::id::{AppName, ScheduleName};
use evoke_core::schedule::{Schedule, Timer};
use evoke_core::store::{
    Expect, SettleError, Settlement, Space, StoreError, Value, ValueKind, Verdict, Write,
};
use evoke_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Engine;
use crate::arrival::Arrival;
use crate::engine::Inner;
use crate::ingest::{append_event, queues_of};
use crate::route::App;

/// How often the plan is compared with the clock at least: one that jumps is noticed by then.
const LOOK: Duration = Duration::from_secs(5);
/// Pause before the store is asked again after an error.
const AFTER_ERROR: Duration = Duration::from_secs(1);
/// How long the place of a schedule that is no longer there is kept.
const FORGET: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Fire times that a list has of each schedule.
const AHEAD: usize = 3;

/// A schedule as it is deployed now.
#[derive(Debug, Clone)]
pub struct Scheduled {
    /// Its name.
    pub name: ScheduleName,
    /// When it fires, and what it publishes.
    pub schedule: Schedule,
    /// When it fired last, or was first deployed.
    pub last: Option<Timestamp>,
    /// When it will fire next, the next few times.
    pub next: Vec<Timestamp>,
}

impl Engine {
    /// The schedules of an app, by name. `None` when there is no such app.
    pub async fn schedules(&self, app: &AppName) -> Result<Option<Vec<Scheduled>>, StoreError> {
        let snapshot = self.0.directory.snapshot();
        let Some(found) = snapshot.apps.get(app) else { return Ok(None) };
        let now = self.now();
        let mut list = Vec::new();
        for (name, schedule) in &found.deployment.manifest.schedules {
            let place = read_place(&self.0, app, name, &schedule.timer).await?;
            let last = place.map(|place| place.last);
            let from = last.map_or(now, |last| Schedule::resume(last, now).max(now));
            let next = std::iter::successors(schedule.timer.next(from), |at| schedule.timer.next(*at));
            list.push(Scheduled {
                name: name.clone(),
                schedule: schedule.clone(),
                last,
                next: next.take(AHEAD).collect(),
            });
        }
        Ok(Some(list))
    }
}

/// The `source` of the events of a schedule.
fn source(app: &AppName, name: &ScheduleName) -> String {
    format!("/{app}/schedules/{name}")
}

/// How far a schedule got, as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Place {
    /// Of another timer the place means nothing.
    timer: Timer,
    /// When it fired last, or was first deployed.
    last: Timestamp,
}

/// A schedule that is waited for.
struct Plan {
    timer: Timer,
    last: Timestamp,
    next: Option<Timestamp>,
}

/// Fires schedules until the engine stops taking work.
pub(crate) async fn fire(inner: Arc<Inner>) {
    let mut plans: BTreeMap<(AppName, ScheduleName), Plan> = BTreeMap::new();
    while !inner.stopping.is_cancelled() {
        // From before the look, so that no deployment falls between the two.
        let deployed = inner.directory.changed();
        let snapshot = inner.directory.snapshot();
        plans.retain(|(app, name), plan| {
            let found = snapshot.apps.get(app).and_then(|app| app.deployment.manifest.schedules.get(name));
            found.is_some_and(|schedule| schedule.timer == plan.timer)
        });
        let mut wait = LOOK;
        for (app, found) in &snapshot.apps {
            for (name, schedule) in &found.deployment.manifest.schedules {
                let key = (app.clone(), name.clone());
                match look(&inner, found, name, schedule, plans.remove(&key)).await {
                    Ok(plan) => {
                        wait = plan.next.map_or(wait, |next| wait.min(next.since(inner.now())));
                        plans.insert(key, plan);
                    }
                    Err(error) => {
                        tracing::warn!(%error, %app, schedule = %name, "a schedule could not be fired or looked up");
                        wait = wait.min(AFTER_ERROR);
                    }
                }
            }
        }
        tokio::select! {
            biased;
            () = deployed => {}
            () = tokio::time::sleep(wait) => {}
            () = inner.stopping.cancelled() => return,
        }
    }
}

/// Fires the schedule if that is due, and says when to look again.
async fn look(
    inner: &Inner,
    app: &App,
    name: &ScheduleName,
    schedule: &Schedule,
    plan: Option<Plan>,
) -> Result<Plan, SettleError> {
    let now = inner.now();
    let last = match plan {
        Some(plan) if plan.next.is_none_or(|next| now < next) && plan.last.since(now) == Duration::ZERO => {
            return Ok(plan);
        }
        Some(plan) => plan.last,
        None => first_look(inner, &app.deployment.manifest.app, name, schedule, now).await?,
    };
    let mut last = Schedule::resume(last, now);
    if let Some(at) = schedule.due(last, now) {
        let Some(_work) = inner.begin() else {
            return Ok(Plan { timer: schedule.timer.clone(), last, next: None });
        };
        publish(inner, app, name, schedule, at, now).await?;
        last = at;
    }
    let next = schedule.timer.next(last.max(now));
    Ok(Plan { timer: schedule.timer.clone(), last, next })
}

/// How far the schedule got before. One that is new begins now, and that is written down: a restart a moment later must
/// find what it missed.
async fn first_look(
    inner: &Inner,
    app: &AppName,
    name: &ScheduleName,
    schedule: &Schedule,
    now: Timestamp,
) -> Result<Timestamp, SettleError> {
    if let Some(place) = read_place(inner, app, name, &schedule.timer).await? {
        return Ok(place.last);
    }
    inner.store.write(vec![write_place(app, name, schedule, now)], now).await?;
    Ok(now)
}

async fn read_place(
    inner: &Inner,
    app: &AppName,
    name: &ScheduleName,
    timer: &Timer,
) -> Result<Option<Place>, StoreError> {
    let entry = inner.store.get(&Space::schedules(), &format!("{app}/{name}"), inner.now()).await?;
    // What cannot be read is of a timer that no longer is one.
    let place = entry.and_then(|entry| serde_json::from_slice::<Place>(&entry.value.bytes).ok());
    Ok(place.filter(|place| place.timer == *timer))
}

fn write_place(app: &AppName, name: &ScheduleName, schedule: &Schedule, last: Timestamp) -> Write {
    let timer = schedule.timer.clone();
    let next = timer.next(last).unwrap_or(last);
    let bytes = serde_json::to_vec(&Place { timer, last }).expect("texts and numbers have a JSON form");
    Write {
        space: Space::schedules(),
        key: format!("{app}/{name}"),
        value: Some(Value { kind: ValueKind::Json, bytes: bytes.into() }),
        expires_at: Some(next.after(FORGET)),
        expect: Expect::Anything,
    }
}

/// Accepts the event of the time `at`, and notes in the same transaction that the schedule got there.
async fn publish(
    inner: &Inner,
    app: &App,
    name: &ScheduleName,
    schedule: &Schedule,
    at: Timestamp,
    now: Timestamp,
) -> Result<(), SettleError> {
    let id = &app.deployment.manifest.app;
    let fires = at.to_rfc3339();
    let mut event = Event::new(fires.as_str(), source(id, name), schedule.event.as_str())
        .with_subject(name.as_str())
        .with_time(fires);
    if let Some(data) = &schedule.data {
        event = event.with_data(Data::Json(data.clone()), Some("application/json".to_owned()));
    }
    let cause = inner.cause_of_arrival(None, &Arrival::default());
    let accepting = inner.accepting().await;
    let to = (&accepting, accepting.current(app));
    let item = append_event(inner, to, event, &cause, &mut inner.allowance(), now);
    let due = queues_of(std::slice::from_ref(&item));
    let waits = inner.waits.before(&[], std::slice::from_ref(&item));
    let settled = inner
        .store
        .settle(
            Settlement {
                lease: None,
                verdict: Verdict::Complete,
                run: None,
                others: Vec::new(),
                writes: vec![write_place(id, name, schedule, at)],
                appends: vec![item],
            },
            now,
        )
        .await;
    inner.waits.after(waits, settled.as_ref().ok().map(|settled| settled.appended.as_slice()));
    // Also after an error: whether it happened may be unknown.
    inner.agenda.wake(due, now);
    settled.map(drop)
}

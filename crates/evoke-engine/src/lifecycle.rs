//! What the platform itself has to say, as events of the apps that want to hear it.
//!
//! They are durable like all others, but written only where a subscription takes them. What goes back to such an event,
//! by whatever chain of events and calls, is marked by its correlation id and causes no further ones about trouble: a
//! function that fails on `evoke.function.failing` does not cause another one. `docs/reference/lifecycle.md` has the
//! types; `node` tells of starts, stops and deployments, `trouble` of what goes wrong, `hold` of what is held up and goes on,
//! `rollout` of versions that share the work.

mod health;
mod hold;
mod node;
mod rollout;
mod trouble;

use std::collections::BTreeMap;

use evoke_core::event::Event;
use evoke_core::id::{AppName, RunId};
use evoke_core::lifecycle::{PREFIX, SOURCE};
use evoke_core::rate::Bucket;
use evoke_core::record::Cause;
use evoke_core::store::Append;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::Instant;

use crate::arrival::Arrival;
use crate::engine::Inner;
use crate::ingest::{append_event, queues_of};
use crate::live::Accepting;
use crate::route::App;

pub(crate) use health::Health;
pub(crate) use hold::{Change, write};
pub(crate) use node::{deployed, removed, starting, stopping};
pub(crate) use rollout::{canary_started, promoted, rolled_back, withdrawn};
pub(crate) use trouble::{attempted, dead_letter, loop_stopped, loop_suspected};

/// How much each app has been told of trouble.
#[derive(Default)]
pub(crate) struct Told(Mutex<BTreeMap<AppName, Tale>>);

impl Told {
    /// Forgets what an app was told.
    pub fn forget(&self, app: &AppName) {
        self.0.lock().remove(app);
    }
}

struct Tale {
    rate: Bucket,
    /// What the rate left out since the last event.
    untold: u64,
}

/// Whether it goes back to an event of the platform's own.
fn is_descendant(cause: &Cause) -> bool {
    cause.root.as_str().starts_with(PREFIX)
}

/// An event of the platform's own that an app wants.
pub(crate) struct News {
    app: AppName,
    event: Event,
    cause: Cause,
}

impl News {
    /// For the app as it is deployed when the event is accepted; nothing, when it is gone.
    pub fn append(self, inner: &Inner, accepting: &Accepting<'_>) -> Option<Append> {
        let to = accepting.snapshot.apps.get(&self.app)?;
        let (cause, allowance) = (&self.cause, &mut inner.allowance());
        Some(append_event(inner, (accepting, to), self.event, cause, allowance, inner.now()))
    }
}

/// The event, if the app wants it. The same `id` within a day is the same event.
fn event(inner: &Inner, app: &App, id: String, ty: &str, subject: &str, data: Value) -> Option<News> {
    let event = Event::new(id, SOURCE, ty).with_subject(subject).with_json(data);
    app.subscribers(&event, &mut inner.allowance()).first()?;
    let now = inner.now();
    // Marks what it causes, however far away.
    let root = format!("{PREFIX}{}", inner.chance.lock().ids.event(now));
    let cause = inner.cause_of_arrival(Some(&root), &Arrival::default());
    Some(News { app: app.deployment.manifest.app.clone(), event, cause })
}

/// An event about trouble, if the app wants it and was not told too much lately. Its data gets the member `untold`: how
/// many others were left out for that reason since the last one.
fn trouble(
    inner: &Inner,
    app: &App,
    id: String,
    ty: &str,
    subject: &str,
    mut data: serde_json::Map<String, Value>,
) -> Option<News> {
    let name = &app.deployment.manifest.app;
    let limits = &inner.limits;
    let mut tales = inner.told.0.lock();
    let untold = tales.get(name).map_or(0, |tale| tale.untold);
    data.insert("untold".to_owned(), untold.into());
    let item = event(inner, app, id, ty, subject, Value::Object(data))?;
    let tale = tales.entry(name.clone()).or_insert_with(|| Tale {
        rate: Bucket::new(limits.lifecycle_events_per_second, limits.lifecycle_events_at_once),
        untold: 0,
    });
    if tale.rate.take(1, Instant::now()) {
        tale.untold = 0;
        return Some(item);
    }
    tale.untold += 1;
    None
}

/// Accepts it. Returns the runs it started; an error is logged, because nobody waits for this who could do more.
async fn publish(inner: &Inner, news: Option<News>) -> Vec<RunId> {
    let Some(news) = news else { return Vec::new() };
    let accepting = inner.accepting().await;
    let Some(item) = news.append(inner, &accepting) else { return Vec::new() };
    let now = inner.now();
    let due = queues_of(std::slice::from_ref(&item));
    let waits = inner.waits.before(&[], std::slice::from_ref(&item));
    let appended = inner.store.append(vec![item], now).await;
    inner.waits.after(waits, appended.as_deref().ok());
    // Also after an error: whether it happened may be unknown.
    inner.agenda.wake(due, now);
    match appended {
        Ok(appended) => appended.into_iter().flat_map(|one| one.runs).collect(),
        Err(error) => {
            tracing::warn!(%error, "an event of the platform's own was not accepted");
            Vec::new()
        }
    }
}

/// [`publish`] by itself, which a drain waits for.
fn publish_beside(inner: &Inner, news: Option<News>) {
    if news.is_some()
        && let Some(inner) = inner.me.upgrade()
    {
        let work = inner.work.clone();
        work.spawn(async move { drop(publish(&inner, news).await) });
    }
}

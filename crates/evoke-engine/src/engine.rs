//! The engine as its users hold it: what it is made of, how it starts, how it ends.

use std::sync::{Arc, Weak};
use std::time::Duration;

use evoke_core::id::{IdSource, RunId};
use evoke_core::limits::Limits;
use evoke_core::origin::Origins;
use evoke_core::record::LogRecord;
use evoke_core::runtime::Runtime;
use evoke_core::store::{Retention, Space, Store, StoreError};
use evoke_core::time::{Clock, Timestamp};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::sync::broadcast;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::admission::Hall;
use crate::again::Budgets;
use crate::call::KeysInUse;
use crate::chain::{Rates, Spans, Starts};
use crate::deploy::Files;
use crate::endings::Endings;
use crate::experiment::Promotions;
use crate::hook::Hooks;
use crate::later::Later;
use crate::lifecycle::Told;
use crate::live::Live;
use crate::place::Places;
use crate::queue::Agenda;
use crate::recorder::Recorder;
use crate::refusal::Refusal;
use crate::removal::Removals;
use crate::retain::Ready;
use crate::rollout::Acting;
use crate::route::Directory;
use crate::secrets::{SealingKey, Vault};
use crate::subscription::Pauses;
use crate::under_way::UnderWay;
use crate::wait::Waits;
use crate::{
    deploy, experiment, hook, later, lifecycle, pool, queue, recorder, removal, replay, retain, schedule,
    secrets, subscription, wait,
};

/// What an engine is made of.
pub struct Parts {
    /// Where everything durable is.
    pub store: Arc<dyn Store>,
    /// What runs guest code.
    pub runtime: Arc<dyn Runtime>,
    /// Wall-clock time.
    pub clock: Arc<dyn Clock>,
    /// Every bound.
    pub limits: Limits,
    /// How long things are kept.
    pub retention: Retention,
    /// Seed of ids and jitter; random in production.
    pub seed: u64,
    /// What secrets are sealed with.
    pub secrets_key: SealingKey,
    /// What this server calls itself to others.
    pub name: String,
    /// The connections that functions have open, as the runtime notes them.
    pub origins: Origins,
}

/// Why an engine does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What the store holds of an app cannot be read.
    #[error("app {app}: its stored deployment cannot be read: {cause}")]
    Deployment {
        /// Which.
        app: String,
        /// Why.
        cause: String,
    },
}

/// A running engine. Cheap to clone; all clones are the same engine.
#[derive(Clone)]
pub struct Engine(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    /// For what starts work by itself.
    pub me: Weak<Inner>,
    pub store: Arc<dyn Store>,
    pub runtime: Arc<dyn Runtime>,
    pub clock: Arc<dyn Clock>,
    pub limits: Limits,
    pub retention: Retention,
    pub chance: Mutex<Chance>,
    pub directory: Directory,
    /// Which bundles can be started from.
    pub files: Files,
    /// Bounds the instances of all pools together.
    pub places: Arc<Places>,
    /// Decides who may use them, and when.
    pub hall: Arc<Hall>,
    pub agenda: Agenda,
    pub later: Later,
    pub live: Live,
    pub told: Told,
    pub starts: Starts,
    pub spans: Spans,
    pub rates: Rates,
    pub name: String,
    pub origins: Origins,
    pub recorder: Recorder,
    /// What is being attempted here.
    pub under_way: UnderWay,
    /// Whose end somebody waits for.
    pub endings: Endings,
    pub keys_in_use: KeysInUse,
    pub vault: Vault,
    pub refusal: Refusal,
    pub budgets: Budgets,
    pub pauses: Pauses,
    pub hooks: Hooks,
    pub promotions: Promotions,
    pub waits: Arc<Waits>,
    pub removals: Removals,
    pub acting: Acting,
    pub ready: Ready,
    /// Whose turn it is to decide late whether a subscription takes an event.
    pub deciding: Semaphore,
    /// Where the engine was started, and where what is not a call belongs: calls may be made in other runtimes, on threads that
    /// nothing long may keep from the next call.
    pub home: Handle,
    /// Everything that runs for the sake of a caller or an event.
    pub work: TaskTracker,
    /// The engine's own loops.
    pub loops: TaskTracker,
    /// No new work.
    pub stopping: CancellationToken,
    /// End the work there is.
    pub ending: CancellationToken,
    /// End the loops.
    pub ended: CancellationToken,
}

/// Ids and jitter, from one seed.
pub(crate) struct Chance {
    pub ids: IdSource,
    pub jitter: fastrand::Rng,
}

impl Inner {
    /// Begins something that [`Engine::drain`] waits for until the token is dropped. `None` when no new work is taken.
    pub fn begin(&self) -> Option<TaskTrackerToken> {
        // In this order: a drain either sees the token, or is seen here.
        let token = self.work.token();
        (!self.stopping.is_cancelled()).then_some(token)
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Time for what is to happen so long from now: see [`Clock::steady`].
    pub fn steady(&self) -> Timestamp {
        self.clock.steady()
    }

    pub fn new_run_id(&self) -> RunId {
        self.chance.lock().ids.run(self.now())
    }

    pub fn new_span(&self) -> String {
        self.chance.lock().ids.span()
    }

    /// Uniform in `[0, 1)`.
    pub fn random(&self) -> f64 {
        self.chance.lock().jitter.f64()
    }
}

impl Engine {
    /// Loads what is deployed and starts to work off what is queued.
    pub async fn start(parts: Parts) -> Result<Self, StartError> {
        let Parts { store, runtime, clock, limits, retention, seed, secrets_key, name, origins } = parts;
        let (recorder, records) = recorder::channel(&limits);
        let inner = Arc::new_cyclic(|me| Inner {
            me: me.clone(),
            places: Places::new(limits.instances, limits.instance_bytes),
            hall: Hall::new(&limits),
            chance: Mutex::new(Chance {
                ids: IdSource::seeded(seed),
                jitter: fastrand::Rng::with_seed(seed.rotate_left(32) ^ 0x9e37_79b9_7f4a_7c15),
            }),
            directory: Directory::default(),
            files: Files::default(),
            agenda: Agenda::default(),
            later: Later::default(),
            live: Live::default(),
            told: Told::default(),
            starts: Starts::new(limits.chain_starts),
            spans: Spans::new(limits.chain_starts),
            rates: Rates::new(limits.chain_starts),
            name,
            origins,
            recorder,
            under_way: UnderWay::default(),
            endings: Endings::default(),
            keys_in_use: KeysInUse::default(),
            vault: Vault::new(secrets_key),
            refusal: Refusal::default(),
            budgets: Budgets::default(),
            pauses: Pauses::default(),
            hooks: Hooks::default(),
            promotions: Promotions::default(),
            waits: Arc::default(),
            removals: Removals::default(),
            acting: Acting::default(),
            ready: Ready::default(),
            deciding: Semaphore::new(1),
            home: Handle::current(),
            work: TaskTracker::new(),
            loops: TaskTracker::new(),
            stopping: CancellationToken::new(),
            ending: CancellationToken::new(),
            ended: CancellationToken::new(),
            store,
            runtime,
            clock,
            limits,
            retention,
        });
        // From before the load, so that nothing falls between the two.
        let deployments = inner.store.watch(&Space::apps());
        let rollouts = inner.store.watch(&Space::rollouts());
        let secrets = inner.store.watch(&Space::secrets());
        secrets::load(&inner).await?;
        let paused = inner.store.watch(&Space::subscriptions());
        subscription::load(&inner).await?;
        let hooks = inner.store.watch(&Space::hooks());
        hook::load(&inner).await?;
        let promoted = inner.store.watch(&Space::promotions());
        experiment::load(&inner).await?;
        let replays = inner.store.watch(&Space::replays());
        deploy::load(&inner).await?;
        wait::load(&inner).await?;
        removal::resume(&inner).await?;
        queue::refresh(&inner).await?;
        inner.loops.spawn(queue::dispatch(inner.clone()));
        inner.loops.spawn(later::deliver(inner.clone()));
        inner.loops.spawn(replay::run(inner.clone(), replays));
        inner.loops.spawn(schedule::fire(inner.clone()));
        inner.loops.spawn(wait::wake(inner.clone()));
        inner.loops.spawn(pool::keep(inner.clone()));
        inner.loops.spawn(deploy::follow(inner.clone(), (deployments, rollouts)));
        inner.loops.spawn(subscription::follow(inner.clone(), paused));
        inner.loops.spawn(hook::follow(inner.clone(), hooks));
        inner.loops.spawn(experiment::follow(inner.clone(), promoted));
        inner.loops.spawn(secrets::follow(inner.clone(), secrets));
        inner.loops.spawn(recorder::write(inner.clone(), records));
        inner.loops.spawn(retain::sweep(inner.clone()));
        inner.loops.spawn(retain::files(inner.clone()));
        lifecycle::starting(&inner).await;
        Ok(Self(inner))
    }

    /// The store, for reading.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.0.store
    }

    /// The bounds.
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Places and memory of instances, as far as they are in use, those of instances being started included.
    pub fn places(&self) -> (usize, u64) {
        self.0.places.used()
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.0.now()
    }

    /// Log lines as they come. A slow reader misses some, and is told how many.
    pub fn tail_logs(&self) -> broadcast::Receiver<LogRecord> {
        self.0.recorder.tail()
    }

    /// Attempts that were let in, and everybody who waits to be.
    pub fn admitted(&self) -> (usize, usize) {
        self.0.hall.count()
    }

    /// Calls that wait, when calls have been waiting for this node itself for some time: it should be sent no more until
    /// that is over.
    pub fn saturated(&self) -> Option<usize> {
        self.0.hall.saturated()
    }

    /// So long, or up to half as long again: what those are told who may come back then, so that not all do at once.
    pub fn spread(&self, pause: Duration) -> Duration {
        pause.mul_f64(1.0 + 0.5 * self.0.random())
    }

    /// Whether new work is accepted.
    pub fn is_ready(&self) -> bool {
        !self.0.stopping.is_cancelled()
    }

    /// Ends: tells the apps that want to know, and lets their functions react; then refuses new work and who waits to be
    /// let in and waits for what is running, both together up to `grace`; then ends that (queued attempts go back to their
    /// queues), flushes records and closes the store.
    pub async fn drain(&self, grace: Duration) -> Result<(), StoreError> {
        let inner = &self.0;
        let deadline = Instant::now() + grace;
        lifecycle::stopping(inner, grace, deadline).await;
        inner.stopping.cancel();
        inner.work.close();
        if tokio::time::timeout_at(deadline, inner.work.wait()).await.is_err() {
            inner.ending.cancel();
            inner.work.wait().await;
        }
        inner.ended.cancel();
        inner.loops.close();
        inner.loops.wait().await;
        inner.directory.clear();
        inner.directory.forget_ended();
        inner.runtime.shutdown().await;
        inner.store.close().await
    }
}

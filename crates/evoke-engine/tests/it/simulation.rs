//! A small shop under a seed, with a server that dies at every commit in turn, or fails, dies and is stopped by chance:
//! whatever was acknowledged happens, and its effects happen once.
//!
//! `EVOKE_SIM_SEEDS` says how many chances are tried. A failure names its seed; the same seed does the same again.

mod shop;

use evoke_engine::Arrival;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use evoke_core::event::Event;
use evoke_core::limits::Limits;
use evoke_core::outcome::Outcome;
use evoke_core::record::{RunRecord, RunState, Trigger};
use evoke_core::store::{EventQuery, RunQuery, Store};
use evoke_core::testing::clock::TokioClock;
use evoke_core::testing::fault::{Fault, FaultyStore};
use evoke_core::testing::runtime::ScriptedRuntime;
use evoke_core::testing::store::MemoryStore;
use evoke_core::time::Timestamp;
use evoke_engine::call::{CallError, CallRequest};
use tokio::time::Instant;

use crate::support::{World, app, bundle};
use shop::{Repaired, SHIP_ATTEMPTS, SHIP_PAUSE};

const FAULTS: [Fault; 4] = [Fault::Before, Fault::After, Fault::CrashBefore, Fault::CrashAfter];

/// What goes wrong.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    /// The call that changes the store as the `at`-th after the deployment fails.
    Once { at: u64, fault: Fault },
    /// By chance, so many times: a call to the store fails, the server dies, or it is stopped.
    Chance { times: u32 },
    /// Nothing.
    None,
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_or_doubled_when_the_server_dies_at_any_commit() {
    let calm = Story::new(1, 2, Trouble::None).await.tell().await;
    assert!(calm.changes > 20, "{}", calm.changes);
    for at in 1..=calm.changes {
        for fault in FAULTS {
            Story::new(1, 2, Trouble::Once { at, fault }).await.tell().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_or_doubled_whatever_goes_wrong_when() {
    let seeds = std::env::var("EVOKE_SIM_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(24);
    for seed in 0..seeds {
        Story::new(seed, 6, Trouble::Chance { times: 8 }).await.tell().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_tells_the_same_story() {
    for seed in 0..3 {
        let [one, other] = [
            Story::new(seed, 4, Trouble::Chance { times: 4 }).await.tell().await,
            Story::new(seed, 4, Trouble::Chance { times: 4 }).await.tell().await,
        ];
        assert_eq!(one.changes, other.changes, "seed {seed}");
        assert_eq!(one.runs, other.runs, "seed {seed}");
    }
}

/// One shop over as many servers as it takes.
struct Story {
    seed: u64,
    /// Orders to publish, and sales to make.
    size: u32,
    trouble: Trouble,
    dice: fastrand::Rng,
    memory: Arc<MemoryStore>,
    clock: Arc<TokioClock>,
    repaired: Repaired,
    store: Arc<FaultyStore>,
    world: World,
    /// Calls that changed the store on the servers before this one.
    changes_before: u64,
    /// The answers clients got, by their keys.
    answers: BTreeMap<u32, String>,
    started: Instant,
}

/// How it ended.
struct Told {
    /// Calls that changed the store.
    changes: u64,
    runs: Vec<RunRecord>,
}

impl Story {
    /// A first server with everything deployed.
    async fn new(seed: u64, size: u32, trouble: Trouble) -> Self {
        let memory = Arc::new(MemoryStore::new());
        let clock = Arc::new(TokioClock::starting(Timestamp::from_millis(1_700_000_000_000)));
        let repaired = Repaired::default();
        let store = Arc::new(FaultyStore::new(memory.clone()));
        let world = server(&store, &clock, &repaired, seed).await;
        world.engine.deploy(&app(), bundle(&shop::files())).await.unwrap();
        world.engine.drain(Duration::ZERO).await.unwrap();
        memory.reopen();
        // Changes are counted from here on.
        let store = Arc::new(FaultyStore::new(memory.clone()));
        if let Trouble::Once { at, fault } = trouble {
            store.fail_at(at, fault);
        }
        let world = server(&store, &clock, &repaired, seed).await;
        Self {
            seed,
            size,
            trouble,
            dice: fastrand::Rng::with_seed(seed),
            memory,
            clock,
            repaired,
            store,
            world,
            changes_before: 0,
            answers: BTreeMap::new(),
            started: Instant::now(),
        }
    }

    async fn tell(mut self) -> Told {
        let mut published = 0;
        while published < self.size || self.answers.len() < self.size as usize || !self.is_settled().await {
            assert!(self.started.elapsed() < Duration::from_secs(600), "{}: {:#?}", self, self.runs().await);
            self.go_wrong().await;
            if published < self.size && self.publish(published).await {
                published += 1;
            }
            let sale = self.answers.len() as u32;
            if sale < self.size
                && let Some(answer) = self.sell(sale).await
            {
                self.answers.insert(sale, answer);
            }
            self.redrive().await;
            let pause = self.dice.u64(1..10);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        // The next server finds all of it, and no fault is left over that could hit the check.
        let _ = self.world.engine.drain(Duration::ZERO).await;
        self.next_server().await;
        self.check().await;
        let changes = self.changes_before + self.store.mutations();
        let runs = self.runs().await;
        self.world.engine.drain(Duration::from_secs(5)).await.unwrap();
        assert_eq!(self.world.runtime.alive(), 0, "{self}");
        Told { changes, runs }
    }

    /// Another server when this one died or is to be stopped; perhaps a fault to come.
    async fn go_wrong(&mut self) {
        if let Trouble::Chance { times } = &mut self.trouble
            && *times > 0
            && self.dice.u8(..8) == 0
        {
            *times -= 1;
            match self.dice.u8(..3) {
                0 => {
                    let grace = Duration::from_millis(self.dice.u64(..30));
                    // The store may fail while it is closed, or have died.
                    let _ = self.world.engine.drain(grace).await;
                    return self.next_server().await;
                }
                1 => self.store.crash(),
                _ => {
                    let at = self.store.mutations() + self.dice.u64(1..20);
                    self.store.fail_at(at, *self.dice.choice(&FAULTS).unwrap());
                }
            }
        }
        if self.store.crashed() {
            // What the dead process had in memory is gone; the next one finds only what was committed.
            let _ = self.world.engine.drain(Duration::ZERO).await;
            self.next_server().await;
        }
    }

    async fn next_server(&mut self) {
        self.memory.reopen();
        self.changes_before += self.store.mutations();
        self.store = Arc::new(FaultyStore::new(self.memory.clone()));
        let seed = self.seed.wrapping_add(self.changes_before);
        self.world = server(&self.store, &self.clock, &self.repaired, seed).await;
    }

    async fn publish(&self, order: u32) -> bool {
        let event = Event::new(format!("order-{order}"), "/shop", "order");
        self.world.engine.publish(&app(), vec![event], Arrival::default()).await.is_ok()
    }

    /// A client asks with its key and may lose patience. The answer, if there was one.
    async fn sell(&mut self, sale: u32) -> Option<String> {
        let patience = Duration::from_millis(self.dice.u64(1..120));
        let answer = tokio::time::timeout(patience, self.ask(sale)).await.ok()?;
        match answer {
            Ok((answer, _)) => Some(answer),
            Err(CallError::KeyReused { .. } | CallError::NotFound { .. }) => panic!("{self}: {answer:?}"),
            Err(_) => None,
        }
    }

    async fn ask(&self, sale: u32) -> Result<(String, bool), CallError> {
        let key = Some(format!("sale-{sale}"));
        let call = CallRequest { idempotency_key: key, ..self.world.request("sell", &sale.to_string()) };
        let answered = self.world.engine.call(call).await?;
        let body = answered.response.body.collect(100).await.unwrap();
        Ok((String::from_utf8_lossy(&body).into_owned(), answered.replayed))
    }

    /// Once every order that was published is a dead letter of `ship`, its service is repaired.
    async fn redrive(&self) {
        let Ok(dead) = self
            .world
            .store
            .dead_letters(&evoke_core::store::DeadLetterQuery { limit: 100, ..Default::default() })
            .await
        else {
            return;
        };
        if dead.len() as u32 == self.size {
            self.repaired.store(true, Ordering::SeqCst);
        }
        if self.repaired.load(Ordering::SeqCst) && !dead.is_empty() {
            let runs: Vec<_> = dead.into_iter().map(|dead| dead.run.id).collect();
            // What did not come through is redriven in the next round.
            let _ = self.world.engine.redrive(&app(), &runs).await;
        }
    }

    async fn is_settled(&self) -> bool {
        let runs = self.runs().await;
        runs.len() as u32 == 6 * self.size && runs.iter().all(|run| run.state == RunState::Completed)
    }

    /// What came of events.
    async fn runs(&self) -> Vec<RunRecord> {
        let query = RunQuery { limit: 1_000, ..RunQuery::default() };
        let mut runs = self.memory.runs(&query).await.unwrap();
        runs.retain(|run| matches!(run.trigger, Trigger::Event { .. } | Trigger::Wait { .. }));
        runs
    }

    async fn check(&self) {
        for count in ["paid", "shipped", "sold", "audited", "closed", "expired"] {
            assert_eq!(self.world.kv(count).await, Some(self.size.to_string()), "{self}: {count}");
        }
        for order in 0..self.size {
            assert!(
                self.world.kv(&format!("order-{order}")).await.is_some(),
                "{self}: order {order} was lost"
            );
        }
        let events = EventQuery { limit: 1_000, ..EventQuery::default() };
        assert_eq!(self.memory.events(&events).await.unwrap().len() as u32, 6 * self.size, "{self}");
        assert!(self.world.engine.waits(&app(), None, None, 10).await.unwrap().is_empty(), "{self}");
        for (sale, answer) in &self.answers {
            let (again, replayed) = self.ask(*sale).await.unwrap();
            assert!(replayed && again == *answer, "{self}: sale {sale} was answered {answer}, then {again}");
        }
        for run in self.runs().await.iter().filter(|run| run.function.as_str() == "ship") {
            self.check_retries(run);
        }
    }

    /// Never early, and never more often than allowed.
    fn check_retries(&self, run: &RunRecord) {
        for pair in run.attempts.windows(2) {
            let (former, next) = (&pair[0], &pair[1]);
            assert!(next.number <= SHIP_ATTEMPTS, "{self}: {run:#?}");
            let retried = next.number > former.number && former.outcome != Outcome::Lost;
            let pause = next.started_at.since(former.ended_at);
            assert!(!retried || pause >= SHIP_PAUSE, "{self}: retried after {pause:?}: {run:#?}");
        }
    }
}

impl std::fmt::Display for Story {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "seed {}, size {}, {:?}", self.seed, self.size, self.trouble)
    }
}

async fn server(store: &Arc<FaultyStore>, clock: &Arc<TokioClock>, repaired: &Repaired, seed: u64) -> World {
    let runtime = ScriptedRuntime::new();
    shop::script(&runtime, seed, repaired);
    World::on(store.clone(), Limits::default(), runtime, clock.clone(), seed).await
}

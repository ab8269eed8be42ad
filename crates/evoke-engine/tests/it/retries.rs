//! When everything fails: retries stay within their budget, what is put off is not lost, and the run says so.

use std::sync::Arc;
use std::time::Duration;

use evoke_core::outcome::{Failure, FailureCode};
use evoke_core::record::RunState;
use evoke_core::runtime::Ended;
use evoke_core::store::LogQuery;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::support::World;

const EVENTS: usize = 400;
fn fail() -> Ended {
    Ended::Failed(Failure::new(FailureCode::FunctionError, "what it needs is down"))
}

/// What the budget allows at once, beside a fifth of the first attempts and ten a second.
const SAVED: usize = 100;

#[tokio::test(start_paused = true)]
async fn a_retry_storm_stays_within_its_budget_and_loses_nothing() {
    let world = World::new().await;
    let settings = "concurrency = 64\n\
                    on = [{ event = \"order\", retry = { attempts = 3, backoff = \"fixed\", initial = \"10ms\" } }]";
    world.deploy(&[("a", settings)]).await;
    let starts = Arc::new(Mutex::new(Vec::new()));
    let noted = starts.clone();
    world.runtime.script("a", move |guest| {
        noted.lock().push(Instant::now());
        async move {
            drop(guest);
            fail()
        }
    });
    let begin = Instant::now();
    for n in 0..EVENTS {
        world.publish(&format!("e{n}"), "order").await;
    }
    while starts.lock().len() < 3 * EVENTS {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let starts = starts.lock().clone();
    assert_eq!(starts.len(), 3 * EVENTS, "each has all its attempts, and no more");
    let last = starts.iter().max().unwrap().duration_since(begin);
    assert!(last > Duration::from_secs(50), "800 retries take a while: {last:?}");
    for second in [1, 5, 10, 20, 40] {
        let until = begin + Duration::from_secs(second);
        let made = starts.iter().filter(|at| **at <= until).count();
        let allowed = EVENTS + SAVED + EVENTS / 5 + 10 * second as usize + 2;
        assert!(made <= allowed, "{made} attempts within {second} s, {allowed} are allowed");
    }
    let lines = world.store.logs(&LogQuery { limit: 10_000, ..LogQuery::default() }).await.unwrap();
    assert!(
        lines.iter().any(|(_, line)| line.line.ends_with("the budget of retries is used up")),
        "the run says why it waits"
    );
}

#[tokio::test(start_paused = true)]
async fn a_retry_comes_in_its_time_although_the_clock_was_put_back() {
    let world = World::new().await;
    world
        .deploy(&[("a", "on = [{ event = \"order\", retry = { backoff = \"fixed\", initial = \"10s\" } }]")])
        .await;
    let clock = world.clock.clone();
    world.runtime.script("a", move |guest| {
        let clock = clock.clone();
        async move {
            if guest.call.attempt > 1 {
                return guest.agree().await;
            }
            // In the midst of the attempt.
            clock.put_back(Duration::from_secs(3_600));
            fail()
        }
    });
    let begin = Instant::now();
    let run = world.publish("e1", "order").await.runs.remove(0);
    let run = world.ended(&run).await;
    assert_eq!((run.state, run.attempts.len()), (RunState::Completed, 2));
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
}

//! The functions of the simulated shop. Each counts what it did under a condition, so that nothing can be done twice or
//! be lost without the counts saying so.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use evoke_core::event::Data;
use evoke_core::outcome::{Failure, FailureCode};
use evoke_core::runtime::Ended;
use evoke_core::testing::runtime::{Guest, ScriptedRuntime};
use http::Method;
use parking_lot::Mutex;

use crate::support::manifest;

/// Pause before the second attempt of `ship`.
pub const SHIP_PAUSE: Duration = Duration::from_millis(700);
/// Attempts of `ship`.
pub const SHIP_ATTEMPTS: u32 = 2;

const JSON: (&str, &str) = ("content-type", "application/json");

/// Whether the outside service that `ship` needs is there again.
pub type Repaired = Arc<AtomicBool>;

pub fn files() -> String {
    let patient = "retry = { attempts = 50, initial = \"10ms\", max = \"1s\" }";
    let ship = format!(
        "retry = {{ attempts = {SHIP_ATTEMPTS}, backoff = \"fixed\", initial = \"{}ms\" }}",
        SHIP_PAUSE.as_millis()
    );
    manifest(&[
        ("checkout", &format!("emits = [\"paid\"]\non = [{{ event = \"order\", {patient} }}]")),
        (
            "ledger",
            &format!("concurrency = 2\nemits = [\"booked\"]\non = [{{ event = \"paid\", {patient} }}]"),
        ),
        ("ship", &format!("on = [{{ event = \"order\", {ship} }}]")),
        ("sell", "timeout = \"1s\"\nemits = [\"sold\"]"),
        ("audit", &format!("on = [{{ event = \"sold\", {patient} }}]")),
        ("close", patient),
        ("expire", patient),
    ])
}

/// `checkout` fails now and then, and emits `paid`, which `ledger` counts and answers with `booked`. For that `checkout`
/// waits, which `close` counts, and for what never comes, which `expire` counts. `ship` fails until its service is `repaired`.
/// `sell` is called by clients, fails now and then, and emits `sold`, which `audit` counts.
pub fn script(runtime: &ScriptedRuntime, seed: u64, repaired: &Repaired) {
    let dice = Dice(Arc::new(Mutex::new(fastrand::Rng::with_seed(seed))));
    let thrown = dice.clone();
    runtime.script("checkout", move |guest| {
        let dice = thrown.clone();
        async move {
            dice.pause(20).await;
            let id = guest.event().unwrap().id().to_owned();
            guest.ask(Method::PUT, &format!("/v1/kv/default/{id}"), &[JSON], "1").await;
            guest.publish("paid", serde_json::json!({ "order": id })).await;
            wait(&guest, "booked", &id, 3_600_000, "close").await;
            wait(&guest, "nothing", &id, 50, "expire").await;
            if dice.fails() { crashed() } else { guest.agree().await }
        }
    });
    let counts = [("ledger", "paid"), ("audit", "audited"), ("close", "closed"), ("expire", "expired")];
    for (function, count) in counts {
        runtime.script(function, move |guest| async move {
            if count_up(&guest, count).await.is_none() {
                return crashed();
            }
            if let (true, Some(Data::Json(paid))) = (function == "ledger", guest.event().unwrap().data()) {
                guest.publish("booked", paid.clone()).await;
            }
            guest.agree().await
        });
    }
    let repaired = repaired.clone();
    runtime.script("ship", move |guest| {
        let repaired = repaired.clone();
        async move {
            if count_up(&guest, "shipped").await.is_some() && repaired.load(Ordering::SeqCst) {
                guest.agree().await
            } else {
                crashed()
            }
        }
    });
    runtime.script("sell", move |guest| {
        let dice = dice.clone();
        async move {
            dice.pause(20).await;
            let Some(number) = count_up(&guest, "sold").await else { return crashed() };
            guest.publish("sold", serde_json::json!(number)).await;
            if dice.fails() {
                return crashed();
            }
            guest.respond(200, &number.to_string()).await;
            dice.pause(20).await;
            Ended::Returned { events: Vec::new() }
        }
    });
}

#[derive(Clone)]
struct Dice(Arc<Mutex<fastrand::Rng>>);

impl Dice {
    fn fails(&self) -> bool {
        self.0.lock().u8(..10) < 3
    }

    async fn pause(&self, ms_max: u64) {
        let ms = self.0.lock().u64(..ms_max);
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
}

async fn wait(guest: &Guest, event: &str, order: &str, timeout_ms: u64, then: &str) {
    let pattern = serde_json::json!({ "data": { "order": [order] } });
    let wait =
        serde_json::json!({ "event": event, "pattern": pattern, "timeout_ms": timeout_ms, "then": then });
    guest.ask(Method::POST, "/v1/waits", &[JSON], &wait.to_string()).await;
}

fn crashed() -> Ended {
    Ended::Failed(Failure::new(FailureCode::Crashed, "by chance"))
}

/// One more than the key says, if it still says so; slow enough for another one to see the same.
async fn count_up(guest: &Guest, key: &str) -> Option<u32> {
    let path = format!("/v1/kv/default/{key}");
    let got = guest.ask(Method::GET, &path, &[], "").await;
    let (revision, count) = match got.status.as_u16() {
        200 => (
            got.headers["evoke-revision"].to_str().unwrap().to_owned(),
            String::from_utf8_lossy(&got.body).parse::<u32>().unwrap(),
        ),
        _ => ("0".to_owned(), 0),
    };
    tokio::time::sleep(Duration::from_millis(7)).await;
    let (if_revision, next) = (("if-revision", revision.as_str()), (count + 1).to_string());
    let put = guest.ask(Method::PUT, &path, &[JSON, if_revision], &next).await;
    tokio::time::sleep(Duration::from_millis(7)).await;
    (put.status == 200).then_some(count + 1)
}

//! How many durable things a second: `cargo bench -p evoke-store`.
//!
//! Each line is measured beside a plain file that is appended to with group commit, in the same round, because what
//! an `fsync` costs drifts within minutes: trust the ratios. A report, not a gate. `ROUNDS=5` for more rounds,
//! `SECONDS=4` for longer ones, `DIR=/mnt/disk` for another disk, an argument for those lines that contain it.
#![allow(clippy::unwrap_used, reason = "a bench ends where its preparation fails")]

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use evoke_core::record::RunRecord;
use evoke_core::store::{Append, Dedup, Expect, Settlement, Store, Verdict};
use evoke_core::testing::conformance::samples::{START, app, attempt, delivery, put, queue};
use evoke_store::{OpenOptions, SqliteStore};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

fn main() {
    let rounds = number("ROUNDS", 3);
    let span = Duration::from_secs(number("SECONDS", 2));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(memory());
    println!(
        "{:<42} {:>9} {:>9} {:>6} {:>8} {:>8} {:>8}",
        "durable, per second", "store", "file", "ratio", "p50 ms", "p99 ms", "max ms"
    );
    let wanted =
        |name: &str| std::env::args().skip(1).filter(|arg| arg != "--bench").all(|arg| name.contains(&arg));
    for producers in [1, 16, 256] {
        let name = format!("publish 1 KB, {producers} producers");
        if !wanted(&name) {
            continue;
        }
        let mut seen = Vec::new();
        for _ in 0..rounds {
            let file = runtime.block_on(file_appends(producers, span));
            seen.push((runtime.block_on(store_appends(producers, span)), file));
        }
        report(&name, seen);
    }
    for (name, effects) in
        [("lease + settle, 64 at a time", false), ("lease + settle with a write and an event", true)]
    {
        if !wanted(name) {
            continue;
        }
        let mut seen = Vec::new();
        for _ in 0..rounds {
            let file = runtime.block_on(file_appends(64, span));
            seen.push((runtime.block_on(settlements(span, effects)), file));
        }
        report(name, seen);
    }
}

/// What one round showed: units a second, and how long the calls took, sorted, in microseconds.
struct Seen {
    rate: f64,
    took_us: Vec<u32>,
}

impl Seen {
    fn took_ms(&self, part: f64) -> f64 {
        let place = (self.took_us.len() as f64 * part) as usize;
        f64::from(self.took_us[place.min(self.took_us.len() - 1)]) / 1_000.0
    }
}

fn report(name: &str, mut rounds: Vec<(Seen, Seen)>) {
    rounds.sort_by(|a, b| a.0.rate.total_cmp(&b.0.rate));
    let (store, file) = &rounds[rounds.len() / 2];
    let ratio = store.rate / file.rate;
    let [p50, p99, max] = [0.5, 0.99, 1.0].map(|part| store.took_ms(part));
    println!(
        "{name:<42} {:>9.0} {:>9.0} {ratio:>6.2} {p50:>8.1} {p99:>8.1} {max:>8.1}",
        store.rate, file.rate
    );
}

/// How much an open store takes that does nothing.
async fn memory() {
    let dir = scratch();
    let before = resident_kib();
    let store = SqliteStore::open(dir.path(), OpenOptions::default()).unwrap();
    println!("an idle store takes {} KiB of memory", resident_kib() - before);
    store.close().await.unwrap();
}

fn resident_kib() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn scratch() -> tempfile::TempDir {
    let place = std::env::var("DIR").unwrap_or_else(|_| env!("CARGO_TARGET_TMPDIR").to_owned());
    tempfile::tempdir_in(place).unwrap()
}

/// An event of about 1 KB for one function.
fn publish(n: u64) -> Append {
    let id = format!("evt_{n:026}");
    let data = serde_json::json!({ "order": n, "note": "x".repeat(900) });
    let event = evoke_core::event::Event::new(&id, "/bench", "purchase_complete").with_json(data);
    let dedup = Some(Dedup { scope: "/bench".to_owned(), id });
    Append {
        app: app(),
        dedup,
        event: Some(event),
        invocations: vec![delivery(n, "f")],
        version: None,
        again: None,
    }
}

async fn store_appends(producers: usize, span: Duration) -> Seen {
    let dir = scratch();
    let store = Arc::new(SqliteStore::open(dir.path(), OpenOptions::default()).unwrap());
    let (numbers, open) = (Arc::new(AtomicU64::new(0)), store.clone());
    let rate = rate(producers, span, move || {
        let (store, numbers) = (store.clone(), numbers.clone());
        async move {
            let n = numbers.fetch_add(1, Ordering::Relaxed);
            store.append(vec![publish(n)], START).await.unwrap();
            1
        }
    })
    .await;
    open.close().await.unwrap();
    rate
}

async fn settlements(span: Duration, effects: bool) -> Seen {
    const PREPARED: u64 = 60_000;
    let dir = scratch();
    let store = Arc::new(SqliteStore::open(dir.path(), OpenOptions::default()).unwrap());
    for first in (0..PREPARED).step_by(500) {
        store.append((first..first + 500).map(publish).collect(), START).await.unwrap();
    }
    let (numbers, open) = (Arc::new(AtomicU64::new(PREPARED)), store.clone());
    let rate = rate(64, span, move || {
        let (store, numbers) = (store.clone(), numbers.clone());
        async move {
            let leased = store.lease(&queue("f"), 1, START, Duration::from_secs(30)).await.unwrap();
            let count = leased.len() as u64;
            for one in leased {
                let mut run: RunRecord = one.run;
                run.push_attempt(attempt(1, evoke_core::outcome::Outcome::Completed { status: None }));
                let n = numbers.fetch_add(1, Ordering::Relaxed);
                let (mut writes, mut appends) = (Vec::new(), Vec::new());
                if effects {
                    writes.push(put(
                        &format!("order/{}", n % 10_000),
                        "{\"state\":\"paid\"}",
                        Expect::Anything,
                    ));
                    appends.push(Append { invocations: vec![delivery(n, "g")], ..publish(n) });
                }
                let (lease, run) = (Some(one.lease), Some(run));
                let settlement = Settlement {
                    lease,
                    verdict: Verdict::Complete,
                    run,
                    others: Vec::new(),
                    writes,
                    appends,
                };
                store.settle(settlement, START).await.unwrap();
            }
            count
        }
    })
    .await;
    open.close().await.unwrap();
    rate
}

/// The floor: 1 KB records appended to a file by one thread, one `fdatasync` for all that wait.
async fn file_appends(producers: usize, span: Duration) -> Seen {
    let dir = scratch();
    let (sender, receiver) = mpsc::channel(1_024);
    let writer = std::thread::spawn({
        let path = dir.path().join("log");
        move || append_to(&path, receiver)
    });
    let rate = rate(producers, span, move || {
        let sender = sender.clone();
        async move {
            let (done, durable) = oneshot::channel();
            sender.send((vec![7_u8; 1_024], done)).await.unwrap();
            durable.await.unwrap();
            1
        }
    })
    .await;
    writer.join().unwrap();
    rate
}

fn append_to(path: &Path, mut receiver: mpsc::Receiver<(Vec<u8>, oneshot::Sender<()>)>) {
    let mut file = File::create(path).unwrap();
    let mut batch = Vec::new();
    while receiver.blocking_recv_many(&mut batch, 1_024) > 0 {
        let bytes: Vec<u8> = batch.iter().flat_map(|(bytes, _)| bytes).copied().collect();
        file.write_all(&bytes).unwrap();
        file.sync_data().unwrap();
        batch.drain(..).for_each(|(_, done)| done.send(()).unwrap_or(()));
    }
}

/// How many units a second `producers` get done, each beginning anew when it is through.
async fn rate<F: Future<Output = u64> + Send + 'static>(
    producers: usize,
    span: Duration,
    unit: impl Fn() -> F + Clone + Send + Sync + 'static,
) -> Seen {
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..producers {
        let unit = unit.clone();
        tasks.spawn(async move {
            let (mut done, mut took_us) = (0, Vec::new());
            while start.elapsed() < span {
                let began = Instant::now();
                match unit().await {
                    0 => break,
                    some => done += some,
                }
                took_us.push(u32::try_from(began.elapsed().as_micros()).unwrap());
            }
            (done, took_us)
        });
    }
    let (done, took): (Vec<u64>, Vec<Vec<u32>>) = tasks.join_all().await.into_iter().unzip();
    let rate = done.into_iter().sum::<u64>() as f64 / start.elapsed().as_secs_f64();
    let mut took_us = took.concat();
    took_us.sort_unstable();
    Seen { rate, took_us }
}

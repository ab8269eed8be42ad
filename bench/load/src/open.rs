//! Open loop: requests begin at their times, whatever became of those before. Latency counts from when one was to begin.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::client::{Client, Plan};
use crate::report::percentile;

/// One measurement, as printed.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Requests that were to begin.
    pub offered: usize,
    /// Answers by status.
    pub statuses: BTreeMap<u16, usize>,
    /// Connections that could not be made, broke, or gave no answer in time.
    pub failed: usize,
    /// Requests for which all connections were in use.
    pub unsent: usize,
    /// Half of the answers below 400 came within this, microseconds.
    pub p50_us: u32,
    /// 99 of 100 of them.
    pub p99_us: u32,
    /// The slowest of them.
    pub max_us: u32,
    /// 99 of 100 answers of 400 and above came within this.
    pub refused_p99_us: u32,
}

/// What became of the requests that count.
#[derive(Default)]
struct Seen {
    statuses: BTreeMap<u16, usize>,
    accepted_us: Vec<u32>,
    refused_us: Vec<u32>,
    failed: usize,
}

/// Begins `rate` requests a second on up to `connections`.
pub async fn measure(plan: Plan, rate: f64, connections: u32) -> anyhow::Result<Report> {
    if !(rate > 0.0 && rate <= 1e6) {
        bail!("--open needs --rate, up to a million a second");
    }
    let seen = Arc::new(Mutex::new(Seen::default()));
    let idle: Arc<Mutex<Vec<Client>>> = Arc::default();
    let mut running = JoinSet::new();
    let (mut offered, mut unsent, mut made) = (0, 0, 0);
    let begin = Instant::now();
    for nth in 0_u64.. {
        let at = begin + Duration::from_secs_f64(nth as f64 / rate);
        if at >= plan.until {
            break;
        }
        tokio::time::sleep_until(at).await;
        while running.try_join_next().is_some() {}
        let counts = at >= plan.from;
        offered += usize::from(counts);
        let client = idle.lock().pop();
        if client.is_none() && running.len() >= connections as usize {
            unsent += usize::from(counts);
            continue;
        }
        made += 1;
        let (plan, seen, idle, number) = (plan.clone(), seen.clone(), idle.clone(), made);
        running.spawn(async move {
            let answered = async {
                let mut client = match client {
                    Some(client) => client,
                    None => Client::connect(plan, number).await?,
                };
                let status = client.ask().await?;
                anyhow::Ok((client, status))
            };
            let answered = answered.await;
            let took = u32::try_from(at.elapsed().as_micros()).unwrap_or(u32::MAX);
            let mut seen = seen.lock();
            match answered {
                Ok((client, status)) => {
                    idle.lock().push(client);
                    if counts {
                        *seen.statuses.entry(status).or_default() += 1;
                        if status < 400 { &mut seen.accepted_us } else { &mut seen.refused_us }.push(took);
                    }
                }
                Err(_) => seen.failed += usize::from(counts),
            }
        });
    }
    while running.join_next().await.is_some() {}
    let mut seen = std::mem::take(&mut *seen.lock());
    seen.accepted_us.sort_unstable();
    seen.refused_us.sort_unstable();
    Ok(Report {
        offered,
        statuses: seen.statuses,
        failed: seen.failed,
        unsent,
        p50_us: percentile(&seen.accepted_us, 50),
        p99_us: percentile(&seen.accepted_us, 99),
        max_us: percentile(&seen.accepted_us, 100),
        refused_p99_us: percentile(&seen.refused_us, 99),
    })
}

//! What the disk allows: records appended to a plain file by one thread, one `fdatasync` for all that wait.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::report::Report;

/// Bytes of a record, as of the events that are compared with it.
const RECORD_BYTES: usize = 1_024;
/// Records of one write at most.
const BATCH: usize = 1_024;

type Waiting = oneshot::Sender<()>;

/// Appends to a new file in `folder` with `producers` at once, and removes it.
pub async fn measure(folder: &Path, producers: u32, from: Instant, until: Instant) -> anyhow::Result<Report> {
    let path = folder.join(format!("evoke-load-{}", std::process::id()));
    let (records, waiting) = mpsc::channel(BATCH);
    let writer = std::thread::Builder::new().name("append".to_owned()).spawn({
        let path = path.clone();
        move || append(path, waiting)
    })?;
    let mut running = JoinSet::new();
    for _ in 0..producers {
        running.spawn(produce(records.clone(), from, until));
    }
    drop(records);
    let mut latencies_us = Vec::new();
    while let Some(done) = running.join_next().await {
        latencies_us.extend(done.context("a producer panicked")??);
    }
    // All producers are through, and so is it.
    let written = writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))?;
    fs::remove_file(&path)?;
    written?;
    Ok(Report::new(producers, until.duration_since(from), latencies_us))
}

async fn produce(records: mpsc::Sender<Waiting>, from: Instant, until: Instant) -> anyhow::Result<Vec<u32>> {
    let mut latencies_us = Vec::new();
    loop {
        let begin = Instant::now();
        if begin >= until {
            return Ok(latencies_us);
        }
        let (done, durable) = oneshot::channel();
        records.send(done).await.context("the file could not be written")?;
        durable.await.context("the file could not be written")?;
        if begin >= from {
            latencies_us.push(elapsed_us(begin.elapsed()));
        }
    }
}

fn elapsed_us(elapsed: Duration) -> u32 {
    u32::try_from(elapsed.as_micros()).unwrap_or(u32::MAX)
}

fn append(path: PathBuf, mut waiting: mpsc::Receiver<Waiting>) -> anyhow::Result<()> {
    let mut file = File::create(&path).with_context(|| format!("{} cannot be made", path.display()))?;
    let mut batch = Vec::new();
    while waiting.blocking_recv_many(&mut batch, BATCH) > 0 {
        file.write_all(&vec![7; RECORD_BYTES * batch.len()])?;
        file.sync_data()?;
        for done in batch.drain(..) {
            // Whoever waited may have given up.
            let _ = done.send(());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_acknowledged_was_written_and_nothing_is_left() {
        let folder = std::env::temp_dir();
        let now = Instant::now();
        let report = measure(&folder, 3, now, now + Duration::from_millis(50)).await.unwrap();
        assert!(report.requests > 0);
        assert!(!folder.join(format!("evoke-load-{}", std::process::id())).exists());
    }
}

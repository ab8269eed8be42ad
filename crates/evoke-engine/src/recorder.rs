//! What is remembered of runs and logs: passed on at once to whoever follows, written in batches.
//!
//! Nobody waits for it. A function may write so much a second (`budget`); what it writes beyond that is dropped, and its log
//! says how much that was. When the store cannot keep up, lines are dropped and counted, and the server's own log has the count.

mod budget;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use evoke_core::limits::Limits;
use evoke_core::record::{LogRecord, LogStream, RunRecord};
use tokio::sync::{Notify, broadcast, mpsc, oneshot};
use tokio::time::Instant;

use crate::engine::Inner;

use budget::{Budgets, Verdict};

pub(crate) use budget::Lines;

/// Lines and records that may wait to be written.
const WAITING_MAX: usize = 16_384;
/// Of those, how many are written at once.
const BATCH_MAX: usize = 1_024;
/// How long the writer rests after a batch. Under load it would be woken for each call, and another thread with it. Who waits for what
/// was recorded ends it, and the store keeps it longer than this before it writes.
const REST: Duration = Duration::from_millis(10);
/// Lines a follower may be behind before it misses some.
const FOLLOWERS_LAG: usize = 4_096;

/// Where runs and log lines go.
pub(crate) struct Recorder {
    to_write: mpsc::Sender<Item>,
    /// Somebody waits for the writer.
    hurry: Notify,
    tail: broadcast::Sender<LogRecord>,
    budgets: Budgets,
    dropped_logs: AtomicU64,
    dropped_runs: AtomicU64,
}

/// Something to write.
pub(crate) enum Item {
    Run(Arc<RunRecord>),
    Log(LogRecord),
    /// Say when all that came before is written.
    Flush(oneshot::Sender<()>),
}

/// A recorder, and what [`write`] takes from it.
pub(crate) fn channel(limits: &Limits) -> (Recorder, mpsc::Receiver<Item>) {
    let (to_write, items) = mpsc::channel(WAITING_MAX);
    let tail = broadcast::Sender::new(FOLLOWERS_LAG);
    let recorder = Recorder {
        to_write,
        hurry: Notify::new(),
        tail,
        budgets: Budgets::new(limits),
        dropped_logs: AtomicU64::new(0),
        dropped_runs: AtomicU64::new(0),
    };
    (recorder, items)
}

impl Recorder {
    /// Log lines as they come.
    pub fn tail(&self) -> broadcast::Receiver<LogRecord> {
        self.tail.subscribe()
    }

    /// Keeps a line that a function wrote, if it has not written too much; returns at once.
    pub fn log(&self, line: LogRecord) {
        match self.budgets.spend(&line.app, &line.function, &line.line, Instant::now()) {
            Verdict::Drop => {}
            Verdict::Keep(dropped) => {
                self.tell(dropped, &line);
                self.keep(line);
            }
        }
    }

    /// Says how much of what the function wrote was dropped, where nobody has yet; `last` is a line like those.
    pub fn tell_dropped(&self, last: &LogRecord) {
        self.tell(self.budgets.take_dropped(&last.app, &last.function), last);
    }

    fn tell(&self, dropped: Lines, like: &LogRecord) {
        if !dropped.is_none() {
            let line = format!("{}: {}", dropped.dropped_in_words(), self.budgets.rule(&like.function));
            self.keep(LogRecord { stream: LogStream::Platform, line, ..like.clone() });
        }
    }

    /// Keeps a line of the platform, or one that may be kept; returns at once.
    pub fn keep(&self, line: LogRecord) {
        if self.tail.receiver_count() > 0 {
            // An error only says that the last follower has just gone.
            let _ = self.tail.send(line.clone());
        }
        if self.to_write.try_send(Item::Log(line)).is_err() {
            self.dropped_logs.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Keeps the record of a sync call; returns at once.
    pub fn run(&self, run: impl Into<Arc<RunRecord>>) {
        if self.to_write.try_send(Item::Run(run.into())).is_err() {
            self.dropped_runs.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until all that it was given before is written.
    pub async fn flush(&self) {
        let (written, done) = oneshot::channel();
        if self.to_write.send(Item::Flush(written)).await.is_ok() {
            self.hurry.notify_one();
            // It ends with the engine.
            let _ = done.await;
        }
    }

    fn report_dropped(&self) {
        let (logs, runs) =
            (self.dropped_logs.swap(0, Ordering::Relaxed), self.dropped_runs.swap(0, Ordering::Relaxed));
        if logs + runs > 0 {
            tracing::warn!(
                logs,
                runs,
                "log lines and records of sync calls were dropped: the store cannot keep up"
            );
        }
    }
}

/// Writes what is recorded until the engine ended and everything is written.
pub(crate) async fn write(inner: Arc<Inner>, mut items: mpsc::Receiver<Item>) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    loop {
        tokio::select! {
            biased;
            taken = items.recv_many(&mut batch, BATCH_MAX) => if taken == 0 { return },
            () = inner.ended.cancelled() => {
                items.close();
                if items.recv_many(&mut batch, BATCH_MAX).await == 0 {
                    return;
                }
            }
        }
        // Most of what there is are runs.
        let (mut runs, mut logs, mut flushed) = (Vec::with_capacity(batch.len()), Vec::new(), Vec::new());
        for item in batch.drain(..) {
            match item {
                // Nobody else has it any more, except for a moment.
                Item::Run(run) => runs.push(Arc::unwrap_or_clone(run)),
                Item::Log(log) => logs.push(log),
                Item::Flush(written) => flushed.push(written),
            }
        }
        let (run_count, log_count) = (runs.len(), logs.len());
        if let Err(error) = inner.store.record(runs, logs).await {
            tracing::warn!(%error, runs = run_count, logs = log_count, "records were not written");
        }
        // Whoever asked may have gone.
        for written in flushed {
            let _ = written.send(());
        }
        inner.recorder.report_dropped();
        tokio::select! {
            biased;
            () = inner.recorder.hurry.notified() => {}
            () = inner.ended.cancelled() => {}
            () = tokio::time::sleep(REST) => {}
        }
    }
}

//! [`SqliteStore`]: each verb of the seam, encoded for the writer or asked of a reader.

use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use evoke_core::holdings::Holdings;
use evoke_core::id::{AppName, RunId};
use evoke_core::record::{LogRecord, RunRecord};
use evoke_core::store::{
    Append, Appended, Cancellation, DeadLetter, DeadLetterQuery, Entry, EventQuery, Lease, Leased, ListQuery,
    LogQuery, Queue, QueueDue, Retention, RunQuery, SettleError, Settled, Settlement, Space, Store,
    StoreError, StoredEvent, Waiting, Write,
};
use evoke_core::time::Timestamp;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};

use crate::limit;
use crate::object::Objects;
use crate::open::{self, OpenError, OpenOptions, Opened};
use crate::read::{self, Readers};
use crate::table::{entries, runs};
use crate::write::append::{Accept, Item};
use crate::write::cancel::Cancel;
use crate::write::erase::Erase;
use crate::write::inbox::{Haste, Inbox};
use crate::write::lease::{Extend, Take, Taken};
use crate::write::purge::Purge;
use crate::write::record::{Flush, Record};
use crate::write::redrive::Redrive;
use crate::write::settle::Settle;
use crate::write::state::{self, WriteAll};
use crate::write::sweep::Sweep;
use crate::write::tx::Memory;
use crate::write::{self, Answer, Work, Writer};

/// A [`Store`] in a directory of this machine.
///
/// Dropping it without [`Store::close`] waits for the writes under way, as closing does.
pub struct SqliteStore {
    inbox: Arc<Inbox>,
    readers: Arc<Readers>,
    objects: Arc<Objects>,
    /// In KiB.
    room: Arc<Semaphore>,
    written: watch::Receiver<bool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl SqliteStore {
    /// Opens the store in `dir`, which is made if it is not there. Blocks for the disk, and for as long as SQLite
    /// needs to read the write-ahead log of a process that was killed: at most a second or so.
    pub fn open(dir: &Path, options: OpenOptions) -> Result<Self, OpenError> {
        let Opened { owner, writer, readers, counters, objects } = open::open(dir, &options)?;
        let inbox = Arc::new(Inbox::new(crate::number::num(counters.last)));
        let (ended, written) = watch::channel(false);
        let writer = Writer {
            conn: writer,
            inbox: inbox.clone(),
            counters,
            memory: Memory::default(),
            syncs: true,
            ended,
            owner,
        };
        let io = |cause| OpenError::of(dir, cause);
        let (readers, mut threads) = Readers::start(readers).map_err(io)?;
        threads
            .push(thread::Builder::new().name("evoke-write".to_owned()).spawn(|| writer.run()).map_err(io)?);
        let room = Arc::new(Semaphore::new(limit::WAITING_BYTES >> 10));
        Ok(Self { inbox, readers, objects, room, written, threads: Mutex::new(threads) })
    }

    /// Hands work to the writer and waits until it is durable.
    async fn write<W: Work>(&self, work: W, bytes: usize) -> Result<W::Answer, SettleError> {
        let answer = self.send(work, bytes, Haste::Now).await?;
        answer
            .await
            .unwrap_or_else(|_| Err(StoreError::Outcome("the writer gave no answer".to_owned()).into()))
    }

    /// The same for work that cannot be refused.
    async fn commit<W: Work>(&self, work: W, bytes: usize) -> Result<W::Answer, StoreError> {
        self.write(work, bytes).await.map_err(|error| match error {
            SettleError::Store(error) => error,
            refusal => StoreError::Unavailable(refusal.to_string()),
        })
    }

    async fn send<W: Work>(&self, work: W, bytes: usize, haste: Haste) -> Result<Answer<W>, StoreError> {
        self.inbox.check()?;
        let all = limit::WAITING_BYTES >> 10;
        let room = u32::try_from(((bytes >> 10) + 1).min(all)).unwrap_or(u32::MAX);
        let room = self.room.clone().acquire_many_owned(room).await;
        let room = room.map_err(|_| StoreError::Closed("it was shut down".to_owned()))?;
        let (job, answer) = write::job(work, bytes, room);
        self.inbox.put(job, haste)?;
        Ok(answer)
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&rusqlite::Connection) -> Result<T, crate::trouble::Trouble> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.inbox.check()?;
        self.readers.ask(question).await
    }

    /// Waits until what `record` was given before is there to be read.
    async fn settled_records(&self) -> Result<(), StoreError> {
        if self.inbox.has_buffered() { self.commit(Flush, 0).await } else { Ok(()) }
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn append(&self, items: Vec<Append>, now: Timestamp) -> Result<Vec<Appended>, StoreError> {
        items.iter().try_for_each(Append::check)?;
        let items: Vec<Item> = items.iter().map(|item| Item::encode(item, now)).collect();
        let bytes = items.iter().map(Item::size).sum();
        self.commit(Accept(items), bytes).await
    }

    async fn due(&self) -> Result<Vec<QueueDue>, StoreError> {
        self.ask(read::due::due).await
    }

    async fn lease(
        &self,
        queue: &Queue,
        max: usize,
        now: Timestamp,
        hold: Duration,
    ) -> Result<Vec<Leased>, StoreError> {
        let take = Take { queue: queue.clone(), max, now, until: now.after(hold) };
        let taken = self.commit(take, 0).await?;
        Ok(taken.into_iter().map(Taken::decode).collect::<Result<_, _>>()?)
    }

    async fn waiting(&self, queue: &Queue, now: Timestamp, max: u64) -> Result<Waiting, StoreError> {
        let (queue, max) = (queue.clone(), max.try_into().unwrap_or(i64::MAX));
        self.ask(move |conn| read::due::waiting(conn, &queue, now, max)).await
    }

    async fn extend(&self, lease: &Lease, until: Timestamp) -> Result<bool, StoreError> {
        self.commit(Extend { lease: lease.clone(), until }, 0).await
    }

    async fn settle(&self, settlement: Settlement, now: Timestamp) -> Result<Settled, SettleError> {
        settlement.check()?;
        let settle = Settle::encode(settlement, now);
        let bytes = settle.size();
        self.write(settle, bytes).await
    }

    async fn dead_letters(&self, query: &DeadLetterQuery) -> Result<Vec<DeadLetter>, StoreError> {
        let query = query.clone();
        self.ask(move |conn| read::dead::letters(conn, &query)).await
    }

    async fn redrive(&self, app: &AppName, runs: &[RunId], now: Timestamp) -> Result<Vec<RunId>, StoreError> {
        self.commit(Redrive { app: app.clone(), runs: runs.to_vec(), now }, 0).await
    }

    async fn purge(&self, app: &AppName, runs: &[RunId], now: Timestamp) -> Result<Vec<RunId>, StoreError> {
        self.commit(Purge { app: app.clone(), runs: runs.to_vec(), now }, 0).await
    }

    async fn cancel(
        &self,
        cancellation: Cancellation,
        now: Timestamp,
    ) -> Result<Option<Vec<Appended>>, StoreError> {
        cancellation.appends.iter().try_for_each(Append::check)?;
        let cancel = Cancel::encode(cancellation, now);
        let bytes = cancel.size();
        self.commit(cancel, bytes).await
    }

    async fn get(&self, space: &Space, key: &str, now: Timestamp) -> Result<Option<Entry>, StoreError> {
        let (space, key) = (space.clone(), key.to_owned());
        self.ask(move |conn| entries::get(conn, &space, &key, now)).await
    }

    async fn list(&self, query: &ListQuery, now: Timestamp) -> Result<Vec<Entry>, StoreError> {
        let query = query.clone();
        self.ask(move |conn| entries::list(conn, &query, now)).await
    }

    async fn write(&self, writes: Vec<Write>, now: Timestamp) -> Result<Vec<u64>, SettleError> {
        let bytes = state::size(&writes);
        self.write(WriteAll { writes, now }, bytes).await
    }

    fn watch(&self, space: &Space) -> watch::Receiver<u64> {
        self.inbox.watch(space)
    }

    async fn put_object(&self, bytes: Bytes) -> Result<String, StoreError> {
        self.inbox.check()?;
        let objects = self.objects.clone();
        self.readers.work(move |_| objects.put(&bytes)).await
    }

    async fn get_object(&self, digest: &str) -> Result<Option<Bytes>, StoreError> {
        self.inbox.check()?;
        let (objects, digest) = (self.objects.clone(), digest.to_owned());
        self.readers.work(move |_| objects.get(&digest)).await
    }

    async fn sweep_objects(&self, grace: Duration, now: Timestamp) -> Result<u64, StoreError> {
        let needed = self.ask(entries::needed_objects).await?;
        let objects = self.objects.clone();
        self.readers.work(move |_| objects.sweep(&needed, grace, now)).await
    }

    async fn events(&self, query: &EventQuery) -> Result<Vec<StoredEvent>, StoreError> {
        let query = query.clone();
        self.ask(move |conn| read::events::events(conn, &query)).await
    }

    async fn record(&self, runs: Vec<RunRecord>, logs: Vec<LogRecord>) -> Result<(), StoreError> {
        let runs = runs.iter().map(runs::Encoded::new).collect();
        let record = Record::new(runs, logs, self.inbox.clone());
        let bytes = record.size();
        self.send(record, bytes, Haste::Soon).await.map(drop)
    }

    async fn runs(&self, query: &RunQuery) -> Result<Vec<RunRecord>, StoreError> {
        self.settled_records().await?;
        let query = query.clone();
        self.ask(move |conn| read::runs::runs(conn, &query)).await
    }

    async fn logs(&self, query: &LogQuery) -> Result<Vec<(u64, LogRecord)>, StoreError> {
        self.settled_records().await?;
        let query = query.clone();
        self.ask(move |conn| read::logs::logs(conn, &query)).await
    }

    async fn sweep(&self, keep: &Retention, now: Timestamp) -> Result<u64, StoreError> {
        self.commit(Sweep { keep: keep.clone(), now }, 0).await
    }

    async fn holdings(&self, app: &AppName) -> Result<Holdings, StoreError> {
        self.settled_records().await?;
        let app = app.clone();
        self.ask(move |conn| read::holdings::of(conn, &app)).await
    }

    async fn erase(&self, app: &AppName) -> Result<bool, StoreError> {
        self.settled_records().await?;
        self.commit(Erase(app.clone()), 0).await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.readers.close();
        self.readers.ended().await;
        // Last, and alone: of connections that are closed at the same time none takes the write-ahead log away.
        self.inbox.close();
        // The sender goes with the writer, and an unexpected end is as good as an end.
        let _ = self.written.clone().wait_for(|ended| *ended).await;
        match self.inbox.poisoned() {
            Some(why) => Err(StoreError::Closed(why)),
            None => Ok(()),
        }
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.readers.close();
        let threads = self.threads.get_mut();
        let writer = threads.pop();
        // A thread that panicked has said so already.
        for reader in threads.drain(..) {
            let _ = reader.join();
        }
        // Last, as in closing.
        self.inbox.close();
        let _ = writer.map(JoinHandle::join);
    }
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore").finish_non_exhaustive()
    }
}

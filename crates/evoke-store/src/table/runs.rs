//! `runs`: every run there is. Of one that is still in a queue, `pending` says how far it is.

use evoke_core::id::{AppName, Correlation, FunctionName, RunId};
use evoke_core::record::{RunRecord, RunState};
use evoke_core::store::{Queue, Space};
use evoke_core::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Params, Row, params};

use super::order::{self, Key};
use super::{Table, verify};
use crate::crc::Crc;
use crate::number::{time, us};
use crate::trouble::Trouble;

const BY_N: &str =
    "SELECT n, id, queue, state, seq, root, created_at, ended_at, body, crc FROM runs WHERE n = ?1";
const BY_ID: &str =
    "SELECT n, id, queue, state, seq, root, created_at, ended_at, body, crc FROM runs WHERE id = ?1";

pub(crate) const TABLE: Table = Table {
    name: "runs",
    key: "n",
    columns: "n, id, queue, state, seq, root, created_at, ended_at, body, crc",
    check: |row| Run::decode(row)?.record().map(drop),
};

/// `state` of a run in `pending`, and of one queued.
pub(crate) const QUEUED: i64 = 0;
pub(crate) const RUNNING: i64 = 1;
pub(crate) const COMPLETED: i64 = 2;
pub(crate) const FAILED: i64 = 3;
pub(crate) const DEAD: i64 = 4;

/// A state as its number.
pub(crate) fn code(state: RunState) -> i64 {
    match state {
        RunState::Queued => QUEUED,
        RunState::Running => RUNNING,
        RunState::Completed => COMPLETED,
        RunState::Failed => FAILED,
        RunState::DeadLettered => DEAD,
    }
}

fn state(code: i64) -> Option<RunState> {
    [RunState::Queued, RunState::Running, RunState::Completed, RunState::Failed, RunState::DeadLettered]
        .into_iter()
        .find(|state| self::code(*state) == code)
}

/// Whether it counts for retention.
pub(crate) fn is_ended(code: i64) -> bool {
    matches!(code, COMPLETED | FAILED)
}

/// What the record of a call usually takes as JSON, with room to spare.
const BODY_BYTES: usize = 1 << 10;

/// A record, encoded on the caller's thread.
pub(crate) struct Encoded {
    pub id: RunId,
    /// That of its function's calls: runs are found by their function.
    pub queue: Queue,
    /// Where it waits.
    pub waits_in: Queue,
    /// What it is kept in order by.
    pub key: Option<Key>,
    pub state: i64,
    root: Correlation,
    created_at: i64,
    ended_at: Option<i64>,
    body: Vec<u8>,
}

impl Encoded {
    pub fn new(run: &RunRecord) -> Self {
        let mut body = Vec::with_capacity(BODY_BYTES);
        serde_json::to_writer(&mut body, run).expect("a run record is JSON");
        Self {
            id: run.id.clone(),
            queue: Queue::calls(run.app.clone(), run.function.clone()),
            waits_in: Queue::of(run),
            key: run.key.as_deref().map(order::key),
            state: code(run.state),
            root: run.cause.root.clone(),
            created_at: us(run.created_at),
            ended_at: run.ended_at.map(us),
            body,
        }
    }

    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        self.body.len()
    }

    /// Adds the row it becomes.
    pub fn insert(&self, conn: &Connection, n: i64, queue: i64, seq: i64) -> Result<(), Trouble> {
        self.put("INSERT INTO runs VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)", conn, [n, queue, seq])?;
        Ok(())
    }

    /// The same, unless the run has a row already. Says whether it had none.
    pub fn insert_new(&self, conn: &Connection, n: i64, queue: i64, seq: i64) -> Result<bool, Trouble> {
        let sql =
            "INSERT INTO runs VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (id) DO NOTHING";
        Ok(self.put(sql, conn, [n, queue, seq])? > 0)
    }

    fn put(&self, sql: &str, conn: &Connection, [n, queue, seq]: [i64; 3]) -> Result<usize, Trouble> {
        let (id, root, body) = (self.id.as_str(), self.root.as_str(), self.body.as_slice());
        let Self { state, created_at, ended_at, .. } = *self;
        let crc = Columns { n, id, queue, state, seq, root, created_at, ended_at, body }.sum();
        let row = params![n, id, queue, state, seq, root, created_at, ended_at, body, crc];
        Ok(conn.prepare_cached(sql)?.execute(row)?)
    }
}

/// What the checksum of a row is of.
struct Columns<'a> {
    n: i64,
    id: &'a str,
    queue: i64,
    state: i64,
    seq: i64,
    root: &'a str,
    created_at: i64,
    ended_at: Option<i64>,
    body: &'a [u8],
}

impl Columns<'_> {
    fn sum(&self) -> i64 {
        let crc = Crc::new().text(self.id).int(self.queue).int(self.state).int(self.seq).text(self.root);
        crc.int(self.created_at).maybe_int(self.ended_at).bytes(self.body).int(self.n).sum()
    }
}

/// A row.
pub(crate) struct Run {
    pub n: i64,
    pub id: String,
    pub queue: i64,
    pub state: i64,
    pub seq: i64,
    pub root: String,
    pub created_at: i64,
    pub ended_at: Option<i64>,
    pub body: Vec<u8>,
}

impl Run {
    fn sum(&self) -> i64 {
        let Self { n, queue, state, seq, created_at, ended_at, .. } = *self;
        let (id, root, body) = (self.id.as_str(), self.root.as_str(), self.body.as_slice());
        Columns { n, id, queue, state, seq, root, created_at, ended_at, body }.sum()
    }

    /// Writes what can change: the state and the body.
    pub fn update(&self, conn: &Connection) -> Result<(), Trouble> {
        conn.prepare_cached("UPDATE runs SET state = ?2, ended_at = ?3, body = ?4, crc = ?5 WHERE n = ?1")?
            .execute(params![self.n, self.state, self.ended_at, self.body, self.sum()])?;
        Ok(())
    }

    /// Takes over another record of the same run.
    pub fn replace(&mut self, with: &Encoded) {
        self.state = with.state;
        self.ended_at = with.ended_at;
        self.body.clone_from(&with.body);
    }

    pub fn read(conn: &Connection, n: i64) -> Result<Self, Trouble> {
        one(conn, BY_N, [n])?.ok_or_else(|| Trouble::missing("runs", n))
    }

    pub fn find(conn: &Connection, id: &RunId) -> Result<Option<Self>, Trouble> {
        one(conn, BY_ID, [id.as_str()])
    }

    pub fn delete(conn: &Connection, n: i64) -> Result<(), Trouble> {
        conn.prepare_cached("DELETE FROM runs WHERE n = ?1")?.execute([n])?;
        Ok(())
    }

    /// The record, with what the columns know better than the body.
    pub fn record(&self) -> Result<RunRecord, Trouble> {
        let unreadable = || Trouble::unreadable("runs", &self.id);
        let mut record: RunRecord = serde_json::from_slice(&self.body).map_err(|_| unreadable())?;
        record.state = state(self.state).ok_or_else(unreadable)?;
        record.ended_at = self.ended_at.map(time);
        record.due_at = None;
        Ok(record)
    }

    /// Makes the body say what `change` makes of it.
    pub fn change(&mut self, change: impl FnOnce(&mut RunRecord)) -> Result<RunRecord, Trouble> {
        let mut record = self.record()?;
        change(&mut record);
        self.replace(&Encoded::new(&record));
        Ok(record)
    }

    fn decode(row: &Row<'_>) -> Result<Self, Trouble> {
        let read = Self {
            n: row.get(0)?,
            id: row.get(1)?,
            queue: row.get(2)?,
            state: row.get(3)?,
            seq: row.get(4)?,
            root: row.get(5)?,
            created_at: row.get(6)?,
            ended_at: row.get(7)?,
            body: row.get(8)?,
        };
        verify("runs", &read.id, row.get(9)?, read.sum())?;
        Ok(read)
    }
}

fn one(conn: &Connection, sql: &str, params: impl Params) -> Result<Option<Run>, Trouble> {
    conn.prepare_cached(sql)?.query_row(params, |row| Ok(Run::decode(row))).optional()?.transpose()
}

/// Whether somebody may still ask for an ended run: by the `Idempotency-Key` of the call it is, or because it waits for an event.
pub(crate) fn is_needed(conn: &Connection, n: i64, forgotten_before: i64) -> Result<bool, Trouble> {
    let find = "SELECT EXISTS (SELECT 1 FROM runs r JOIN log l ON l.seq = r.seq
            WHERE r.n = ?1 AND l.type IS NULL AND length(l.keys) > 0 AND l.accepted_at >= ?2)
        OR EXISTS (SELECT 1 FROM runs r JOIN queues q ON q.id = r.queue JOIN entries e ON e.space = ?3
            AND e.key >= q.app || '/' || r.id || '.w' AND e.key < q.app || '/' || r.id || '.x' WHERE r.n = ?1)";
    let waits = Space::waits().0;
    Ok(conn.prepare_cached(find)?.query_row(params![n, forgotten_before, waits], |row| row.get(0))?)
}

/// Ids, numbers and bytes of up to `limit` of the oldest runs of a function in a state.
pub(crate) fn oldest(
    conn: &Connection,
    queue: i64,
    state: i64,
    limit: i64,
) -> Result<Vec<(String, i64, i64)>, Trouble> {
    let mut find = conn.prepare_cached(
        "SELECT id, n, length(body) FROM runs WHERE queue = ?1 AND state = ?2 ORDER BY id LIMIT ?3",
    )?;
    let found = find.query_map([queue, state, limit], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

/// Numbers, states and bytes of up to `limit` runs of a function.
pub(crate) fn of_queue(conn: &Connection, queue: i64, limit: i64) -> Result<Vec<(i64, i64, i64)>, Trouble> {
    let mut find =
        conn.prepare_cached("SELECT n, state, length(body) FROM runs WHERE queue = ?1 LIMIT ?2")?;
    let found = find.query_map([queue, limit], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

/// A run's number, state and position.
pub(crate) fn place(conn: &Connection, id: &str) -> Result<Option<(i64, i64, i64)>, Trouble> {
    let mut find = conn.prepare_cached("SELECT n, state, seq FROM runs WHERE id = ?1")?;
    Ok(find.query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()?)
}

/// A record as the seam has it: that of a run in a queue with what `pending` knows.
pub(crate) fn overlay(record: &mut RunRecord, due_at: Timestamp, leased: bool) {
    if leased {
        record.run_again(None);
    } else {
        record.wait(due_at);
    }
}

/// What sweeping needs of a row; it goes unverified, as it is only to be deleted.
pub(crate) struct Old {
    pub n: i64,
    pub state: i64,
    pub created_at: i64,
    pub ended_at: Option<i64>,
    pub queue: i64,
    pub bytes: i64,
}

impl Old {
    /// The `limit` oldest after `after`.
    pub fn after(conn: &Connection, after: i64, limit: i64) -> Result<Vec<Self>, Trouble> {
        let mut find = conn.prepare_cached(
            "SELECT n, state, created_at, ended_at, queue, length(body) FROM runs WHERE n > ?1 ORDER BY n LIMIT ?2",
        )?;
        let rows = find.query_map([after, limit], |row| {
            let (n, state, created_at, ended_at) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
            Ok(Self { n, state, created_at, ended_at, queue: row.get(4)?, bytes: row.get(5)? })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

/// Whether a record belongs to the app and the function that are asked for.
pub(crate) fn is_of(record: &RunRecord, app: Option<&AppName>, function: Option<&FunctionName>) -> bool {
    app.is_none_or(|app| *app == record.app) && function.is_none_or(|function| *function == record.function)
}

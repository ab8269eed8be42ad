//! `runs`: every run there is. Of one that is still in a queue, `pending` says how far it is.

mod body;
pub(crate) mod old;

use evoke_core::id::{AppName, Correlation, FunctionName, RunId};
use evoke_core::record::{RunRecord, RunState};
use evoke_core::store::Queue;
use evoke_core::time::Timestamp;
use rusqlite::{CachedStatement, Connection, OptionalExtension, Params, Row, params};

use super::order::{self, Key};
use super::{Table, slices, verify};
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

/// `root` of a run that is found by it without an index: the body has it. See [`slices::has_root`].
const IN_BODY: &str = "";

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
    /// `None` when the body has it.
    root: Option<Correlation>,
    created_at: i64,
    ended_at: Option<i64>,
    body: Vec<u8>,
}

impl Encoded {
    pub fn new(run: &RunRecord) -> Self {
        let in_body = slices::has_root(run.id.as_str(), run.cause.root.as_str());
        Self {
            id: run.id.clone(),
            queue: Queue::calls(run.app.clone(), run.function.clone()),
            waits_in: Queue::of(run),
            key: run.key.as_deref().map(order::key),
            state: code(run.state),
            root: (!in_body).then(|| run.cause.root.clone()),
            created_at: us(run.created_at),
            ended_at: run.ended_at.map(us),
            body: body::encode(run, in_body),
        }
    }

    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        self.body.len()
    }

    /// Adds the row it becomes.
    pub fn insert(&self, conn: &Connection, n: i64, queue: i64, seq: i64) -> Result<(), Trouble> {
        let mut insert =
            conn.prepare_cached("INSERT INTO runs VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")?;
        self.put(&mut insert, [n, queue, seq])?;
        Ok(())
    }

    fn put(&self, insert: &mut CachedStatement<'_>, [n, queue, seq]: [i64; 3]) -> Result<usize, Trouble> {
        let root = self.root.as_ref().map_or(IN_BODY, Correlation::as_str);
        let (id, body) = (self.id.as_str(), self.body.as_slice());
        let Self { state, created_at, ended_at, .. } = *self;
        let crc = Columns { n, id, queue, state, seq, root, created_at, ended_at, body }.sum();
        Ok(insert.execute(params![n, id, queue, state, seq, root, created_at, ended_at, body, crc])?)
    }
}

/// Adds runs that no row is known of: looked up once for many.
pub(crate) struct AddNew<'c>(CachedStatement<'c>);

impl<'c> AddNew<'c> {
    pub fn prepare(conn: &'c Connection) -> Result<Self, Trouble> {
        let sql =
            "INSERT INTO runs VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (id) DO NOTHING";
        Ok(Self(conn.prepare_cached(sql)?))
    }

    /// Adds the row of a run that is in no queue, unless it has one already. Says whether it had none.
    pub fn add(&mut self, run: &Encoded, n: i64, queue: i64) -> Result<bool, Trouble> {
        Ok(run.put(&mut self.0, [n, queue, 0])? > 0)
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
    root: String,
    has_other_root: bool,
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

    /// Writes what can change; its root only where it does, as that is in an index.
    pub fn update(&self, conn: &Connection) -> Result<(), Trouble> {
        let Self { n, state, root, created_at, ended_at, body, .. } = self;
        if self.has_other_root {
            conn.prepare_cached("UPDATE runs SET root = ?2 WHERE n = ?1")?.execute(params![n, root])?;
        }
        let sql =
            "UPDATE runs SET state = ?2, created_at = ?3, ended_at = ?4, body = ?5, crc = ?6 WHERE n = ?1";
        conn.prepare_cached(sql)?.execute(params![n, state, created_at, ended_at, body, self.sum()])?;
        Ok(())
    }

    /// Takes over another record of the same run.
    pub fn replace(&mut self, with: &Encoded) {
        let root = with.root.as_ref().map_or(IN_BODY, Correlation::as_str);
        if self.root != root {
            root.clone_into(&mut self.root);
            self.has_other_root = true;
        }
        self.state = with.state;
        self.created_at = with.created_at;
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

    /// The record: what the columns say of it, and the body the rest.
    pub fn record(&self) -> Result<RunRecord, Trouble> {
        let unreadable = || Trouble::unreadable("runs", &self.id);
        let known = body::Known {
            id: RunId::from_text(self.id.as_str()),
            root: Some(self.root.as_str()).filter(|root| *root != IN_BODY),
            state: state(self.state).ok_or_else(unreadable)?,
            created_at: time(self.created_at),
            ended_at: self.ended_at.map(time),
        };
        body::decode(&self.body, known).ok_or_else(unreadable)
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
            has_other_root: false,
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

/// Whether a record belongs to the app and the function that are asked for.
pub(crate) fn is_of(record: &RunRecord, app: Option<&AppName>, function: Option<&FunctionName>) -> bool {
    app.is_none_or(|app| *app == record.app) && function.is_none_or(|function| *function == record.function)
}

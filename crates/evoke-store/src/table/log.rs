//! `log`: what was accepted, in order.

use evoke_core::event::json;
use evoke_core::id::{AppName, RunId};
use evoke_core::store::{Append, StoredEvent};
use evoke_core::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Params, Row, params};

use super::archive::EXPIRED;
use super::caused::{Caused, Expired};
use super::{Table, seen, verify};
use crate::crc::Crc;
use crate::number::{num, rows as count, time, us};
use crate::trouble::Trouble;

const BY_SEQ: &str =
    "SELECT seq, app, accepted_at, keys, type, root, event, runs, crc FROM log WHERE seq = ?1";
const NEWEST: &str = "SELECT seq, app, accepted_at, keys, type, root, event, runs, crc FROM log NOT INDEXED
    WHERE type > '' AND (?1 IS NULL OR app = ?1) AND seq < ?2 ORDER BY seq DESC LIMIT ?3";
const NEWEST_OF_TYPE: &str =
    "SELECT seq, app, accepted_at, keys, type, root, event, runs, crc FROM log INDEXED BY log_by_type
    WHERE type = ?4 AND (?1 IS NULL OR app = ?1) AND seq < ?2 ORDER BY seq DESC LIMIT ?3";
const OLDEST: &str = "SELECT seq, app, accepted_at, keys, type, root, event, runs, crc FROM log NOT INDEXED
    WHERE type > '' AND (?1 IS NULL OR app = ?1) AND seq > ?2 AND seq < ?3 ORDER BY seq LIMIT ?4";
const OLDEST_OF_TYPE: &str =
    "SELECT seq, app, accepted_at, keys, type, root, event, runs, crc FROM log INDEXED BY log_by_type
    WHERE type = ?5 AND (?1 IS NULL OR app = ?1) AND seq > ?2 AND seq < ?3 ORDER BY seq LIMIT ?4";
const NEWEST_OF_ROOT: &str =
    "SELECT seq, app, accepted_at, keys, type, root, event, runs, crc FROM log INDEXED BY log_by_root
    WHERE root = ?4 AND type > '' AND (?1 IS NULL OR app = ?1) AND (?5 IS NULL OR type = ?5) AND seq < ?2
    ORDER BY seq DESC LIMIT ?3";

pub(crate) const TABLE: Table = Table {
    name: "log",
    key: "seq",
    columns: "seq, app, accepted_at, keys, type, root, event, runs, crc",
    check: |row| {
        let row = Accepted::decode(row)?;
        row.caused()?;
        row.event().map(drop)
    },
};

/// A row without its position, which the writer gives.
pub(crate) struct New {
    pub app: AppName,
    pub dedup: Option<seen::Key>,
    /// An event that cannot be found by its de-duplication key: its id.
    pub id: Option<String>,
    pub accepted_at: i64,
    pub ty: Option<String>,
    root: Option<String>,
    pub event: Option<Vec<u8>>,
    pub runs: Vec<RunId>,
    caused: String,
}

impl New {
    /// Encodes, on the caller's thread.
    pub fn encode(item: &Append, now: Timestamp) -> Self {
        let runs: Vec<RunId> = item.invocations.iter().map(|new| new.run.id.clone()).collect();
        let dedup = item.dedup.as_ref().map(|dedup| seen::key(&item.app, dedup));
        let found_by_dedup = |id: &str| item.dedup.as_ref().is_some_and(|dedup| dedup.id == id);
        Self {
            app: item.app.clone(),
            dedup,
            id: item.event.as_ref().map(|event| event.id().to_owned()).filter(|id| !found_by_dedup(id)),
            accepted_at: us(now),
            ty: item.event.as_ref().map(|event| event.ty().to_owned()),
            root: item
                .event
                .as_ref()
                .and_then(|event| event.extension_str("correlationid"))
                .map(str::to_owned),
            event: item.event.as_ref().map(json::to_vec),
            caused: Caused { runs: runs.clone(), version: item.version, ..Caused::default() }.encode(),
            runs,
        }
    }

    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        self.event.as_ref().map_or(0, Vec::len) + self.caused.len()
    }

    pub fn insert(&self, conn: &Connection, seq: i64, keys: &[u8]) -> Result<(), Trouble> {
        let event = self.event.as_deref();
        let kind = (self.ty.as_deref(), self.root.as_deref());
        let crc = sum(self.app.as_str(), self.accepted_at, keys, kind, event, &self.caused, seq);
        conn.prepare_cached("INSERT INTO log VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?.execute(
            params![
                seq,
                self.app.as_str(),
                self.accepted_at,
                keys,
                self.ty,
                self.root,
                event,
                self.caused,
                crc
            ],
        )?;
        Ok(())
    }
}

/// A row.
pub(crate) struct Accepted {
    pub seq: i64,
    app: String,
    pub accepted_at: i64,
    keys: Keys,
    ty: Option<String>,
    root: Option<String>,
    pub event: Option<Vec<u8>>,
    runs: String,
}

/// Its keys in `seen`.
pub(crate) struct Keys(pub Vec<u8>);

impl Keys {
    /// One by one.
    pub fn each(&self) -> impl Iterator<Item = &[u8]> {
        self.0.chunks(size_of::<seen::Key>())
    }

    /// Whether `key` is one of them.
    pub fn has(&self, key: &[u8]) -> bool {
        self.each().any(|own| own == key)
    }
}

impl Accepted {
    pub fn read(conn: &Connection, seq: i64) -> Result<Option<Self>, Trouble> {
        let mut find = conn.prepare_cached(BY_SEQ)?;
        find.query_row([seq], |row| Ok(Self::decode(row))).optional()?.transpose()
    }

    /// The `limit` newest events before `before`, of a root, of a type, or of all.
    pub fn newest(
        conn: &Connection,
        app: Option<&AppName>,
        ty: Option<&str>,
        root: Option<&str>,
        before: i64,
        limit: i64,
    ) -> Result<Vec<Self>, Trouble> {
        let app = app.map(AppName::as_str);
        if let Some(root) = root {
            return collect(conn, NEWEST_OF_ROOT, params![app, before, limit, root, ty]);
        }
        match ty {
            Some(ty) => collect(conn, NEWEST_OF_TYPE, params![app, before, limit, ty]),
            None => collect(conn, NEWEST, params![app, before, limit]),
        }
    }

    /// The `limit` oldest events after `after` and before `before`, of a type, or of all.
    pub fn oldest(
        conn: &Connection,
        app: Option<&AppName>,
        ty: Option<&str>,
        (after, before): (i64, i64),
        limit: i64,
    ) -> Result<Vec<Self>, Trouble> {
        let app = app.map(AppName::as_str);
        match ty {
            Some(ty) => collect(conn, OLDEST_OF_TYPE, params![app, after, before, limit, ty]),
            None => collect(conn, OLDEST, params![app, after, before, limit]),
        }
    }

    /// Whether it is an event that is still kept.
    pub fn is_kept(&self) -> bool {
        self.event.is_some() && self.ty.as_deref() != Some(EXPIRED)
    }

    /// The event is no longer kept: its attributes are all that stays of it. Returns the bytes they have.
    pub fn expire(mut self, conn: &Connection, expired: Expired) -> Result<usize, Trouble> {
        let unreadable = || Trouble::unreadable("log", self.seq);
        let event = json::parse(self.event.as_deref().unwrap_or_default()).map_err(|_| unreadable())?;
        let caused = Caused { expired: Some(expired), ..self.caused()? };
        let event = json::to_vec(&event.without_data());
        let bytes = event.len();
        (self.ty, self.root, self.event) = (Some(EXPIRED.to_owned()), None, Some(event));
        conn.prepare_cached("UPDATE log SET type = ?2, root = NULL, event = ?3 WHERE seq = ?1")?
            .execute(params![self.seq, self.ty, self.event])?;
        self.cause(conn, &caused)?;
        Ok(bytes)
    }

    /// Whether `key` in `seen` is one of its own.
    pub fn has_key(&self, key: &[u8]) -> bool {
        self.keys.has(key)
    }

    /// What it caused.
    pub fn caused(&self) -> Result<Caused, Trouble> {
        Caused::decode(&self.runs).ok_or_else(|| Trouble::unreadable("log", self.seq))
    }

    /// Notes what it causes from now on.
    pub fn cause(&mut self, conn: &Connection, caused: &Caused) -> Result<(), Trouble> {
        self.runs = caused.encode();
        conn.prepare_cached("UPDATE log SET runs = ?2, crc = ?3 WHERE seq = ?1")?.execute(params![
            self.seq,
            self.runs,
            self.sum()
        ])?;
        Ok(())
    }

    fn sum(&self) -> i64 {
        let kind = (self.ty.as_deref(), self.root.as_deref());
        let event = self.event.as_deref();
        sum(&self.app, self.accepted_at, &self.keys.0, kind, event, &self.runs, self.seq)
    }

    /// As the seam has it; `None` when it is no event.
    pub fn event(&self) -> Result<Option<StoredEvent>, Trouble> {
        let Some(event) = &self.event else { return Ok(None) };
        let Caused { runs, version, again, expired } = self.caused()?;
        Ok(Some(StoredEvent {
            seq: num(self.seq),
            app: AppName::new(&self.app).map_err(|_| Trouble::unreadable("log", self.seq))?,
            accepted_at: time(self.accepted_at),
            event: json::parse(event).map_err(|_| Trouble::unreadable("log", self.seq))?,
            runs,
            version,
            again,
            expired_at: expired.map(|expired| time(expired.at)),
        }))
    }

    fn decode(row: &Row<'_>) -> Result<Self, Trouble> {
        let read = Self {
            seq: row.get(0)?,
            app: row.get(1)?,
            accepted_at: row.get(2)?,
            keys: Keys(row.get(3)?),
            ty: row.get(4)?,
            root: row.get(5)?,
            event: row.get(6)?,
            runs: row.get(7)?,
        };
        verify("log", read.seq, row.get(8)?, read.sum())?;
        Ok(read)
    }
}

/// What sweeping needs of a row; it goes unverified, as it is only to be deleted.
pub(crate) struct Old {
    pub seq: i64,
    pub app: String,
    pub accepted_at: i64,
    /// `None` for the place of a call.
    pub ty: Option<String>,
    /// Of the event.
    pub bytes: i64,
    keys: Vec<u8>,
    runs: String,
}

/// Which rows are looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Which<'t> {
    /// The places of calls.
    Calls,
    /// Events of this type of all apps.
    Type(&'t str),
}

impl Which<'_> {
    const fn sql(self) -> &'static str {
        match self {
            Self::Calls => {
                "SELECT seq, app, accepted_at, type, 0, keys, runs FROM log INDEXED BY log_of_calls
                 WHERE type IS NULL AND seq > ?1 ORDER BY seq LIMIT ?2"
            }
            Self::Type(_) => {
                "SELECT seq, app, accepted_at, type, length(event), keys, runs FROM log INDEXED BY log_by_type
                 WHERE type = ?3 AND seq > ?1 ORDER BY seq LIMIT ?2"
            }
        }
    }
}

impl Old {
    /// The `limit` oldest after `after`.
    pub fn after(
        conn: &Connection,
        which: Which<'_>,
        after: i64,
        limit: usize,
    ) -> Result<Vec<Self>, Trouble> {
        let mut find = conn.prepare_cached(which.sql())?;
        let mut read = match which {
            Which::Type(ty) => find.query(params![after, count(limit), ty])?,
            Which::Calls => find.query(params![after, count(limit)])?,
        };
        let mut found = Vec::new();
        while let Some(row) = read.next()? {
            found.push(Self {
                seq: row.get(0)?,
                app: row.get(1)?,
                accepted_at: row.get(2)?,
                ty: row.get(3)?,
                bytes: row.get(4)?,
                keys: row.get(5)?,
                runs: row.get(6)?,
            });
        }
        Ok(found)
    }

    /// What it caused.
    pub fn caused(&self) -> Caused {
        Caused::decode(&self.runs).unwrap_or_default()
    }

    /// Deletes the row and forgets its keys.
    pub fn delete(&self, conn: &Connection) -> Result<(), Trouble> {
        delete(conn, self.seq, &self.keys)
    }
}

/// What taking away an app's rows needs of each; it goes unverified, as it is only to be deleted.
pub(crate) struct Place {
    pub seq: i64,
    pub app: String,
    /// `None` for the place of a call.
    pub ty: Option<String>,
    /// Of the event.
    pub bytes: i64,
    keys: Vec<u8>,
}

impl Place {
    /// The `limit` oldest after `after`, of all apps.
    pub fn after(conn: &Connection, after: i64, limit: i64) -> Result<Vec<Self>, Trouble> {
        let mut find = conn.prepare_cached(
            "SELECT seq, app, type, coalesce(length(event), 0), keys FROM log NOT INDEXED
             WHERE seq > ?1 ORDER BY seq LIMIT ?2",
        )?;
        let found = find.query_map([after, limit], |row| {
            let (seq, app, ty) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(Self { seq, app, ty, bytes: row.get(3)?, keys: row.get(4)? })
        })?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }

    /// Deletes the row and forgets its keys.
    pub fn delete(&self, conn: &Connection) -> Result<(), Trouble> {
        delete(conn, self.seq, &self.keys)
    }
}

fn delete(conn: &Connection, seq: i64, keys: &[u8]) -> Result<(), Trouble> {
    conn.prepare_cached("DELETE FROM log WHERE seq = ?1")?.execute([seq])?;
    keys.chunks(size_of::<seen::Key>()).try_for_each(|key| seen::forget(conn, key, seq))
}

fn collect(conn: &Connection, sql: &str, params: impl Params) -> Result<Vec<Accepted>, Trouble> {
    let mut find = conn.prepare_cached(sql)?;
    let mut rows = find.query(params)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(Accepted::decode(row)?);
    }
    Ok(found)
}

fn sum(
    app: &str,
    at: i64,
    keys: &[u8],
    (ty, root): (Option<&str>, Option<&str>),
    event: Option<&[u8]>,
    runs: &str,
    seq: i64,
) -> i64 {
    let crc = Crc::new().text(app).int(at).bytes(keys).maybe_bytes(ty.map(str::as_bytes));
    crc.maybe_bytes(root.map(str::as_bytes)).maybe_bytes(event).text(runs).int(seq).sum()
}

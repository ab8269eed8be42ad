//! `requests`: HTTP requests that wait, apart from their invocations so that leasing does not rewrite the bodies.

use bytes::Bytes;
use evoke_core::store::StoredRequest;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};

use super::{Table, verify};
use crate::crc::Crc;
use crate::trouble::Trouble;

pub(crate) const TABLE: Table = Table {
    name: "requests",
    key: "n",
    columns: "n, head, body, crc",
    check: |row| {
        let n = row.get(0)?;
        Encoded::row(row)?.decode(n).map(drop)
    },
};

/// Everything but the body.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    method: String,
    uri: String,
    headers: Vec<(String, String)>,
    #[serde(default)]
    params: Vec<(String, String)>,
}

/// A row without its number; the body is shared with the request it came from.
#[derive(Debug)]
pub(crate) struct Encoded {
    head: Vec<u8>,
    body: Bytes,
}

impl Encoded {
    pub fn new(request: &StoredRequest) -> Self {
        let StoredRequest { method, uri, headers, params, body } = request.clone();
        let head = Head { method, uri, headers, params };
        Self { head: serde_json::to_vec(&head).expect("a request's head is JSON"), body }
    }

    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        self.head.len() + self.body.len()
    }

    pub fn insert(&self, conn: &Connection, n: i64) -> Result<(), Trouble> {
        conn.prepare_cached("INSERT INTO requests VALUES (?1, ?2, ?3, ?4)")?.execute(params![
            n,
            self.head,
            &*self.body,
            self.sum(n)
        ])?;
        Ok(())
    }

    pub fn read(conn: &Connection, n: i64) -> Result<Self, Trouble> {
        let mut find = conn.prepare_cached("SELECT n, head, body, crc FROM requests WHERE n = ?1")?;
        let found = find.query_row([n], |row| Ok(Self::row(row))).optional()?;
        found.ok_or_else(|| Trouble::missing("requests", n))?
    }

    fn row(row: &Row<'_>) -> Result<Self, Trouble> {
        let n: i64 = row.get(0)?;
        let read = Self { head: row.get(1)?, body: row.get::<_, Vec<u8>>(2)?.into() };
        verify("requests", n, row.get(3)?, read.sum(n))?;
        Ok(read)
    }

    pub fn decode(self, n: i64) -> Result<StoredRequest, Trouble> {
        let head = serde_json::from_slice(&self.head).map_err(|_| Trouble::unreadable("requests", n))?;
        let Head { method, uri, headers, params } = head;
        Ok(StoredRequest { method, uri, headers, params, body: self.body })
    }

    fn sum(&self, n: i64) -> i64 {
        Crc::new().bytes(&self.head).bytes(&self.body).int(n).sum()
    }
}

pub(crate) fn delete(conn: &Connection, n: i64) -> Result<(), Trouble> {
    conn.prepare_cached("DELETE FROM requests WHERE n = ?1")?.execute([n])?;
    Ok(())
}

//! Format 2 → 3: what is deployed now is also kept as the latest of what was deployed ever, so that an event that comes before the
//! next deploy can be explained after it. That `log.runs` may be an object from now on changes no row that is there.

use evoke_core::store::{Expect, Space, Value, ValueKind, Write};
use rusqlite::Connection;
use serde::Deserialize;

use super::Step;
use crate::table::entries;
use crate::trouble::Trouble;

/// Rows of one round.
const ROUND: i64 = 16;

pub(super) const STEP: Step = Step { name: "keep the deployments", round: keep };

/// What this needs of the document of an app.
#[derive(Deserialize)]
struct Deployment {
    version: u64,
}

fn keep(conn: &Connection, after: i64) -> Result<Option<i64>, Trouble> {
    let mut find = conn.prepare(
        "SELECT id, key, value, revision FROM entries WHERE space = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
    )?;
    let mut rows = find.query((Space::apps().0, after, ROUND))?;
    let mut last = None;
    while let Some(row) = rows.next()? {
        let (id, app, bytes, revision): (i64, String, Vec<u8>, i64) =
            (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        last = Some(id);
        // One that cannot be read is found, and said so, by whoever starts the engine.
        let Ok(Deployment { version }) = serde_json::from_slice(&bytes) else { continue };
        let write = Write {
            space: Space::deployments(),
            key: Space::deployment_key(&app, version),
            value: Some(Value { kind: ValueKind::Json, bytes: bytes.into() }),
            expires_at: None,
            expect: Expect::Anything,
        };
        entries::apply(conn, &write, revision)?;
    }
    Ok(last)
}

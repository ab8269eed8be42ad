//! From older formats to the present one, in steps that can be interrupted anywhere.
//!
//! Each round of a step is one transaction, which also notes how far it came: a process that dies finds the note when
//! it opens the store again, and goes on there. The first transaction gives the file its new version number, so that an
//! older Evoke refuses a store that is half way.

mod archive;
mod deployments;
mod queue_checksums;
mod slices;
mod usage;

use rusqlite::{Connection, OptionalExtension};

use crate::schema;
use crate::trouble::Trouble;

/// How far a migration came. Told before and after each transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The format it comes from.
    pub from: i64,
    /// The format it goes to.
    pub to: i64,
    /// What is done now.
    pub step: &'static str,
    /// Whether the transaction is on the disk, or still to be committed.
    pub durable: bool,
}

/// Who is told.
pub type Tell = fn(Progress);

/// From one format to the next.
struct Migration {
    from: i64,
    steps: &'static [Step],
}

/// Something that is done in rounds.
struct Step {
    name: &'static str,
    /// One round from a cursor (0 at first): where the next one begins, or `None` when all is done.
    round: fn(&Connection, i64) -> Result<Option<i64>, Trouble>,
}

const MIGRATIONS: &[Migration] =
    &[Migration { from: 1, steps: queue_checksums::STEPS }, Migration { from: 2, steps: TO_3 }];

const TO_3: &[Step] = {
    let [add, count] = archive::STEPS;
    let [add_usage, count_usage] = usage::STEPS;
    let [add_slices, find_slices] = slices::STEPS;
    &[deployments::STEP, add, count, add_usage, count_usage, add_slices, find_slices]
};

/// The note of a migration under way.
const NOTE: &str = "CREATE TABLE migration (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    from_format INTEGER NOT NULL,
    step INTEGER NOT NULL,
    cursor INTEGER NOT NULL
)";

/// The oldest format that can be migrated.
pub(crate) const OLDEST: i64 = MIGRATIONS[0].from;

/// Brings a store of format `found` to the present one; goes on where it was interrupted.
pub(crate) fn run(conn: &mut Connection, found: i64, tell: Option<Tell>) -> Result<(), Trouble> {
    let mut format = unfinished(conn)?.map_or(found, |note| note.from);
    while let Some(migration) = MIGRATIONS.iter().find(|migration| migration.from == format) {
        migration.run(conn, tell)?;
        format += 1;
    }
    Ok(())
}

/// Whether a migration was begun and not finished.
pub(crate) fn is_unfinished(conn: &Connection) -> Result<bool, Trouble> {
    Ok(unfinished(conn)?.is_some())
}

struct Note {
    from: i64,
    step: usize,
    cursor: i64,
}

fn unfinished(conn: &Connection) -> Result<Option<Note>, Trouble> {
    if !schema::has_table(conn, "migration")? {
        return Ok(None);
    }
    let note = conn.query_row("SELECT from_format, step, cursor FROM migration", [], |row| {
        let step: i64 = row.get(1)?;
        Ok(Note { from: row.get(0)?, step: usize::try_from(step).unwrap_or(0), cursor: row.get(2)? })
    });
    Ok(note.optional()?)
}

impl Migration {
    fn run(&self, conn: &mut Connection, tell: Option<Tell>) -> Result<(), Trouble> {
        let to = self.from + 1;
        let say = |step, durable| {
            tell.into_iter().for_each(|tell| tell(Progress { from: self.from, to, step, durable }));
        };
        let mut note = match unfinished(conn)? {
            Some(note) => note,
            None => self.begin(conn, &say)?,
        };
        while let Some(step) = self.steps.get(note.step) {
            let tx = conn.transaction()?;
            note = match (step.round)(&tx, note.cursor)? {
                Some(cursor) => Note { cursor, ..note },
                None => Note { step: note.step + 1, cursor: 0, ..note },
            };
            let place = [crate::number::rows(note.step), note.cursor];
            tx.execute("UPDATE migration SET step = ?1, cursor = ?2", place)?;
            say(step.name, false);
            tx.commit()?;
            say(step.name, true);
        }
        let tx = conn.transaction()?;
        tx.execute_batch("DROP TABLE migration")?;
        say("end", false);
        tx.commit()?;
        say("end", true);
        Ok(())
    }

    fn begin(&self, conn: &mut Connection, say: &dyn Fn(&'static str, bool)) -> Result<Note, Trouble> {
        let tx = conn.transaction()?;
        tx.execute_batch(NOTE)?;
        tx.execute("INSERT INTO migration VALUES (1, ?1, 0, 0)", [self.from])?;
        tx.pragma_update(None, "user_version", self.from + 1)?;
        say("begin", false);
        tx.commit()?;
        say("begin", true);
        Ok(Note { from: self.from, step: 0, cursor: 0 })
    }
}

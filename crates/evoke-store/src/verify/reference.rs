//! Whether the tables make sense together: what a row refers to is there, and what is counted is as many.

use rusqlite::{Connection, types::Value};

use super::Report;
use crate::table::log::Keys;
use crate::table::runs::{COMPLETED, DEAD, FAILED, QUEUED};
use crate::trouble::Trouble;

/// Rows that should not be: the place, what is wrong with them, and a query of their keys.
struct Rule {
    place: &'static str,
    what: &'static str,
    wrong: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        place: "runs",
        what: "it waits, but is in no queue: it will never run",
        wrong: "SELECT id FROM runs WHERE state = :queued AND n NOT IN (SELECT n FROM pending)",
    },
    Rule {
        place: "runs",
        what: "it was given up, but there is no dead letter of it",
        wrong: "SELECT id FROM runs WHERE state = :dead AND n NOT IN (SELECT n FROM dead)",
    },
    Rule {
        place: "runs",
        what: "its queue has no name",
        wrong: "SELECT id FROM runs WHERE queue NOT IN (SELECT id FROM queues)",
    },
    Rule {
        place: "pending",
        what: "its run is not there, or does not wait",
        wrong: "SELECT n FROM pending WHERE n NOT IN (SELECT n FROM runs WHERE state = :queued)",
    },
    Rule {
        place: "pending",
        what: "its queue has no name",
        wrong: "SELECT n FROM pending WHERE queue NOT IN (SELECT id FROM queues)",
    },
    Rule {
        // Runs are listed by function, and wait in the queue of the function or of one of its subscriptions.
        place: "pending",
        what: "it is in the queue of another function than its run",
        wrong: "SELECT p.n FROM pending p JOIN runs r ON r.n = p.n
                JOIN queues own ON own.id = r.queue JOIN queues its ON its.id = p.queue
                WHERE its.app <> own.app OR its.function <> own.function
                AND substr(its.function, 1, length(own.function) + 1) <> own.function || '/'",
    },
    Rule {
        place: "dead",
        what: "its run is not there, or was not given up",
        wrong: "SELECT n FROM dead WHERE n NOT IN (SELECT n FROM runs WHERE state = :dead)",
    },
    Rule {
        place: "pending",
        what: "its event is not there: it cannot run",
        wrong: "SELECT p.n FROM pending p JOIN runs r ON r.n = p.n WHERE p.request = 0
                AND NOT EXISTS (SELECT 1 FROM log WHERE seq = r.seq AND event IS NOT NULL AND type > '')",
    },
    Rule {
        place: "dead",
        what: "its event is not there: it cannot be tried again",
        wrong: "SELECT d.n FROM dead d JOIN runs r ON r.n = d.n WHERE d.request = 0
                AND NOT EXISTS (SELECT 1 FROM log WHERE seq = r.seq AND event IS NOT NULL AND type > '')",
    },
    Rule {
        place: "pending",
        what: "its request is not there: it cannot run",
        wrong: "SELECT n FROM pending WHERE request = 1 AND n NOT IN (SELECT n FROM requests)",
    },
    Rule {
        place: "dead",
        what: "its request is not there: it cannot be tried again",
        wrong: "SELECT n FROM dead WHERE request = 1 AND n NOT IN (SELECT n FROM requests)",
    },
    Rule {
        place: "requests",
        what: "nothing waits for it",
        wrong: "SELECT n FROM requests WHERE n NOT IN
                (SELECT n FROM pending WHERE request = 1 UNION ALL SELECT n FROM dead WHERE request = 1)",
    },
    Rule {
        // A blank line has none.
        place: "logs",
        what: "its queue has no name",
        wrong: "SELECT position FROM logs WHERE queue <> 0 AND queue NOT IN (SELECT id FROM queues)",
    },
    Rule {
        place: "logs",
        what: "the line after it is not there",
        wrong: "SELECT position FROM logs WHERE position + 1 NOT IN (SELECT position FROM logs)
                AND position <> (SELECT log_lines FROM counters)",
    },
    Rule {
        place: "counters",
        what: "a number was used that it has not given",
        wrong: "SELECT id FROM counters WHERE last < max(
                (SELECT coalesce(max(seq), 0) FROM log), (SELECT coalesce(max(n), 0) FROM runs),
                (SELECT coalesce(max(token), 0) FROM pending), (SELECT coalesce(max(revision), 0) FROM entries))",
    },
    Rule {
        place: "counters",
        what: "there is a line after the last one",
        wrong: "SELECT id FROM counters WHERE log_lines < (SELECT coalesce(max(position), 0) FROM logs)",
    },
    Rule {
        place: "counters",
        what: "it has another number of ended runs than there are",
        wrong: "SELECT id FROM counters WHERE ended_runs <>
                (SELECT count(*) FROM runs WHERE state IN (:completed, :failed))",
    },
    Rule {
        place: "counters",
        what: "it is not there",
        wrong: "SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM counters)",
    },
    Rule {
        place: "archive",
        what: "it has another number of events, or of their bytes, than there are",
        wrong: "SELECT coalesce(a.app, l.app) || ' ' || coalesce(a.type, l.type) FROM archive a FULL JOIN
                (SELECT app, type, count(*) AS events, sum(length(event)) AS bytes FROM log
                 WHERE type IS NOT NULL GROUP BY app, type) l ON l.app = a.app AND l.type = a.type
                WHERE a.events IS NOT l.events OR a.bytes IS NOT l.bytes",
    },
    Rule {
        place: "usage",
        what: "it has another number of ended runs, or of their bytes, than there are",
        wrong: "SELECT coalesce(u.queue, r.queue) FROM usage u FULL JOIN
                (SELECT queue, count(*) AS runs, sum(length(body)) AS bytes FROM runs
                 WHERE state IN (:completed, :failed) GROUP BY queue) r ON r.queue = u.queue
                WHERE coalesce(u.runs, 0) <> coalesce(r.runs, 0) OR coalesce(u.run_bytes, 0) <> coalesce(r.bytes, 0)",
    },
    Rule {
        place: "usage",
        what: "it has another number of log lines, or of their bytes, than there are",
        wrong: "SELECT coalesce(u.queue, l.queue) FROM usage u FULL JOIN
                (SELECT queue, count(*) AS lines, sum(octet_length(line)) AS bytes FROM logs
                 WHERE queue <> 0 GROUP BY queue) l ON l.queue = u.queue
                WHERE coalesce(u.lines, 0) <> coalesce(l.lines, 0) OR coalesce(u.line_bytes, 0) <> coalesce(l.bytes, 0)",
    },
    Rule {
        place: "runs",
        what: "it is in no slice: the list of its function does not have it",
        wrong: "SELECT id FROM runs r WHERE state IN (:completed, :failed) AND NOT EXISTS
                (SELECT 1 FROM slices WHERE queue = r.queue AND state = r.state AND slice = substr(r.id, 1, 13))",
    },
    Rule {
        place: "slices",
        what: "no run is in it",
        wrong: "SELECT queue || ' ' || state || ' ' || slice FROM slices s WHERE NOT EXISTS
                (SELECT 1 FROM runs WHERE id >= s.slice AND id < s.slice || char(1114111)
                 AND substr(id, 1, 13) = s.slice AND queue = s.queue AND state = s.state)",
    },
    Rule {
        place: "runs",
        what: "it has no state",
        wrong: "SELECT id FROM runs WHERE state NOT BETWEEN 0 AND 4",
    },
];

/// Looks at all of it.
pub(super) fn check(conn: &Connection, report: &mut Report) {
    for rule in RULES {
        if let Err(error) = rule.check(conn, report) {
            report.trouble(rule.place, error.into());
        }
    }
    match keys(conn, report) {
        Ok(count) => drop(report.records.insert("seen", count)),
        Err(trouble) => report.trouble("seen", trouble),
    }
}

impl Rule {
    fn check(&self, conn: &Connection, report: &mut Report) -> rusqlite::Result<()> {
        let mut find = conn.prepare(self.wrong)?;
        for (name, value) in
            [(":queued", QUEUED), (":dead", DEAD), (":completed", COMPLETED), (":failed", FAILED)]
        {
            if let Some(at) = find.parameter_index(name)? {
                find.raw_bind_parameter(at, value)?;
            }
        }
        let mut rows = find.raw_query();
        while let Some(row) = rows.next()? {
            let key = match row.get(0)? {
                Value::Text(text) => text,
                Value::Integer(int) => int.to_string(),
                other => format!("{other:?}"),
            };
            report.damage(self.place, Some(key), self.what);
        }
        Ok(())
    }
}

/// Compares `seen`, whose rows have no checksum, with the keys in the rows of the log, which have. Returns how many
/// rows of `seen` are right.
fn keys(conn: &Connection, report: &mut Report) -> Result<u64, Trouble> {
    let forgotten: i64 =
        conn.query_row("SELECT coalesce(max(forgotten_before), 0) FROM counters", [], |row| row.get(0))?;
    // From the log: each key is known, for this position or for a later one that took it over.
    let mut known = conn.prepare("SELECT seq FROM seen WHERE key = ?1")?;
    let mut find = conn.prepare("SELECT seq, accepted_at, keys FROM log ORDER BY seq")?;
    let mut rows = find.query([])?;
    while let Some(row) = rows.next()? {
        let (seq, accepted_at, keys): (i64, i64, Keys) = (row.get(0)?, row.get(1)?, Keys(row.get(2)?));
        for key in keys.each() {
            let found: Vec<i64> =
                known.query_map([key], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
            match found.first() {
                Some(other) if *other >= seq => {}
                // The one that took it over went before this one.
                None if accepted_at < forgotten => {}
                _ => report.damage(
                    "log",
                    Some(seq.to_string()),
                    "its key is not known: a duplicate of it would be accepted",
                ),
            }
        }
    }
    // And back.
    let mut right = 0;
    let mut keys_of = conn.prepare("SELECT keys FROM log WHERE seq = ?1")?;
    let mut find = conn.prepare("SELECT key, seq FROM seen ORDER BY key")?;
    let mut rows = find.query([])?;
    while let Some(row) = rows.next()? {
        let (key, seq): (Vec<u8>, i64) = (row.get(0)?, row.get(1)?);
        let mut keys = keys_of.query_map([seq], |row| row.get(0).map(Keys))?;
        if keys.next().transpose()?.is_some_and(|keys| keys.has(&key)) {
            right += 1;
        } else {
            let name = key.iter().map(|byte| format!("{byte:02x}")).collect();
            report.damage("seen", Some(name), format!("position {seq} of the log does not have this key"));
        }
    }
    Ok(right)
}

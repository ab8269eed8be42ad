//! Bounds on the bytes of ended runs and of log lines: of each app, and of all together. The oldest go first.

use std::collections::BTreeMap;

use super::{AllUsage, Sweep};
use crate::limit::SWEEP_ROWS;
use crate::number::{int, rows};
use crate::table::logs;
use crate::table::queues;
use crate::table::runs;
use crate::table::runs::old::Old;
use crate::table::usage::Usage;
use crate::trouble::Trouble;
use crate::write::tx::Tx;

/// One of the oldest of a queue.
struct Aged<K, T> {
    /// Sorts by age.
    age: K,
    of: T,
}

impl Sweep {
    /// Ended runs of apps that have too much of them; how many went.
    pub(super) fn runs_of_apps(&self, tx: &mut Tx<'_>, usage: &AllUsage) -> Result<usize, Trouble> {
        let mut gone = 0;
        for (queues, usage) in self.apps(tx, usage)? {
            let mut over = usage.run_bytes - int(self.keep.app_runs_bytes);
            if over <= 0 {
                continue;
            }
            let each = (SWEEP_ROWS / queues.len()).max(1);
            let mut lines = Vec::new();
            for queue in queues {
                for state in [runs::COMPLETED, runs::FAILED] {
                    let old = Old::ended(tx.conn, queue, state, rows(each))?;
                    lines.push(old.into_iter().map(|run| Aged { age: run.id.clone(), of: run }).collect());
                }
            }
            for Aged { of: run, .. } in merge(lines, each) {
                if over <= 0 {
                    break;
                }
                if !runs::old::is_needed(tx.conn, run.n, tx.counters.forgotten_before)? {
                    tx.delete_run(&run)?;
                    over -= run.bytes;
                    gone += 1;
                }
            }
        }
        Ok(gone)
    }

    /// Lines of apps that have too much of them become blank; how many.
    pub(super) fn lines_of_apps(&self, tx: &mut Tx<'_>, usage: &AllUsage) -> Result<usize, Trouble> {
        let mut gone = 0;
        for (queues, usage) in self.apps(tx, usage)? {
            let mut over = usage.line_bytes - int(self.keep.app_logs_bytes);
            if over <= 0 {
                continue;
            }
            let each = (SWEEP_ROWS / queues.len()).max(1);
            let mut lines = Vec::new();
            for queue in queues {
                let old = logs::oldest(tx.conn, queue, rows(each))?;
                lines.push(old.into_iter().map(|line| Aged { age: line.0, of: (queue, line.1) }).collect());
            }
            for Aged { age: position, of: (queue, bytes) } in merge(lines, each) {
                if over <= 0 {
                    break;
                }
                logs::blank(tx.conn, position)?;
                tx.line(queue, -1, -bytes);
                over -= bytes;
                gone += 1;
            }
        }
        Ok(gone)
    }

    /// The queues of each app with what they have together.
    fn apps(&self, tx: &Tx<'_>, usage: &AllUsage) -> Result<Vec<(Vec<i64>, Usage)>, Trouble> {
        let least = self.keep.app_runs_bytes.min(self.keep.app_logs_bytes);
        let all = usage.values().fold(Usage::default(), |all, one| all.and(*one));
        if all.run_bytes.max(all.line_bytes) <= int(least) {
            return Ok(Vec::new());
        }
        let mut apps: BTreeMap<String, (Vec<i64>, Usage)> = BTreeMap::new();
        for (app, queue) in queues::by_app(tx.conn)? {
            if let Some(one) = usage.get(&queue) {
                let (queues, all) = apps.entry(app).or_default();
                queues.push(queue);
                *all = all.and(*one);
            }
        }
        Ok(apps.into_values().collect())
    }
}

/// The lines, of which each has its `each` oldest, as one: as far as it is known what comes next.
fn merge<K: Ord + Clone, T>(lines: Vec<Vec<Aged<K, T>>>, each: usize) -> Vec<Aged<K, T>> {
    let cut = lines.iter().filter(|line| line.len() >= each);
    let known = cut.filter_map(|line| line.last()).map(|last| last.age.clone()).min();
    let mut all: Vec<Aged<K, T>> = lines.into_iter().flatten().collect();
    all.retain(|one| known.as_ref().is_none_or(|known| one.age <= *known));
    all.sort_by(|a, b| a.age.cmp(&b.age));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(ages: &[i64]) -> Vec<Aged<i64, ()>> {
        ages.iter().map(|age| Aged { age: *age, of: () }).collect()
    }

    #[test]
    fn lines_are_one_up_to_where_one_of_them_was_cut() {
        let ages = |lines, each| merge(lines, each).iter().map(|one| one.age).collect::<Vec<_>>();
        assert_eq!(ages(vec![line(&[1, 4]), line(&[2, 3, 9])], 3), [1, 2, 3, 4, 9]);
        assert_eq!(ages(vec![line(&[1, 4, 5]), line(&[2, 3, 9])], 3), [1, 2, 3, 4, 5]);
        assert_eq!(ages(vec![line(&[7]), line(&[])], 1), [7]);
        assert!(ages(Vec::new(), 5).is_empty());
    }
}

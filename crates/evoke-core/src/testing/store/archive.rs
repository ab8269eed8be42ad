//! What goes from the log.

use super::All;
use super::queue::{Accepted, Expired};
use crate::id::RunId;
use crate::store::{Retention, Verdict};
use crate::time::Timestamp;

impl All {
    /// Takes what is no longer kept; how many events lost their data and stay otherwise.
    pub(super) fn sweep_archive(&mut self, keep: &Retention, now: Timestamp) -> u64 {
        let aged = |one: &Accepted| {
            let keep = one.event.as_ref().map_or(keep.events, |event| keep.keep(&one.app, event.ty()));
            one.expired.is_some() || one.at < now.before(keep)
        };
        let due: Vec<u64> = self.log.iter().filter(|(_, one)| aged(one)).map(|(seq, _)| *seq).collect();
        let mut expired = due.into_iter().filter(|seq| self.let_go(*seq, keep, now)).count();
        for (app, archive) in &keep.archives {
            for (of, limit) in archive.bounds() {
                let sizes = self.sizes(|one, ty| one.app == *app && archive.counts_for(ty, of));
                let mut all: u64 = sizes.iter().map(|(_, bytes)| bytes).sum();
                for (seq, bytes) in sizes {
                    if all <= limit {
                        break;
                    }
                    expired += usize::from(self.let_go(seq, keep, now));
                    // One that is needed stays, and a later one goes in its place.
                    if self.log.get(&seq).is_none_or(|one| one.expired.is_some()) {
                        all -= bytes;
                    }
                }
            }
        }
        expired as u64
    }

    /// The events that are kept and wanted, oldest first, with their bytes.
    fn sizes(&self, wanted: impl Fn(&Accepted, &str) -> bool) -> Vec<(u64, u64)> {
        let kept = self.log.iter().filter(|(_, one)| one.expired.is_none());
        kept.filter_map(|(seq, one)| {
            let event = one.event.as_ref().filter(|event| wanted(one, event.ty()))?;
            Some((*seq, event.json_bytes()))
        })
        .collect()
    }

    fn open_runs(&self, seq: u64) -> Vec<RunId> {
        let Some(one) = self.log.get(&seq) else { return Vec::new() };
        one.caused().filter(|run| self.invocations.contains_key(*run)).cloned().collect()
    }

    /// Whether it lost its data and stays: one that is gone whole is counted by whoever called.
    fn let_go(&mut self, seq: u64, keep: &Retention, now: Timestamp) -> bool {
        let open = self.open_runs(seq);
        let Some(one) = self.log.get(&seq) else { return false };
        let remembered = one.at >= now.before(keep.dedup);
        if let Some(Expired { at, gave_up }) = one.expired {
            let told = gave_up && at >= now.before(keep.runs);
            if !remembered && !told {
                self.log.remove(&seq);
            }
            return false;
        }
        let Some(event) = &one.event else {
            if open.is_empty() && !remembered {
                self.log.remove(&seq);
            }
            return false;
        };
        let needed = !open.is_empty() || keep.holds(&one.app, seq);
        let forced = keep.even_if_needed(&one.app, event.ty());
        if needed && (!forced || open.iter().any(|run| self.is_leased(run, now))) {
            return false;
        }
        let gave_up = !open.is_empty();
        if !remembered && !gave_up {
            self.log.remove(&seq);
            return false;
        }
        for run in &open {
            self.conclude(run, Verdict::Complete, now);
            if let Some(record) = self.runs.get_mut(run) {
                record.expire(now);
            }
        }
        let Some(one) = self.log.get_mut(&seq) else { return false };
        one.event = one.event.take().map(crate::event::Event::without_data);
        one.expired = Some(Expired { at: now, gave_up });
        true
    }
}

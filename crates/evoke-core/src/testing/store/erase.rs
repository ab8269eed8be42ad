//! What an app has, counted and taken away.

use super::All;
use super::queue::Place;
use crate::holdings::Holdings;
use crate::id::AppName;

impl All {
    pub(super) fn holdings(&self, app: &AppName) -> Holdings {
        let events = self.log.values().filter(|one| one.app == *app && one.expired.is_none());
        let events: Vec<u64> =
            events.filter_map(|one| one.event.as_ref().map(crate::event::Event::json_bytes)).collect();
        let invocations = || self.invocations.values().filter(|one| one.queue.app == *app);
        let is_dead = |place: &Place| matches!(place, Place::Dead { .. });
        let state: Vec<u64> = self
            .entries
            .iter()
            .filter(|((space, _), _)| space.is_of(app))
            .map(|(_, entry)| entry.value.bytes.len() as u64)
            .collect();
        Holdings {
            events: events.len() as u64,
            event_bytes: events.iter().sum(),
            pending: invocations().filter(|one| !is_dead(&one.place)).count() as u64,
            dead_letters: invocations().filter(|one| is_dead(&one.place)).count() as u64,
            runs: self.runs.values().filter(|run| run.app == *app).count() as u64,
            log_lines: self.logs.iter().filter(|(_, line)| line.app == *app).count() as u64,
            entries: state.len() as u64,
            entry_bytes: state.iter().sum(),
        }
    }

    pub(super) fn erase(&mut self, app: &AppName) {
        self.available.retain(|(queue, _, _)| queue.app != *app);
        self.invocations.retain(|_, one| one.queue.app != *app);
        self.runs.retain(|_, run| run.app != *app);
        self.logs.retain(|(_, line)| line.app != *app);
        self.log.retain(|_, one| one.app != *app);
        self.seen.retain(|(of, _), _| of != app);
        self.entries.retain(|(space, _), _| !space.is_of(app));
    }
}

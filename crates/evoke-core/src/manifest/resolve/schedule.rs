//! Schedules: that they fire, and that somebody gets their events.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Resolver;
use crate::id::ScheduleName;
use crate::manifest::bounds::{SCHEDULE_DATA_BYTES_MAX, SCHEDULES_MAX};
use crate::manifest::table::At;
use crate::manifest::{TypePattern, raw};
use crate::schedule::{Schedule, Timer, TimerError, UTC};

/// Schedules of a file that are looked at although so many before them never fire.
const NEVER_MAX: usize = 3;

impl Resolver<'_, '_> {
    pub(super) fn schedules(
        &mut self,
        raw: &[(At<String>, raw::Schedule)],
        functions: &[(At<String>, raw::Function)],
        hooks: &[(At<String>, raw::Hook)],
    ) -> BTreeMap<ScheduleName, Schedule> {
        if let Some((name, _)) = raw.get(SCHEDULES_MAX) {
            let message = format!("{} schedules are more than the limit of {SCHEDULES_MAX}", raw.len());
            self.problems.add("out_of_range", name.span.clone(), message);
        }
        let mut schedules = BTreeMap::new();
        let mut never = 0;
        for (name, raw) in raw.iter().take(SCHEDULES_MAX) {
            // That a day never comes takes long to find out: a few such schedules are enough to refuse the file.
            let schedule = if never == NEVER_MAX { None } else { self.schedule(name, raw, &mut never) };
            match ScheduleName::new(&name.value) {
                Ok(id) => {
                    if let Some(schedule) = schedule {
                        self.subscribed(name, &schedule.event, functions, hooks);
                        schedules.insert(id, schedule);
                    }
                }
                Err(error) => self.invalid_name(name, error.to_string()),
            }
        }
        schedules
    }

    fn schedule(&mut self, name: &At<String>, raw: &raw::Schedule, never: &mut usize) -> Option<Schedule> {
        let place = format!("schedule {}", name.value);
        let timer = self.timer(&place, name, raw, never);
        let catch_up =
            self.duration(&place, "catch_up", raw.catch_up.as_ref(), Duration::ZERO..=Schedule::CATCH_UP_MAX);
        let event = match &raw.event {
            None => Some(format!("schedule.{}", name.value)),
            Some(text) if text.value.ends_with('*') => {
                let message = format!("{place}: event {:?} is a prefix", text.value);
                self.problems
                    .add("invalid_value", text.span.clone(), message)
                    .help("write the one type that its events have");
                None
            }
            Some(text) => {
                let at = format!("{place}: event");
                let ty = self.pattern(&at, text).filter(|_| self.is_of_the_app(&at, text));
                ty.map(|TypePattern(ty)| ty)
            }
        };
        let data = raw.data.as_ref().map(|data| {
            let bytes = data.value.to_string().len();
            if bytes > SCHEDULE_DATA_BYTES_MAX {
                let message = format!(
                    "{place}: data has {bytes} bytes as JSON, the limit is {SCHEDULE_DATA_BYTES_MAX}"
                );
                self.problems.add("out_of_range", data.place.span.clone(), message);
            }
            data.value.clone()
        });
        Some(Schedule {
            timer: timer?,
            event: event?,
            data,
            catch_up: catch_up.unwrap_or(Schedule::CATCH_UP_MAX),
        })
    }

    fn timer(
        &mut self,
        place: &str,
        name: &At<String>,
        raw: &raw::Schedule,
        never: &mut usize,
    ) -> Option<Timer> {
        match (&raw.cron, &raw.every) {
            (Some(cron), None) => {
                let zone = raw.timezone.as_ref();
                let error = match Timer::cron(&cron.value, zone.map_or(UTC, |zone| &zone.value)) {
                    Ok(timer) => return Some(timer),
                    Err(error) => error,
                };
                *never += usize::from(matches!(error, TimerError::Never(_)));
                let (span, help) = match &error {
                    TimerError::Zone(_) => {
                        (zone.unwrap_or(cron).span.clone(), "write an IANA name, such as Europe/Zurich")
                    }
                    _ => (
                        cron.span.clone(),
                        "it has 5 or 6 fields, [second] minute hour day month weekday, such as \"0 3 * * *\"",
                    ),
                };
                self.problems.add("invalid_value", span, format!("{place}: {error}")).help(help);
                None
            }
            (None, Some(_)) => {
                if let Some(zone) = &raw.timezone {
                    let message = format!("{place}: timezone goes with cron, not with every");
                    self.problems
                        .add("invalid_value", zone.span.clone(), message)
                        .help("leave it out: an interval is the same everywhere");
                }
                let range = Schedule::EVERY_MIN..=Schedule::EVERY_MAX;
                self.duration(place, "every", raw.every.as_ref(), range).map(Timer::Every)
            }
            (Some(cron), Some(_)) => {
                let message = format!("{place}: cron and every exclude each other");
                self.problems.add("invalid_value", cron.span.clone(), message).help("leave one of them out");
                None
            }
            (None, None) => {
                let message = format!("{place}: key cron or every is missing");
                self.problems
                    .add("missing_key", name.span.clone(), message)
                    .help("write cron = \"0 3 * * *\" or every = \"10s\"");
                None
            }
        }
    }

    /// A schedule that starts nothing is a mistake.
    fn subscribed(
        &mut self,
        name: &At<String>,
        ty: &str,
        functions: &[(At<String>, raw::Function)],
        hooks: &[(At<String>, raw::Hook)],
    ) {
        let functions = functions.iter().flat_map(|(_, function)| &function.on);
        let all = functions.chain(hooks.iter().flat_map(|(_, hook)| &hook.on));
        let mut events = all.filter_map(|on| on.event.as_ref());
        if events.any(|event| TypePattern(event.value.clone()).matches(ty)) {
            return;
        }
        let message = format!("schedule {}: no function is subscribed to its event {ty:?}", name.value);
        let help = format!("write on = [{{ event = {ty:?} }}] in the function it is to start");
        self.problems.add("no_subscriber", name.span.clone(), message).help(help);
    }
}

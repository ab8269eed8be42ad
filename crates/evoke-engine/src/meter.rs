//! What a function's attempts used, added up since the server started. Goes on when the app is deployed again; a canary and the version
//! beside it are added up together.

use std::collections::BTreeMap;
use std::sync::Arc;

use evoke_core::id::{AppName, FunctionName};
use evoke_core::usage::Usage;
use parking_lot::Mutex;

use crate::Engine;

/// Sums over attempts that have ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// How many there were; a batch of deliveries is one.
    pub attempts: u64,
    /// Those of which the processor time is not known.
    pub unmeasured: u64,
    /// Microseconds they ran, one beside the other.
    pub ran_us: u64,
    /// Microseconds of processor time.
    pub cpu_us: u64,
    /// The same of instances without a call: loading, and between calls.
    pub idle_cpu_us: u64,
    /// Most memory of an instance during an attempt, in bytes; `None` while it was never measured.
    pub peak_memory_bytes: Option<u64>,
}

/// One function's.
#[derive(Debug, Default)]
pub(crate) struct Meter(Mutex<Spent>);

impl Meter {
    /// An attempt has ended, after it ran for `ran_us`.
    pub fn add(&self, ran_us: u64, usage: &Usage) {
        let mut spent = self.0.lock();
        spent.attempts += 1;
        spent.unmeasured += u64::from(usage.cpu_us.is_none());
        spent.ran_us += ran_us;
        spent.cpu_us += usage.cpu_us.unwrap_or(0);
        spent.idle_cpu_us += usage.idle_cpu_us;
        spent.peak_memory_bytes = spent.peak_memory_bytes.max(usage.peak_memory_bytes);
    }

    fn spent(&self) -> Spent {
        *self.0.lock()
    }
}

impl Engine {
    /// What the attempts at a function used since the server started.
    pub fn spent(&self, app: &AppName, function: &FunctionName) -> Spent {
        let snapshot = self.0.directory.snapshot();
        snapshot.target(app, function).map_or_else(Spent::default, |target| target.meter.spent())
    }

    /// The same of all functions, by app and name.
    pub fn spent_by_all(&self) -> Vec<(AppName, FunctionName, Spent)> {
        let snapshot = self.0.directory.snapshot();
        let meters: BTreeMap<_, &Arc<Meter>> =
            snapshot.targets().map(|target| ((&target.app, &target.name), &target.meter)).collect();
        let spent = |((app, name), meter): ((&AppName, &FunctionName), &Arc<Meter>)| {
            (app.clone(), name.clone(), meter.spent())
        };
        meters.into_iter().map(spent).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_added_up_and_those_not_measured_are_counted() {
        let meter = Meter::default();
        let usage = |cpu_us, peak| Usage { cpu_us, peak_memory_bytes: peak, idle_cpu_us: 1, shared: false };
        meter.add(10, &usage(Some(5), Some(100)));
        meter.add(20, &usage(Some(7), Some(40)));
        meter.add(30, &Usage::default());
        let expected = Spent {
            attempts: 3,
            unmeasured: 1,
            ran_us: 60,
            cpu_us: 12,
            idle_cpu_us: 2,
            peak_memory_bytes: Some(100),
        };
        assert_eq!(meter.spent(), expected);
    }
}

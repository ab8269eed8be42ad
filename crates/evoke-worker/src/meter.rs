//! From readings of a process to what each of its calls used.
//!
//! Processor time is what is added between the begin and the end of a call; what is added while no call runs is told with the
//! next one. Where several calls run in one process nobody can tell whose it is: each gets an equal part of what is added
//! while it runs, so that all of them together have all of it.

use std::sync::Arc;

use evoke_core::usage::Usage;
use parking_lot::Mutex;

use crate::gauge::{Gauge, Reading};

/// Meters the calls of one process.
#[derive(Debug)]
pub(crate) struct Meter {
    gauge: Arc<Gauge>,
    shares: Mutex<Shares>,
}

/// A call that is being metered. Dropping it leaves what it used to the others.
#[derive(Debug)]
pub(crate) struct Metered<'a> {
    meter: &'a Meter,
    begun: Begun,
    noted: Reading,
}

impl Meter {
    /// Of a process that has not run any call.
    pub(crate) fn new(gauge: Arc<Gauge>) -> Self {
        Self { gauge, shares: Mutex::default() }
    }

    /// A call begins now.
    pub(crate) fn begin(&self) -> Metered<'_> {
        let now_ns = self.gauge.cpu_ns();
        let mut shares = self.shares.lock();
        if shares.running == 0 {
            self.gauge.forget_peak();
        }
        Metered { meter: self, begun: shares.begin(now_ns), noted: Reading::default() }
    }
}

impl Metered<'_> {
    /// Takes a reading, in case that there is none after the end of the process.
    pub(crate) fn note(&mut self) {
        self.noted = self.meter.gauge.read();
    }

    /// What it used until now.
    pub(crate) fn end(self) -> Usage {
        let Reading { cpu_ns, peak_bytes } = self.meter.gauge.read();
        let used = self.meter.shares.lock().used(&self.begun, cpu_ns.or(self.noted.cpu_ns));
        Usage {
            cpu_us: used.cpu_ns.map(|ns| ns / 1000),
            peak_memory_bytes: peak_bytes.or(self.noted.peak_bytes),
            idle_cpu_us: self.begun.idle_ns / 1000,
            shared: used.shared,
        }
    }
}

impl Drop for Metered<'_> {
    fn drop(&mut self) {
        self.meter.shares.lock().running -= 1;
    }
}

/// Who has which part of a counter that goes up.
#[derive(Debug, Default)]
struct Shares {
    /// The counter when it was read last.
    read_ns: u64,
    /// What a call that ran all the time would have.
    part_ns: u64,
    /// Added while nothing ran.
    idle_ns: u64,
    running: u32,
    /// Calls so far.
    calls: u64,
}

/// When a call began.
#[derive(Debug)]
struct Begun {
    part_ns: Option<u64>,
    idle_ns: u64,
    was_alone: bool,
    call: u64,
}

struct Used {
    cpu_ns: Option<u64>,
    shared: bool,
}

impl Shares {
    fn begin(&mut self, now_ns: Option<u64>) -> Begun {
        let part_ns = self.part_ns(now_ns);
        let (idle_ns, was_alone) = (std::mem::take(&mut self.idle_ns), self.running == 0);
        self.running += 1;
        self.calls += 1;
        Begun { part_ns, idle_ns, was_alone, call: self.calls }
    }

    /// `call` still runs.
    fn used(&mut self, call: &Begun, now_ns: Option<u64>) -> Used {
        let part_ns = self.part_ns(now_ns);
        let cpu_ns = part_ns.zip(call.part_ns).map(|(now, then)| now - then);
        Used { cpu_ns, shared: !call.was_alone || self.calls != call.call }
    }

    /// Hands out what was added.
    fn part_ns(&mut self, now_ns: Option<u64>) -> Option<u64> {
        let now_ns = now_ns?;
        // Readings of calls that end at the same time may come in another order than they were taken.
        let added = now_ns.saturating_sub(self.read_ns);
        match self.running {
            0 => self.idle_ns += added,
            running => self.part_ns += added / u64::from(running),
        }
        self.read_ns = self.read_ns.max(now_ns);
        Some(self.part_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Shares {
        fn end(&mut self, call: &Begun, now_ns: u64) -> (Option<u64>, bool) {
            let used = self.used(call, Some(now_ns));
            self.running -= 1;
            (used.cpu_ns, used.shared)
        }
    }

    #[test]
    fn a_call_has_what_was_added_while_it_ran_and_the_next_is_told_what_came_before() {
        let mut shares = Shares::default();
        let first = shares.begin(Some(500));
        assert_eq!(first.idle_ns, 500, "what it took to load");
        assert_eq!(shares.end(&first, 1_500), (Some(1_000), false));
        let second = shares.begin(Some(1_600));
        assert_eq!(second.idle_ns, 100);
        assert_eq!(shares.end(&second, 1_600), (Some(0), false));
    }

    #[test]
    fn calls_at_once_share_what_is_added_and_together_have_all_of_it() {
        let mut shares = Shares::default();
        let long = shares.begin(Some(0));
        let short = shares.begin(Some(100));
        assert_eq!(shares.end(&short, 300), (Some(100), true));
        assert_eq!(shares.end(&long, 350), (Some(100 + 100 + 50), true));
        let alone = shares.begin(Some(350));
        assert_eq!(shares.end(&alone, 360), (Some(10), false));
    }

    #[test]
    fn what_cannot_be_read_is_not_known() {
        let mut shares = Shares::default();
        let call = shares.begin(None);
        assert_eq!(shares.end(&call, 100).0, None);
        let call = shares.begin(Some(100));
        assert_eq!(shares.used(&call, None).cpu_ns, None);
    }

    #[test]
    fn a_call_that_is_let_go_of_leaves_its_part_to_the_others() {
        let meter = Meter::new(Arc::new(Gauge::none()));
        let kept = meter.begin();
        drop(meter.begin());
        assert_eq!(meter.shares.lock().running, 1);
        assert!(kept.end().shared);
        assert_eq!(meter.shares.lock().running, 0);
    }
}

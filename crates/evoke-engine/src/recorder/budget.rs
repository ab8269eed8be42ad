//! How much functions may write in a second, each for itself, so that one that talks without end costs the others nothing.

use std::collections::HashMap;
use std::time::Duration;

use evoke_core::id::{AppName, FunctionName};
use evoke_core::limits::Limits;
use evoke_core::rate::Bucket;
use parking_lot::Mutex;
use tokio::time::Instant;

/// Seconds of the permitted rate that may come at once.
const BURST_SECONDS: u64 = 10;
/// Once something was dropped, so much of what follows is dropped too: one gap in the log, with one line about it, instead of many.
const GAP: Duration = Duration::from_secs(1);
/// Functions remembered before those that have nothing to remember are forgotten.
const REMEMBERED: usize = 1_024;

/// The budgets of all functions.
#[derive(Debug)]
pub(super) struct Budgets {
    lines_per_second: u64,
    bytes_per_second: u64,
    functions: Mutex<HashMap<(AppName, FunctionName), Budget>>,
}

#[derive(Debug)]
struct Budget {
    lines: Bucket,
    bytes: Bucket,
    gap_until: Option<Instant>,
    dropped: Lines,
}

/// So many, and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Lines {
    pub lines: u64,
    pub bytes: u64,
}

impl Lines {
    pub fn add(&mut self, line: &str) {
        self.lines += 1;
        self.bytes += line.len() as u64;
    }

    pub fn is_none(self) -> bool {
        self.lines == 0
    }

    /// That they are missing.
    pub fn dropped_in_words(self) -> String {
        let Self { lines, bytes } = self;
        let were = if lines == 1 { "line was" } else { "lines were" };
        format!("{lines} further {were} dropped ({bytes} bytes)")
    }
}

/// What to do with a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Keep it; so much was dropped before it that nobody has been told of.
    Keep(Lines),
    /// Drop it; it has been counted.
    Drop,
}

impl Budgets {
    pub fn new(limits: &Limits) -> Self {
        Self {
            lines_per_second: limits.log_lines_per_second,
            bytes_per_second: limits.log_bytes_per_second,
            functions: Mutex::default(),
        }
    }

    /// Whether there is room for a line of this function.
    pub fn spend(&self, app: &AppName, function: &FunctionName, line: &str, now: Instant) -> Verdict {
        let mut functions = self.functions.lock();
        if functions.len() >= REMEMBERED {
            functions.retain(|_, budget| !budget.is_forgettable(now));
        }
        let budget = functions.entry((app.clone(), function.clone())).or_insert_with(|| Budget {
            lines: Bucket::new(self.lines_per_second, self.lines_per_second * BURST_SECONDS),
            bytes: Bucket::new(self.bytes_per_second, self.bytes_per_second * BURST_SECONDS),
            gap_until: None,
            dropped: Lines::default(),
        });
        budget.spend(line, now)
    }

    /// What was dropped of this function's lines since that was told last.
    pub fn take_dropped(&self, app: &AppName, function: &FunctionName) -> Lines {
        let mut functions = self.functions.lock();
        let budget = functions.get_mut(&(app.clone(), function.clone()));
        budget.map(|budget| std::mem::take(&mut budget.dropped)).unwrap_or_default()
    }

    /// The rule in words.
    pub fn rule(&self, function: &FunctionName) -> String {
        let Self { lines_per_second: lines, bytes_per_second: bytes, .. } = self;
        format!("function {function} may write {lines} lines and {bytes} bytes a second")
    }
}

impl Budget {
    fn spend(&mut self, line: &str, now: Instant) -> Verdict {
        let in_gap = self.gap_until.is_some_and(|until| now < until);
        if in_gap || !self.lines.take(1, now) || !self.bytes.take(line.len() as u64, now) {
            if !in_gap {
                self.gap_until = Some(now + GAP);
            }
            self.dropped.add(line);
            return Verdict::Drop;
        }
        self.gap_until = None;
        Verdict::Keep(std::mem::take(&mut self.dropped))
    }

    fn is_forgettable(&self, now: Instant) -> bool {
        self.dropped.is_none() && self.lines.is_full(now) && self.bytes.is_full(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> (AppName, FunctionName) {
        (AppName::new("shop").unwrap(), FunctionName::new("chatty").unwrap())
    }

    fn budgets(lines: u64, bytes: u64) -> Budgets {
        let limits = Limits { log_lines_per_second: lines, log_bytes_per_second: bytes, ..Limits::default() };
        Budgets::new(&limits)
    }

    #[test]
    fn a_flood_leaves_one_gap_a_second_with_its_size() {
        let ((app, function), budgets, start) = (names(), budgets(10, 1_000_000), Instant::now());
        let (mut kept, mut told, mut gaps) = (0, 0, 0);
        for ms in 0..20_000 {
            match budgets.spend(&app, &function, "line", start + Duration::from_millis(ms)) {
                Verdict::Keep(dropped) => {
                    kept += 1;
                    told += dropped.lines;
                    gaps += u64::from(!dropped.is_none());
                }
                Verdict::Drop => {}
            }
        }
        let left = budgets.take_dropped(&app, &function);
        assert_eq!(kept + told + left.lines, 20_000);
        assert_eq!(left.bytes, left.lines * 4);
        assert!((200..=320).contains(&kept), "{kept}");
        assert!(gaps <= 20, "{gaps}");
    }

    #[test]
    fn long_lines_are_held_to_their_bytes_and_neighbours_are_not() {
        let ((app, function), budgets, now) = (names(), budgets(1_000, 100), Instant::now());
        let long = "x".repeat(600);
        assert_eq!(budgets.spend(&app, &function, &long, now), Verdict::Keep(Lines::default()));
        assert_eq!(budgets.spend(&app, &function, &long, now), Verdict::Drop);
        let other = FunctionName::new("quiet").unwrap();
        assert_eq!(budgets.spend(&app, &other, &long, now), Verdict::Keep(Lines::default()));
        assert_eq!(budgets.take_dropped(&app, &function), Lines { lines: 1, bytes: 600 });
    }

    #[test]
    fn functions_that_are_quiet_again_are_forgotten() {
        let (app, budgets, now) = (names().0, budgets(1, 1_000), Instant::now());
        for n in 0..3 * REMEMBERED as u64 {
            let function = FunctionName::new(&format!("f{n}")).unwrap();
            budgets.spend(&app, &function, "line", now + Duration::from_secs(n * 2));
        }
        assert!(budgets.functions.lock().len() <= REMEMBERED);
    }
}

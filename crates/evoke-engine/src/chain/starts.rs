//! How many invocations each start has caused: what came from outside once, and all that goes back to it.
//!
//! A start is known by its trace id. A correlation id would not do: a sender may use one for days of work.

use std::collections::HashMap;

use parking_lot::Mutex;

/// The counts of the latest starts. Kept in memory only: after a restart a loop is counted anew, and its depth is not.
pub(crate) struct Starts {
    counts: Mutex<Generations>,
    max: usize,
}

/// Two halves: what was counted since the last turn, and before. Whatever is not counted for a whole turn is forgotten, so
/// that what goes on, however slowly among others, keeps its count.
#[derive(Default)]
struct Generations {
    new: HashMap<String, u64>,
    old: HashMap<String, u64>,
}

impl Starts {
    /// For at most `max` starts at a time.
    pub fn new(max: usize) -> Self {
        Self { counts: Mutex::default(), max }
    }

    /// Counts one more, and says how many that makes.
    pub fn count(&self, trace_id: &str) -> u64 {
        let mut counts = self.counts.lock();
        if let Some(count) = counts.new.get_mut(trace_id) {
            *count += 1;
            return *count;
        }
        if counts.new.len() >= self.max.div_ceil(2) {
            counts.old = std::mem::take(&mut counts.new);
        }
        let count = counts.old.remove(trace_id).unwrap_or(0) + 1;
        counts.new.insert(trace_id.to_owned(), count);
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_keeps_its_count_and_what_ended_is_forgotten() {
        let starts = Starts::new(100);
        for n in 1..=1_000 {
            starts.count(&format!("short {n}"));
            if n % 40 == 0 {
                assert_eq!(starts.count("long"), n / 40);
            }
        }
        let counts = starts.counts.lock();
        assert!(counts.new.len() + counts.old.len() <= 100);
        drop(counts);
        assert_eq!(starts.count("short 1"), 1);
    }
}

//! What was in use lately, by text, within a bound.

use std::collections::HashMap;

/// At most so many values. Two halves: what was used since the last turn, and before. Whatever is not used for a whole turn is
/// forgotten, so that what goes on, however slowly among others, is kept.
pub(crate) struct Recent<V> {
    new: HashMap<String, V>,
    old: HashMap<String, V>,
    max: usize,
}

impl<V> Recent<V> {
    /// For at most `max` values.
    pub fn new(max: usize) -> Self {
        Self { new: HashMap::new(), old: HashMap::new(), max }
    }

    /// The value of `key`, put there if there is none.
    pub fn entry(&mut self, key: &str, value: impl FnOnce() -> V) -> &mut V {
        if !self.new.contains_key(key) {
            if self.new.len() >= self.max.div_ceil(2) {
                self.old = std::mem::take(&mut self.new);
            }
            let value = self.old.remove(key).unwrap_or_else(value);
            self.new.insert(key.to_owned(), value);
        }
        self.new.get_mut(key).expect("it was put there")
    }

    /// The value of `key`, without using it.
    pub fn peek(&self, key: &str) -> Option<&V> {
        self.new.get(key).or_else(|| self.old.get(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_is_kept_and_the_rest_is_forgotten() {
        let mut recent = Recent::new(100);
        for n in 1..=1_000_u64 {
            recent.entry(&format!("short {n}"), || n);
            if n % 40 == 0 {
                *recent.entry("long", || 0) += 1;
                assert_eq!(recent.peek("long"), Some(&(n / 40)));
            }
        }
        assert!(recent.new.len() + recent.old.len() <= 100);
        assert_eq!((recent.peek("short 1"), recent.peek("short 1000")), (None, Some(&1000)));
    }
}

//! What one execution used, as the host measured it: never as the function said (`docs/decisions/0038`).
//!
//! How long it ran is [`AttemptRecord::ran_us`](crate::record::AttemptRecord::ran_us).

use serde::{Deserialize, Serialize};

/// Processor time and memory of one execution. What could not be measured is `None`, and not zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Microseconds of processor time, of all its threads and processes together: it may be more than the time it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_us: Option<u64>,
    /// Memory of its instance at its largest during the call, in bytes, counted as the function's limit counts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory_bytes: Option<u64>,
    /// Microseconds of processor time that its instance used before the call without one: since the call before, or to be loaded.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub idle_cpu_us: u64,
    /// Other executions used the same instance meanwhile: the processor time is a share of what all of them used, and the memory
    /// is that of all.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
}

impl Usage {
    /// Whether nothing was measured.
    pub fn is_unknown(&self) -> bool {
        *self == Self::default()
    }

    /// What one of `count` deliveries has of a call that they were made in together.
    #[must_use]
    pub fn one_of(self, count: usize) -> Self {
        let count = count.max(1) as u64;
        Self {
            cpu_us: self.cpu_us.map(|us| us / count),
            idle_cpu_us: self.idle_cpu_us / count,
            shared: self.shared || count > 1,
            ..self
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
const fn is_zero(us: &u64) -> bool {
    *us == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliveries_in_one_call_share_its_processor_time_and_not_its_memory() {
        let whole =
            Usage { cpu_us: Some(900), peak_memory_bytes: Some(1 << 20), idle_cpu_us: 30, shared: false };
        let part = whole.one_of(3);
        assert_eq!((part.cpu_us, part.idle_cpu_us, part.shared), (Some(300), 10, true));
        assert_eq!(part.peak_memory_bytes, whole.peak_memory_bytes);
        assert_eq!(whole.one_of(1), whole);
        assert_eq!(Usage::default().one_of(2).cpu_us, None);
    }

    #[test]
    fn what_was_not_measured_is_told_apart_from_nothing() {
        let none = Usage { cpu_us: Some(0), ..Usage::default() };
        assert_eq!(serde_json::to_string(&none).expect("it is JSON"), r#"{"cpu_us":0}"#);
        assert!(!none.is_unknown());
        assert_eq!(serde_json::from_str::<Usage>("{}").expect("all may be absent"), Usage::default());
    }
}

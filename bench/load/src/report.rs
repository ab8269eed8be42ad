//! What was measured.

use std::time::Duration;

use serde::Serialize;

/// One measurement, as printed.
#[derive(Debug, PartialEq, Serialize)]
pub struct Report {
    /// Clients at once.
    pub clients: u32,
    /// Answers that counted.
    pub requests: usize,
    /// Answers per second, rounded.
    pub per_second: u64,
    /// Half of the answers came within this, microseconds.
    pub p50_us: u32,
    /// 99 of 100 came within this.
    pub p99_us: u32,
    /// The slowest.
    pub max_us: u32,
}

impl Report {
    /// From all latencies, in any order.
    pub fn new(clients: u32, over: Duration, mut latencies_us: Vec<u32>) -> Self {
        latencies_us.sort_unstable();
        let requests = latencies_us.len();
        Self {
            clients,
            requests,
            per_second: (requests as f64 / over.as_secs_f64()).round() as u64,
            p50_us: percentile(&latencies_us, 50),
            p99_us: percentile(&latencies_us, 99),
            max_us: percentile(&latencies_us, 100),
        }
    }
}

/// The nearest-rank percentile of what is sorted; 0 of nothing.
pub fn percentile(sorted: &[u32], percent: usize) -> u32 {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let report = Report::new(1, Duration::from_secs(2), (1..=200).rev().collect());
        assert_eq!((report.requests, report.per_second), (200, 100));
        assert_eq!((report.p50_us, report.p99_us, report.max_us), (100, 198, 200));
    }

    #[test]
    fn nothing_measured_is_all_zero() {
        let report = Report::new(1, Duration::from_secs(1), Vec::new());
        assert_eq!((report.requests, report.p50_us, report.max_us), (0, 0, 0));
    }
}

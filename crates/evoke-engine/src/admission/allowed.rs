//! How often a function may be started: the manifest's `rate`.

use std::sync::Arc;
use std::time::Duration;

use evoke_core::manifest::Rate;
use evoke_core::rate::Bucket;
use parking_lot::Mutex;
use tokio::time::Instant;

/// The starts a function still has.
pub(crate) struct Allowed {
    pub rate: Rate,
    bucket: Mutex<Bucket>,
}

impl Allowed {
    /// For a function with this rate; what is left of `former` stays if it had the same.
    pub fn of(rate: Option<Rate>, former: Option<Arc<Self>>) -> Option<Arc<Self>> {
        let rate = rate?;
        let same = former.filter(|former| former.rate == rate);
        Some(same.unwrap_or_else(|| {
            let bucket = Bucket::every(rate.count.into(), rate.per, rate.burst.into());
            Arc::new(Self { rate, bucket: Mutex::new(bucket) })
        }))
    }

    /// Takes one start. The error is how long until there is another.
    pub fn take(&self) -> Result<(), Duration> {
        let now = Instant::now();
        let mut bucket = self.bucket.lock();
        if bucket.take(1, now) { Ok(()) } else { Err(bucket.wait_for(1, now)) }
    }

    /// Takes as many starts as there are, up to `max`.
    pub fn take_up_to(&self, max: usize) -> usize {
        let now = Instant::now();
        let mut bucket = self.bucket.lock();
        (0..max).take_while(|_| bucket.take(1, now)).count()
    }

    /// Waits until there is a start, which somebody else may take first.
    pub async fn refilled(&self) {
        let wait = self.bucket.lock().wait_for(1, Instant::now());
        tokio::time::sleep(wait).await;
    }

    /// Gives starts back that were not made.
    pub fn give_back(&self, count: usize) {
        self.bucket.lock().give_back(count as u64);
    }
}

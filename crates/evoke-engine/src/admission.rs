//! Who may enter now, who waits, who is refused.
//!
//! A function has as many permits as its `concurrency`; calls and queued work take them in the order they ask. When the
//! function gets another revision, who still waits is sent to the door of that one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tokio::time::Instant;

/// The right to run one attempt of a function. Dropping it lets the next one in.
pub(crate) type Permit = OwnedSemaphorePermit;

/// What a queued attempt needs: the permit of its function, and that of its subscription where that has a limit of its own.
#[expect(dead_code, reason = "held for what their end does")]
pub(crate) struct Admitted(pub Permit, pub Option<Permit>);

/// A function's door.
pub(crate) struct Door {
    permits: Arc<Semaphore>,
    count: usize,
    waiting: AtomicUsize,
    waiting_max: usize,
}

/// Why a call was not let in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Too many wait already, or it waited too long.
    Full {
        /// How many waited beside it.
        waiting: usize,
    },
    /// The door belongs to a revision that is no longer the current one: look for the door of the next.
    Closed,
}

impl Door {
    pub fn new(concurrency: u32, waiting_max: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(concurrency as usize)),
            count: concurrency as usize,
            waiting: AtomicUsize::new(0),
            waiting_max,
        }
    }

    /// Waits for a permit until `deadline`; refuses at once when too many wait already.
    pub async fn enter(&self, deadline: Instant) -> Result<Permit, Refused> {
        match self.permits.clone().try_acquire_owned() {
            Ok(permit) => return Ok(permit),
            Err(TryAcquireError::Closed) => return Err(Refused::Closed),
            Err(TryAcquireError::NoPermits) => {}
        }
        let _place = Place::take(&self.waiting, self.waiting_max)?;
        match tokio::time::timeout_at(deadline, self.permits.clone().acquire_owned()).await {
            Ok(permit) => permit.map_err(|_| Refused::Closed),
            Err(_) => Err(Refused::Full { waiting: self.waiting.load(Ordering::Relaxed).saturating_sub(1) }),
        }
    }

    /// For queued work: waits for one permit, however long, then takes up to `max` in all of those that are free. `None`
    /// when the door was closed.
    pub async fn enter_many(&self, max: usize) -> Option<Vec<Permit>> {
        let mut permits = vec![self.permits.clone().acquire_owned().await.ok()?];
        while permits.len() < max
            && let Ok(permit) = self.permits.clone().try_acquire_owned()
        {
            permits.push(permit);
        }
        Some(permits)
    }

    /// Permits that are out.
    pub fn inside(&self) -> usize {
        self.count.saturating_sub(self.permits.available_permits())
    }

    /// Sends away everyone who waits and whoever comes. Permits that were given stay good.
    pub fn close(&self) {
        self.permits.close();
    }

    /// A guess at when a place will be free: a tenth of a second for each call that waits, within a second and a minute.
    pub fn retry_after(&self) -> Duration {
        let waiting = self.waiting.load(Ordering::Relaxed) as u64;
        Duration::from_millis(waiting * 100).clamp(Duration::from_secs(1), Duration::from_secs(60))
    }
}

/// A place among those who wait.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize, max: usize) -> Result<Self, Refused> {
        let others = waiting.fetch_add(1, Ordering::Relaxed);
        let place = Self(waiting);
        if others >= max { Err(Refused::Full { waiting: others }) } else { Ok(place) }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_more_than_may_wait_is_refused_at_once_and_the_waiting_one_at_its_deadline() {
        let door = Arc::new(Door::new(1, 1));
        let deadline = Instant::now() + Duration::from_secs(5);
        let inside = door.enter(deadline).await.unwrap();
        let waits = tokio::task::JoinSet::from_iter([{
            let door = door.clone();
            async move { door.enter(deadline).await.map(drop) }
        }]);
        tokio::task::yield_now().await;
        assert_eq!(door.enter(deadline).await.err(), Some(Refused::Full { waiting: 1 }));
        assert_eq!(waits.join_all().await, [Err(Refused::Full { waiting: 0 })]);
        drop(inside);
        assert!(door.enter(deadline).await.is_ok());
    }
}

//! The places for instances on this node: all pools together never have more instances than there are places.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The place of one instance. Dropping it lets the next one start.
pub(crate) type Place = OwnedSemaphorePermit;

/// All places, and how many wait for one.
pub(crate) struct Places {
    free: Arc<Semaphore>,
    wanted: AtomicUsize,
}

impl Places {
    pub fn new(count: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(count)), wanted: AtomicUsize::new(0) }
    }

    /// A place for one more instance, in the order of asking. `make_room` ends an idle instance, and says whether there was
    /// one; where there is none, the next instance that becomes idle gives its place up ([`Places::are_wanted`]).
    pub async fn take(&self, make_room: impl Fn() -> bool) -> Place {
        if let Ok(place) = self.free.clone().try_acquire_owned() {
            return place;
        }
        let _wanted = Wanted::one(&self.wanted);
        loop {
            if !make_room() {
                let place = self.free.clone().acquire_owned().await;
                return place.expect("the semaphore of places is never closed");
            }
            if let Ok(place) = self.free.clone().try_acquire_owned() {
                return place;
            }
        }
    }

    /// Whether somebody waits for a place, who has a better use for it than an idle instance.
    pub fn are_wanted(&self) -> bool {
        self.wanted.load(Ordering::SeqCst) > 0
    }
}

struct Wanted<'a>(&'a AtomicUsize);

impl<'a> Wanted<'a> {
    fn one(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

//! Whether an answer's body has been read to its end: a kept instance has its next call only then.
//!
//! Whoever reads it goes on beside the guest, in the same turn, and mostly is at the end when the guest is. So the guest's side
//! waits without a clock, and one is set by the call's task, when that has nothing to do: to set one wakes the thread that keeps it.

use std::convert::Infallible;
use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

/// How long the end of a body may take once nothing of the guest goes on. One that it forgot to close comes with its end.
const BODY_END: Duration = Duration::from_millis(200);

/// What the two sides of a call tell one another of its answer's body.
#[derive(Default)]
pub(crate) struct Taken {
    /// It has been read to its end, or never will be, or it took too long.
    over: Notify,
    took_too_long: AtomicBool,
    /// Nothing of the guest goes on: only the end is waited for.
    awaited: Notify,
}

/// Says when it is dropped that nobody reads any more.
pub(crate) struct Reading<'a>(&'a Taken);

impl Taken {
    /// Held by whoever reads the body, until it has.
    pub fn reading(&self) -> Reading<'_> {
        Reading(self)
    }

    /// Waits for the end, once nothing else goes on. False when it does not come soon enough, as [`Taken::hurry`] finds out.
    pub async fn wait(&self) -> bool {
        self.awaited.notify_one();
        self.over.notified().await;
        !self.took_too_long.load(Ordering::Relaxed)
    }

    /// Keeps the clock for [`Taken::wait`]. Never ready; to be polled only when the call has nothing to do.
    pub async fn hurry(&self) -> Infallible {
        self.awaited.notified().await;
        tokio::time::sleep(BODY_END).await;
        self.took_too_long.store(true, Ordering::Relaxed);
        self.over.notify_one();
        pending().await
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.0.over.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn the_end_is_waited_for_without_a_clock_while_the_call_goes_on() {
        // There is no runtime here: a clock cannot be set.
        let taken = Taken::default();
        let reading = taken.reading();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(taken.hurry().now_or_never().is_none());
        let mut wait = pin!(taken.wait());
        assert!(wait.as_mut().poll(&mut cx).is_pending());
        drop(reading);
        assert_eq!(wait.as_mut().poll(&mut cx), Poll::Ready(true));
    }

    #[test]
    fn an_end_that_never_comes_is_not_waited_for_long() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let taken = Taken::default();
        let _reading = taken.reading();
        let came = runtime.block_on(async {
            tokio::select! {
                biased;
                came = taken.wait() => came,
                never = taken.hurry() => match never {},
            }
        });
        assert!(!came);
    }
}

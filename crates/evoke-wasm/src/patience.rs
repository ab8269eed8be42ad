//! How long a kept instance waits for its answer's body to be read to its end: it has its next call only then.
//!
//! Whoever reads it goes on beside the guest, in the same turn, and mostly is at the end when the guest is. So a clock is set
//! only when the call has nothing to do: to set one wakes the thread that keeps it.

use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

/// How long the end of a body may take once nothing of the guest goes on. One that it forgot to close comes with its end.
const BODY_END: Duration = Duration::from_millis(200);

/// What two parts of a call tell one another, which are polled in turns by the same task.
#[derive(Default)]
pub(crate) struct Patience {
    is_needed: AtomicBool,
    is_over: AtomicBool,
}

impl Patience {
    /// Nothing of the guest goes on, only the end of its body is waited for. False when it does not come soon enough, as
    /// [`Patience::hurry`] finds out.
    pub fn lasts(&self) -> bool {
        self.is_needed.store(true, Ordering::Relaxed);
        !self.is_over.load(Ordering::Relaxed)
    }

    /// Keeps the clock. Never ready; to be polled only when the call has nothing to do.
    pub async fn hurry(&self) -> Infallible {
        poll_fn(|_| if self.is_needed.load(Ordering::Relaxed) { Poll::Ready(()) } else { Poll::Pending })
            .await;
        tokio::time::sleep(BODY_END).await;
        self.is_over.store(true, Ordering::Relaxed);
        // The other part has been polled before this one.
        tokio::task::yield_now().await;
        pending().await
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn the_end_is_waited_for_without_a_clock_while_the_call_goes_on() {
        // There is no runtime here: a clock cannot be set.
        let patience = Patience::default();
        assert!(patience.hurry().now_or_never().is_none());
        assert!(patience.lasts());
    }

    #[test]
    fn an_end_that_never_comes_is_not_waited_for_long() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let patience = Patience::default();
        let over = || if patience.lasts() { Poll::Pending } else { Poll::Ready(()) };
        let waited = async {
            tokio::select! {
                biased;
                () = poll_fn(|_| over()) => {}
                never = patience.hurry() => match never {},
            }
        };
        let waited = runtime.block_on(async { tokio::time::timeout(100 * BODY_END, waited).await });
        assert!(waited.is_ok(), "it waits for ever");
    }
}

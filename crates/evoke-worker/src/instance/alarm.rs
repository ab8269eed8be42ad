//! The clock that ends calls which take too long.
//!
//! To set a timer for each call and to take it away again costs more than to hand over its answer, and wakes the thread that keeps the
//! clock. So it stays set: of one that goes off before the deadline of the call then under way nothing comes but that it is set anew.

use std::pin::Pin;

use tokio::time::{Instant, Sleep, sleep_until};

/// One instance's.
#[derive(Debug, Default)]
pub(crate) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Waits until `deadline`. Safe to drop and call again, also with another deadline.
    pub(crate) async fn reached(&mut self, deadline: Instant) {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        loop {
            if sleep.is_elapsed() || sleep.deadline() > deadline {
                sleep.as_mut().reset(deadline);
            }
            sleep.as_mut().await;
            if sleep.deadline() >= deadline {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_deadline_is_reached_in_its_time_whatever_came_before_it() {
        let mut alarm = Alarm::default();
        for ms in [500, 2_000, 2_000, 10, 0, 700] {
            let begun = Instant::now();
            let deadline = begun + Duration::from_millis(ms);
            // A call that is over long before its deadline.
            assert!(alarm.reached(begun + Duration::from_secs(1)).now_or_never().is_none());
            tokio::time::sleep(Duration::from_millis(ms / 4)).await;
            alarm.reached(deadline).await;
            assert_eq!(begun.elapsed().as_millis(), u128::from(ms), "{ms} ms");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_ends_in_time_leaves_the_clock_as_it_is() {
        let mut alarm = Alarm::default();
        let first = Instant::now() + Duration::from_secs(10);
        for call in 0..100 {
            let deadline = first + Duration::from_millis(call);
            assert!(alarm.reached(deadline).now_or_never().is_none());
            assert_eq!(alarm.0.as_ref().unwrap().deadline(), first);
        }
    }
}

//! A future whose parts wake one another, taken as far as it goes in one turn.
//!
//! A guest of WASI 0.3 answers in steps: each wakes the next, and so the task that it is itself a part of. To the runtime that is a
//! task that gives way: it goes to the end of the line, and another thread is woken to take it over. A kept instance's hello had two
//! such turns, and was written in two pieces.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::time::Instant;

/// How long steps are taken in one turn. A guest that computes gives way after 10 ms, and is not asked to go on here.
const TURN: Duration = Duration::from_millis(1);

/// Goes on at once when it was woken while it went on.
pub(crate) struct Eager<F> {
    inner: F,
    nudge: Arc<Nudge>,
    /// What its parts wake.
    waker: Waker,
}

#[derive(Default)]
struct Nudge {
    was_woken: AtomicBool,
    /// Between two turns.
    task: AtomicWaker,
}

impl Wake for Nudge {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.was_woken.store(true, Ordering::SeqCst);
        self.task.wake();
    }
}

impl<F> Eager<F> {
    pub fn new(inner: F) -> Self {
        let nudge = Arc::new(Nudge::default());
        let waker = Waker::from(Arc::clone(&nudge));
        Self { inner, nudge, waker }
    }
}

impl<F: Future + Unpin> Future for Eager<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Self { inner, nudge, waker } = self.get_mut();
        let begun = Instant::now();
        loop {
            // Whoever wakes it from here on need not tell the task: it is looked at below.
            nudge.task.take();
            nudge.was_woken.store(false, Ordering::SeqCst);
            if let Poll::Ready(done) = Pin::new(&mut *inner).poll(&mut Context::from_waker(waker)) {
                return Poll::Ready(done);
            }
            if !nudge.was_woken.load(Ordering::SeqCst) {
                nudge.task.register(cx.waker());
                // Whoever came just before that found nobody to tell.
                if !nudge.was_woken.load(Ordering::SeqCst) {
                    return Poll::Pending;
                }
            }
            if begun.elapsed() >= TURN {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn task() -> (Arc<Count>, Waker) {
        let woken = Arc::new(Count::default());
        (Arc::clone(&woken), Waker::from(woken))
    }

    #[test]
    fn what_wakes_itself_goes_on_in_the_same_turn_and_wakes_nobody() {
        let mut steps = 0;
        let stepping = poll_fn(|cx| {
            steps += 1;
            cx.waker().wake_by_ref();
            if steps < 5 { Poll::Pending } else { Poll::Ready(()) }
        });
        let (woken, waker) = task();
        assert!(pin!(Eager::new(stepping)).poll(&mut Context::from_waker(&waker)).is_ready());
        assert_eq!(woken.0.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn what_is_woken_between_two_turns_tells_its_task() {
        let (woken, waker) = task();
        let mut kept = None;
        {
            let waiting = poll_fn(|cx| {
                kept = Some(cx.waker().clone());
                Poll::<()>::Pending
            });
            assert!(pin!(Eager::new(waiting)).poll(&mut Context::from_waker(&waker)).is_pending());
        }
        assert_eq!(woken.0.load(Ordering::SeqCst), 0);
        kept.unwrap().wake();
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn what_never_comes_to_its_end_gives_way() {
        let endless = poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        });
        let (woken, waker) = task();
        assert!(pin!(Eager::new(endless)).poll(&mut Context::from_waker(&waker)).is_pending());
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
    }
}

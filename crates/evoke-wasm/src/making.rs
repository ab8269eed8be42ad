//! On which thread a call is made: on its connection's as long as it is short, and where all see that it is not, on another.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

/// A call under way: on the connection's thread as long as it takes little of its time, then on another.
pub(crate) struct Making {
    call: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// What it may still take of the connection's thread.
    left: Duration,
    habit: Arc<Habit>,
}

impl Making {
    /// Time that a call may take of the connection's thread, in all its turns. Less than a tick, after which a guest that computes
    /// gives way, and some turns of one that wakes itself ([`Eager`](crate::eager::Eager)).
    const TIME: Duration = Duration::from_millis(5);

    /// A call that has not begun, and what is known of those before it.
    pub fn new(call: impl Future<Output = ()> + Send + 'static, habit: Arc<Habit>) -> Self {
        Self { call: Box::pin(call), left: Self::TIME, habit }
    }

    /// The call, for who makes it elsewhere.
    pub fn into_call(self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.call
    }

    /// Goes on until it is over, or has taken too much: then it is not to go on here.
    pub fn poll_here(&mut self, cx: &mut Context<'_>) -> Poll<Stop> {
        let begun = Instant::now();
        if self.call.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Stop::Over);
        }
        let took = begun.elapsed();
        self.left = self.left.saturating_sub(took);
        if !self.left.is_zero() {
            return Poll::Pending;
        }
        // Those that come after it begin elsewhere: how it ends is not known for a while.
        self.habit.note(u64::try_from(Self::TIME.max(took).as_micros()).unwrap_or(u64::MAX));
        Poll::Ready(Stop::Computes)
    }

    /// Goes on here, and on another thread once it computes.
    pub async fn go_on(mut self, tasks: TaskTracker, others: Handle) {
        if let Stop::Computes = poll_fn(|cx| self.poll_here(cx)).await {
            // It ends with this one.
            let _ = AbortOnDropHandle::new(tasks.spawn_on(self.call, &others)).await;
        }
    }
}

/// Why a call does not go on where it was.
pub(crate) enum Stop {
    Over,
    Computes,
}

/// Processor time that calls of the function take at the moment.
#[derive(Debug, Default)]
pub(crate) struct Habit(AtomicU32);

impl Habit {
    /// Of an average, in microseconds: above it a call is worth another thread's attention.
    const SHORT_US: u32 = 200;

    /// A call has taken this long. The average follows the last dozen.
    pub fn note(&self, cpu_us: u64) {
        let cpu_us = u32::try_from(cpu_us).unwrap_or(u32::MAX).min(1 << 20);
        let average = self.0.load(Ordering::Relaxed);
        self.0.store(average - average / 8 + cpu_us / 8, Ordering::Relaxed);
    }

    /// Whether calls are mostly over sooner than another thread has been woken.
    pub fn is_short(&self) -> bool {
        self.0.load(Ordering::Relaxed) < Self::SHORT_US
    }
}

#[cfg(test)]
mod tests {
    use std::thread::{ThreadId, current};

    use tokio::runtime::Builder;

    use super::*;

    /// On which thread a call ends that may take so much of its first one's time, and whether calls are still taken for short then.
    fn ends(left: Duration, call: impl Future<Output = ()> + Send + 'static) -> (ThreadId, bool) {
        let mut others = Builder::new_multi_thread();
        let others = others.worker_threads(1).build().unwrap();
        let (told, ended) = std::sync::mpsc::channel();
        let call = Box::pin(async move {
            call.await;
            told.send(current().id()).unwrap();
        });
        let making = Making { call, left, habit: Arc::default() };
        let habit = Arc::clone(&making.habit);
        let here = Builder::new_current_thread().build().unwrap();
        here.block_on(making.go_on(TaskTracker::new(), others.handle().clone()));
        (ended.recv().unwrap(), habit.is_short())
    }

    #[test]
    fn a_call_that_computes_leaves_the_thread_of_its_connection_and_so_do_those_behind_it() {
        let first = current().id();
        // In turns that are short each, as of a guest that wakes itself.
        let (last, is_short) = ends(Duration::from_millis(10), async {
            for _ in 0..20 {
                let begun = Instant::now();
                while begun.elapsed() < Duration::from_millis(1) {}
                tokio::task::yield_now().await;
            }
        });
        assert!(last != first && !is_short);
    }

    #[test]
    fn a_call_that_takes_little_stays_there() {
        let ended = ends(Duration::from_secs(3600), tokio::task::yield_now());
        assert_eq!(ended, (current().id(), true));
    }

    #[test]
    fn calls_are_made_where_they_arrive_only_as_long_as_they_are_short() {
        let habit = Habit::default();
        assert!(habit.is_short(), "of the first nothing is known");
        (0..20).for_each(|_| habit.note(50));
        assert!(habit.is_short());
        (0..20).for_each(|_| habit.note(5_000_000));
        assert!(!habit.is_short());
        (0..100).for_each(|_| habit.note(0));
        assert!(habit.is_short(), "it is the calls of late that count");
    }
}

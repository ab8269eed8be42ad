//! What a call uses: processor time, and memory, which it may not use without end.

use std::cell::Cell;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use rustix::time::{ClockId, clock_gettime};
use wasmtime::ResourceLimiter;

/// Core instances, memories and tables of one store. A component with an embedded language runtime has a handful.
const INSTANCES_MAX: usize = 64;

/// The memory of one instance, all its linear memories together.
#[derive(Debug)]
pub(crate) struct Memory {
    limit: usize,
    used: usize,
    peak: Peak,
    was_refused: bool,
}

/// Bytes of memory at its largest during one call, for whoever wants to know after the instance is gone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Peak(Arc<AtomicUsize>);

impl Peak {
    /// In bytes.
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed) as u64
    }

    fn reached(&self, bytes: usize) {
        self.0.fetch_max(bytes, Ordering::Relaxed);
    }
}

impl Memory {
    /// At most `limit` bytes.
    pub fn new(limit: usize, peak: Peak) -> Self {
        Self { limit, used: 0, peak, was_refused: false }
    }

    /// Another call begins in the same instance.
    pub fn begin(&mut self, peak: Peak) {
        peak.reached(self.used);
        self.peak = peak;
        self.was_refused = false;
    }

    /// Whether the guest wanted more than it may have.
    pub fn was_refused(&self) -> bool {
        self.was_refused
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let used = self.used + (desired - current);
        if used > self.limit {
            self.was_refused = true;
            return Ok(false);
        }
        if maximum.is_none_or(|maximum| desired <= maximum) {
            self.used = used;
            self.peak.reached(used);
        }
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        // The pool bounds each table.
        Ok(true)
    }

    fn instances(&self) -> usize {
        INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        INSTANCES_MAX
    }

    fn memories(&self) -> usize {
        INSTANCES_MAX
    }
}

/// Runs a future and adds up the processor time that its polls take.
pub(crate) struct Metered<'a, F> {
    pub inner: Pin<&'a mut F>,
    pub cpu_ns: &'a mut u64,
}

impl<F: Future> Future for Metered<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let before = match SINCE.get() {
            Since::Call { left_ns } => left_ns,
            Since::Unknown | Since::Batch => thread_cpu_ns(),
        };
        // Should it panic, its time is not the next one's.
        interrupt();
        let polled = self.inner.as_mut().poll(cx);
        let left_ns = thread_cpu_ns();
        if !matches!(SINCE.get(), Since::Unknown) {
            SINCE.set(Since::Call { left_ns });
        }
        *self.cpu_ns += left_ns.saturating_sub(before);
        polled
    }
}

thread_local! {
    static SINCE: Cell<Since> = const { Cell::new(Since::Unknown) };
}

/// What nothing of note has run after, on this thread.
#[derive(Clone, Copy)]
enum Since {
    /// Nobody says.
    Unknown,
    /// The begin of a batch, or what interrupted it.
    Batch,
    /// A call of a batch, left at this processor time of the thread.
    Call { left_ns: u64 },
}

/// Calls of one connection that are made one after the other on this thread. To ask for its processor time is a system call, so the
/// next one begins where one is left: what lies between, mostly the reading of its frame, is its own.
pub(crate) struct Batch(PhantomData<*const ()>);

impl Batch {
    /// Begins, until it is dropped. Nothing is awaited meanwhile.
    pub fn begin() -> Self {
        SINCE.set(Since::Batch);
        Self(PhantomData)
    }

    /// Something was done that is no call's.
    pub fn interrupt(&self) {
        interrupt();
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        SINCE.set(Since::Unknown);
    }
}

fn interrupt() {
    if !matches!(SINCE.get(), Since::Unknown) {
        SINCE.set(Since::Batch);
    }
}

fn thread_cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;

    use futures_util::FutureExt as _;

    use super::*;

    const WORK_NS: u64 = 50_000_000;

    fn work() {
        let begun = thread_cpu_ns();
        while thread_cpu_ns() - begun < WORK_NS {}
    }

    /// What a call that works this often is said to have taken, in units of that work.
    fn call(times: u32) -> u64 {
        let mut cpu_ns = 0;
        let inner = pin!(poll_fn(|_| {
            (0..times).for_each(|_| work());
            Poll::Ready(())
        }));
        Metered { inner, cpu_ns: &mut cpu_ns }.now_or_never().unwrap();
        cpu_ns / WORK_NS
    }

    #[test]
    fn what_lies_between_two_calls_of_a_batch_is_the_later_ones() {
        let batch = Batch::begin();
        work();
        assert_eq!(call(1), 1);
        work();
        assert_eq!([call(1), call(0), call(2)], [2, 0, 2]);
        drop(batch);
    }

    #[test]
    fn what_a_call_takes_that_panics_is_not_the_next_ones() {
        let batch = Batch::begin();
        assert_eq!(call(1), 1);
        let panics = || {
            let mut cpu_ns = 0;
            let inner = pin!(poll_fn(|_| -> Poll<()> {
                work();
                panic!("a mistake")
            }));
            let _ = Metered { inner, cpu_ns: &mut cpu_ns }.now_or_never();
        };
        assert!(std::panic::catch_unwind(panics).is_err());
        assert_eq!(call(1), 1);
        drop(batch);
    }

    #[test]
    fn what_interrupts_a_batch_or_follows_it_is_nobodys() {
        let batch = Batch::begin();
        assert_eq!(call(1), 1);
        work();
        batch.interrupt();
        assert_eq!(call(1), 1);
        drop(batch);
        work();
        assert_eq!(call(1), 1);
        work();
        assert_eq!(call(1), 1);
    }
}

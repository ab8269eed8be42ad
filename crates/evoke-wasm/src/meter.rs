//! What a call uses: processor time, and memory, which it may not use without end.

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
        let before = thread_cpu_ns();
        let polled = self.inner.as_mut().poll(cx);
        *self.cpu_ns += thread_cpu_ns().saturating_sub(before);
        polled
    }
}

fn thread_cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

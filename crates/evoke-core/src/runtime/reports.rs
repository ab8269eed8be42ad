//! The way of reports from an instance to the attempt that called it.
//!
//! Both ends are mostly in one task: the attempt polls the call, and the call reports while it is polled. A channel that wakes its
//! receiver would have that task run once more for nothing, so here only who waits in [`Reports::recv`] is woken; who
//! polls the call looks with [`Reports::try_recv`] whenever it has.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use super::Report;

/// A channel with room for so many reports, at least one.
pub fn reports(room: usize) -> (ReportSender, Reports) {
    let state = State { waiting: VecDeque::new(), room: room.max(1), senders: 1, ..State::default() };
    let shared = Arc::new(Mutex::new(state));
    (ReportSender(Arc::clone(&shared)), Reports(shared))
}

/// The instance's end.
#[derive(Debug)]
pub struct ReportSender(Arc<Mutex<State>>);

/// The attempt's end. Once it is dropped, reports are refused.
#[derive(Debug)]
pub struct Reports(Arc<Mutex<State>>);

/// Nobody listens any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nobody listens to what is reported")]
pub struct Gone;

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Report>,
    room: usize,
    senders: usize,
    is_gone: bool,
    /// Who waits for a report, and who for room.
    reader: Option<Waker>,
    writers: Vec<Waker>,
}

impl State {
    fn is_full(&self) -> bool {
        self.waiting.len() >= self.room
    }

    fn put(&mut self, report: Report) {
        self.waiting.push_back(report);
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    fn next(&mut self) -> Option<Report> {
        let report = self.waiting.pop_front();
        self.writers.drain(..).for_each(Waker::wake);
        report
    }

    fn wait_for_room(&mut self, cx: &Context<'_>) {
        if !self.writers.iter().any(|writer| writer.will_wake(cx.waker())) {
            self.writers.push(cx.waker().clone());
        }
    }
}

impl ReportSender {
    /// Hands a report over, or hands it back where there is no room. One that nobody listens to is dropped.
    pub fn try_send(&self, report: Report) -> Option<Report> {
        let mut state = self.0.lock();
        if !state.is_gone {
            if state.is_full() {
                return Some(report);
            }
            state.put(report);
        }
        None
    }

    /// Hands a report over as soon as there is room.
    pub async fn send(&self, report: Report) -> Result<(), Gone> {
        let mut report = Some(report);
        poll_fn(|cx| {
            let mut state = self.0.lock();
            if state.is_gone {
                return Poll::Ready(Err(Gone));
            }
            if state.is_full() {
                state.wait_for_room(cx);
                return Poll::Pending;
            }
            if let Some(report) = report.take() {
                state.put(report);
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Waits until there is room, or nobody listens any more. Safe to drop and call again.
    pub async fn room(&self) {
        poll_fn(|cx| {
            let mut state = self.0.lock();
            if state.is_gone || !state.is_full() {
                return Poll::Ready(());
            }
            state.wait_for_room(cx);
            Poll::Pending
        })
        .await;
    }
}

impl Clone for ReportSender {
    fn clone(&self) -> Self {
        self.0.lock().senders += 1;
        Self(Arc::clone(&self.0))
    }
}

impl Drop for ReportSender {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.senders -= 1;
        if state.senders == 0
            && let Some(reader) = state.reader.take()
        {
            reader.wake();
        }
    }
}

impl Reports {
    /// The next report, if there is one.
    pub fn try_recv(&self) -> Option<Report> {
        self.0.lock().next()
    }

    /// Waits for the next report; `None` when there is none and nobody can send one any more. Safe to drop and call again.
    pub async fn recv(&mut self) -> Option<Report> {
        poll_fn(|cx| {
            let mut state = self.0.lock();
            match state.next() {
                None if state.senders > 0 => {
                    state.reader = Some(cx.waker().clone());
                    Poll::Pending
                }
                next => Poll::Ready(next),
            }
        })
        .await
    }
}

impl Drop for Reports {
    fn drop(&mut self) {
        let (left, writers) = {
            let mut state = self.0.lock();
            state.is_gone = true;
            (std::mem::take(&mut state.waiting), std::mem::take(&mut state.writers))
        };
        // Not under the lock: a report that is dropped may end other things.
        drop(left);
        writers.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;
    use crate::record::LogStream;

    fn line(text: &str) -> Report {
        Report::Log { stream: LogStream::Stdout, line: text.to_owned() }
    }

    fn text(report: Option<Report>) -> Option<String> {
        report.map(|report| match report {
            Report::Log { line, .. } => line,
            other => panic!("{other:?}"),
        })
    }

    fn poll<T>(future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn who_looks_is_not_woken_and_who_waits_is() {
        let (sender, mut reports) = reports(4);
        let woken = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&woken));
        assert!(reports.try_recv().is_none());
        assert!(sender.try_send(line("1")).is_none());
        assert_eq!(text(reports.try_recv()).as_deref(), Some("1"));
        assert_eq!(woken.0.load(Ordering::SeqCst), 0);

        let mut next = pin!(reports.recv());
        assert!(next.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        assert!(sender.try_send(line("2")).is_none());
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        assert!(matches!(poll(next).map(text), Poll::Ready(Some(next)) if next == "2"));
    }

    #[tokio::test]
    async fn who_finds_no_room_gets_it_when_a_report_is_taken() {
        let (sender, reports) = reports(1);
        sender.send(line("1")).await.unwrap();
        assert_eq!(text(sender.try_send(line("2"))).as_deref(), Some("2"));
        let (mut send, mut room) = (pin!(sender.send(line("3"))), pin!(sender.room()));
        assert!(poll(send.as_mut()).is_pending() && poll(room.as_mut()).is_pending());
        assert_eq!(text(reports.try_recv()).as_deref(), Some("1"));
        room.await;
        send.await.unwrap();
        assert_eq!(text(reports.try_recv()).as_deref(), Some("3"));
    }

    #[tokio::test]
    async fn each_end_notices_that_the_other_is_gone() {
        let (sender, mut heard) = reports(1);
        sender.send(line("1")).await.unwrap();
        let other = sender.clone();
        drop(sender);
        assert!(heard.recv().await.is_some());
        assert!(poll(pin!(heard.recv())).is_pending());
        drop(other);
        assert!(heard.recv().await.is_none());

        let (sender, unheard) = reports(1);
        sender.send(line("1")).await.unwrap();
        let mut send = pin!(sender.send(line("2")));
        assert!(poll(send.as_mut()).is_pending());
        drop(unheard);
        assert_eq!(send.await, Err(Gone));
        assert!(sender.try_send(line("3")).is_none());
        sender.room().await;
    }
}

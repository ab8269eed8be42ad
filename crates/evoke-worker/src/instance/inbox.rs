//! What has come for one call among several, until that call takes it.
//!
//! One mutex, no channels: it is used again for the lane's next call, and costs that nothing.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use evoke_core::record::LogStream;
use parking_lot::Mutex;

use crate::frame::Frame;

/// Frames, or lines, that may wait.
const WAITING_MAX: usize = 64;

/// One lane's. Whoever owns the socket fills it, the lane empties it.
#[derive(Debug, Default)]
pub(super) struct Inbox(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    frames: VecDeque<Frame>,
    lines: VecDeque<(LogStream, String)>,
    /// Nothing more will come.
    is_closed: bool,
    stage: Stage,
    /// Who waits for a frame, for a line, and for room.
    reader: Option<Waker>,
    listener: Option<Waker>,
    writer: Option<Waker>,
}

/// How far the call has come between the two sides, whatever its lane has taken of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    /// Nothing of it has been sent.
    #[default]
    Unsent,
    /// The other side owes its last frame.
    UnderWay,
    /// That has come.
    Ended,
}

impl Inbox {
    /// Throws away what is left of an earlier call.
    pub(super) fn clear(&self) {
        let mut state = self.0.lock();
        state.frames.clear();
        state.lines.clear();
        state.stage = Stage::Unsent;
        wake(&mut state.writer);
    }

    /// Notes that the other side hears of the call.
    pub(super) fn begun(&self) {
        let mut state = self.0.lock();
        if state.stage == Stage::Unsent {
            state.stage = Stage::UnderWay;
        }
    }

    /// Whether the other side has yet to say the last word of it.
    pub(super) fn is_under_way(&self) -> bool {
        self.0.lock().stage == Stage::UnderWay
    }

    /// Puts a frame in; hands it back where there is no room, and wakes whoever asks once there is.
    pub(super) fn push(&self, frame: Frame, cx: &Context<'_>) -> Result<(), Frame> {
        let mut state = self.0.lock();
        if state.frames.len() >= WAITING_MAX {
            state.writer = Some(cx.waker().clone());
            return Err(frame);
        }
        if frame.kind.ends_call() {
            state.stage = Stage::Ended;
        }
        state.frames.push_back(frame);
        wake(&mut state.reader);
        Ok(())
    }

    /// Puts a line in; hands it back where there is no room, and wakes whoever asks once there is.
    pub(super) fn push_line(&self, stream: LogStream, line: String, cx: &Context<'_>) -> Result<(), String> {
        let mut state = self.0.lock();
        if state.lines.len() >= WAITING_MAX {
            state.writer = Some(cx.waker().clone());
            return Err(line);
        }
        state.lines.push_back((stream, line));
        wake(&mut state.listener);
        Ok(())
    }

    /// Says that nothing more will come.
    pub(super) fn close(&self) {
        let mut state = self.0.lock();
        state.is_closed = true;
        wake(&mut state.reader);
    }

    /// The next frame, if there is one.
    pub(super) fn frame(&self) -> Option<Frame> {
        let mut state = self.0.lock();
        let frame = state.frames.pop_front();
        wake(&mut state.writer);
        frame
    }

    /// The next line, if there is one.
    pub(super) fn line(&self) -> Option<(LogStream, String)> {
        let mut state = self.0.lock();
        let line = state.lines.pop_front();
        wake(&mut state.writer);
        line
    }

    /// Waits for a frame: true when there is one, false when none will come.
    pub(super) fn poll_frame(&self, cx: &Context<'_>) -> Poll<bool> {
        let mut state = self.0.lock();
        if !state.frames.is_empty() {
            return Poll::Ready(true);
        }
        if state.is_closed {
            return Poll::Ready(false);
        }
        note(&mut state.reader, cx);
        Poll::Pending
    }

    /// Waits for a line.
    pub(super) fn poll_line(&self, cx: &Context<'_>) -> Poll<(LogStream, String)> {
        let mut state = self.0.lock();
        match state.lines.pop_front() {
            Some(line) => {
                wake(&mut state.writer);
                Poll::Ready(line)
            }
            None => {
                note(&mut state.listener, cx);
                Poll::Pending
            }
        }
    }

    /// Whether no line waits.
    pub(super) fn has_no_lines(&self) -> bool {
        self.0.lock().lines.is_empty()
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

fn note(kept: &mut Option<Waker>, cx: &Context<'_>) {
    if !kept.as_ref().is_some_and(|kept| kept.will_wake(cx.waker())) {
        *kept = Some(cx.waker().clone());
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;

    use futures_util::FutureExt as _;
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::frame::Kind;

    fn frame(call: u32) -> Frame {
        Frame { kind: Kind::Done, call, payload: bytes::Bytes::new() }
    }

    /// Puts a frame in as soon as there is room.
    async fn put(inbox: Arc<Inbox>, call: u32) {
        let mut next = Some(frame(call));
        poll_fn(|cx| {
            next = next.take().and_then(|frame| inbox.push(frame, cx).err());
            if next.is_none() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    #[tokio::test]
    async fn who_finds_no_room_is_told_when_there_is_some() {
        let inbox = Arc::new(Inbox::default());
        for number in 0..WAITING_MAX as u32 {
            put(Arc::clone(&inbox), number).now_or_never().unwrap();
        }
        let late = TaskTracker::new().spawn(put(Arc::clone(&inbox), 1000));
        tokio::task::yield_now().await;
        assert!(!late.is_finished());
        assert_eq!(inbox.frame(), Some(frame(0)));
        late.await.unwrap();
    }

    #[tokio::test]
    async fn frames_that_have_come_are_taken_before_the_end_is_seen() {
        let inbox = Arc::new(Inbox::default());
        let its = Arc::clone(&inbox);
        let reader = TaskTracker::new().spawn(async move { poll_fn(|cx| its.poll_frame(cx)).await });
        tokio::task::yield_now().await;
        put(Arc::clone(&inbox), 7).await;
        assert!(reader.await.unwrap());
        inbox.close();
        let next = || poll_fn(|cx| inbox.poll_frame(cx)).now_or_never();
        assert_eq!(next(), Some(true));
        assert_eq!(inbox.frame(), Some(frame(7)));
        assert_eq!(next(), Some(false));
    }

    #[test]
    fn lines_have_a_bound() {
        let (inbox, cx) = (Inbox::default(), Context::from_waker(Waker::noop()));
        let put = |_: &usize| inbox.push_line(LogStream::Stdout, "x".to_owned(), &cx).is_ok();
        assert_eq!((0..2 * WAITING_MAX).filter(put).count(), WAITING_MAX);
    }
}

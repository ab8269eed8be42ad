//! The task behind a [`Hub`](super::Hub): it writes, reads, passes on, and says how it ended.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use evoke_core::record::LogStream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::{Place, Shared};
use crate::frame::{Frame, FrameError, Kind};
use crate::instance::{Between, EXIT, Parts, stop};

/// How long a program of ours may go on with a call that was given up.
const GIVEN_UP: Duration = Duration::from_secs(2);

/// The task behind a [`Hub`].
#[derive(Debug)]
pub(super) struct Own {
    pub(super) parts: Parts,
    pub(super) between: Between,
    pub(super) shared: Arc<Shared>,
    /// Whether what runs at the other side can be ended call by call.
    pub(super) guests: bool,
    /// When a guest that was given up should have ended, if there is one.
    pub(super) overdue: Option<Pin<Box<Sleep>>>,
}

/// Why the task goes on.
pub(super) enum Turn {
    /// Something has come, or nothing will any more.
    Read,
    Line,
    /// A call was given up.
    GivenUp,
    /// One that was should have ended by now.
    Overdue,
    Unwanted,
    Died,
}

/// However the task ends, lanes see that nothing more comes.
pub(super) struct Ending(pub Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.departures.lock().is_closed = true;
        self.0.room.notify_waiters();
        for place in std::mem::take(&mut *self.0.calls.lock()).into_values() {
            if let Place::Lane(inbox) = place {
                inbox.close();
            }
        }
    }
}

/// Why it does not.
enum End {
    /// Nobody wants the process any more.
    Unwanted,
    Died,
    /// It goes on with a call that was given up.
    Overdue,
}

impl Own {
    pub(super) fn run(self) -> impl Future<Output = ()> {
        let ending = Ending(Arc::clone(&self.shared));
        async move {
            let _ending = ending;
            self.go_on().await;
        }
    }

    async fn go_on(mut self) {
        let ended = self.serve().await.unwrap_or_else(|cause| {
            tracing::warn!(function = self.between.function(), %cause, "an instance broke the worker protocol");
            self.blame(format!("the instance broke the worker protocol: {cause}"));
            End::Died
        });
        self.shared.departures.lock().is_closed = true;
        self.shared.room.notify_waiters();
        match ended {
            End::Unwanted if self.parts.process.is_whole() => return stop(self.parts).await,
            // To close it is all there is to do.
            End::Unwanted => return,
            End::Overdue => {
                self.blame(format!("a call did not end within {} s of being given up", GIVEN_UP.as_secs()));
            }
            End::Died => {}
        }
        self.parts.process.kill();
        let _ = tokio::time::timeout(EXIT, self.parts.process.exited()).await;
        self.last_words();
    }

    fn blame(&self, words: String) {
        // The first is the cause.
        let _ = self.shared.ended_by.set(words);
    }

    async fn serve(&mut self) -> Result<End, FrameError> {
        let mut death = self.parts.process.death();
        let mut died = pin!(async move { death.seen().await });
        let mut lines = Vec::new();
        loop {
            let Self { parts: Parts { link, output, .. }, shared, overdue, .. } = &mut *self;
            let turn = tokio::select! {
                biased;
                turn = poll_fn(|cx| shared.poll(link, cx)) => turn,
                _ = &mut died => Turn::Died,
                () = output.read(|stream, line| lines.push((stream, line))) => Turn::Line,
                // Behind all that is there to be read.
                () = reached(overdue) => Turn::Overdue,
            };
            match turn {
                Turn::Read => {
                    while let Some(frame) = self.parts.link.frame()? {
                        self.pass_on(frame).await?;
                    }
                    if self.parts.link.is_closed() {
                        return Ok(End::Died);
                    }
                }
                Turn::Line => {}
                Turn::Overdue
                    if self.first_given_up().is_some_and(|first| first + GIVEN_UP <= Instant::now()) =>
                {
                    return Ok(End::Overdue);
                }
                Turn::GivenUp | Turn::Overdue => self.await_given_up(),
                Turn::Unwanted => return Ok(End::Unwanted),
                Turn::Died => return Ok(End::Died),
            }
            for (stream, line) in lines.drain(..) {
                self.tell(stream, line).await;
            }
        }
    }

    /// When the first of those was given up that have not ended.
    fn first_given_up(&self) -> Option<Instant> {
        let since = |place: &Place| if let Place::GivenUp(since) = place { *since } else { None };
        self.shared.calls.lock().values().filter_map(since).min()
    }

    /// Sets the clock for guests that were given up. The time of those that were not seen before begins now: they are told now.
    fn await_given_up(&mut self) {
        if !self.guests {
            return;
        }
        for place in self.shared.calls.lock().values_mut() {
            if let Place::GivenUp(since @ None) = place {
                *since = Some(Instant::now());
            }
        }
        self.overdue = self.first_given_up().map(|first| Box::pin(sleep_until(first + GIVEN_UP)));
    }

    async fn pass_on(&mut self, frame: Frame) -> Result<(), FrameError> {
        let Frame { kind, call, .. } = frame;
        if (kind, call) == (Kind::Log, 0) {
            let (stream, line) = crate::frame::message::log(&frame.payload)?;
            self.between.line(stream, &line);
            return Ok(());
        }
        let last = kind.ends_call();
        if last {
            let mut lines = Vec::new();
            self.parts.output.drain(|stream, line| lines.push((stream, line)));
            self.parts.output.begin_call();
            for (stream, line) in lines {
                self.tell(stream, line).await;
            }
        }
        let mut next = Some(frame);
        poll_fn(|cx| {
            let mut calls = self.shared.calls.lock();
            match calls.get(&call) {
                // With the lock: the inbox may belong to another call afterwards.
                Some(Place::Lane(inbox)) => {
                    next = next.take().and_then(|frame| inbox.push(frame, cx).err());
                    if next.is_some() { Poll::Pending } else { Poll::Ready(Ok(())) }
                }
                Some(Place::GivenUp(_)) => {
                    if last {
                        calls.remove(&call);
                    }
                    Poll::Ready(Ok(()))
                }
                // What reads a guest's body for it may go on for a moment after the call.
                None if self.guests && kind == Kind::Credit => Poll::Ready(Ok(())),
                None => {
                    let message = "belongs to a call that is not running";
                    Poll::Ready(Err(FrameError::Unexpected { kind, call, message }))
                }
            }
        })
        .await
    }

    /// A line that no call can be named for. While one runs it is that one's; what the network was refused concerns all.
    async fn tell(&mut self, stream: LogStream, line: String) {
        let running = self.running();
        let to = match (&*running, stream) {
            ([only], _) => std::slice::from_ref(only),
            (all, LogStream::Platform) => all,
            _ => &[],
        };
        if to.is_empty() {
            return self.between.line(stream, &line);
        }
        for call in to {
            poll_fn(|cx| match self.put_line(*call, stream, line.clone(), cx) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            })
            .await;
        }
    }

    /// What it wrote before its end is told to all calls it took along.
    fn last_words(&mut self) {
        let mut lines = Vec::new();
        self.parts.output.drain(|stream, line| lines.push((stream, line)));
        self.parts.output.finish(|stream, line| lines.push((stream, line)));
        for (stream, line) in lines {
            for call in self.running() {
                // Whoever has no room has other lines to hand over first.
                self.put_line(call, stream, line.clone(), &Context::from_waker(Waker::noop()));
            }
        }
    }

    /// Whether there is no more to do about it.
    fn put_line(&self, call: u32, stream: LogStream, line: String, cx: &Context<'_>) -> bool {
        match self.shared.calls.lock().get(&call) {
            Some(Place::Lane(inbox)) => inbox.push_line(stream, line, cx).is_ok(),
            _ => true,
        }
    }

    /// Calls that somebody listens to.
    fn running(&self) -> Vec<u32> {
        let listened_to = |(call, place): (&u32, &Place)| matches!(place, Place::Lane(_)).then_some(*call);
        self.shared.calls.lock().iter().filter_map(listened_to).collect()
    }
}

async fn reached(overdue: &mut Option<Pin<Box<Sleep>>>) {
    match overdue {
        Some(sleep) => sleep.as_mut().await,
        None => std::future::pending().await,
    }
}

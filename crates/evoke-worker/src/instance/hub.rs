//! A process that runs several calls at once: one task owns its socket and its pipes, and passes frames on by the number of
//! their call. Each call has a lane with a [`Link`] of its own, which the exchange cannot tell from a socket.
//!
//! A lane that does not take what it is sent holds up the others: they share a process, and nothing may pile up here.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use evoke_core::origin::Present;
use evoke_core::record::LogStream;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::alarm::Alarm;
use super::link::Link;
use super::output::Output;
use super::{Between, EXIT, Parts, stop};
use crate::frame::{Encoder, Frame, FrameError, Kind, UNREAD_BYTES_MAX};
use crate::launcher::Process;

/// Frames on their way to one lane.
const FRAMES: usize = 64;
/// Portions on their way from all lanes to the process.
const PORTIONS: usize = 16;

/// What the lanes of a process have in common.
#[derive(Debug, Clone)]
pub(super) struct Hub {
    shared: Arc<Shared>,
    /// When the last clone is dropped, the process ends.
    to_process: mpsc::Sender<Vec<u8>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Calls under way. `None`: nobody listens to this one any more.
    calls: Mutex<HashMap<u32, Option<Lane>>>,
    last_call: AtomicU32,
    /// The calls that run in the network of the process.
    present: Option<Arc<Present>>,
    /// Why the process was ended, if a call of it is to blame.
    ended_by: OnceLock<String>,
}

/// Where what comes for a call goes.
#[derive(Debug, Clone)]
struct Lane {
    frames: mpsc::Sender<Frame>,
    lines: mpsc::Sender<(LogStream, String)>,
}

/// A call's entry in the hub. Dropping it before its last frame has come leaves the call to itself.
#[derive(Debug)]
pub(super) struct Entry {
    pub id: u32,
    hub: Hub,
    over: bool,
}

impl Hub {
    /// Takes charge of a process.
    pub(super) fn start(parts: Parts, function: String, tasks: &TaskTracker) -> Self {
        let (to_process, from_lanes) = mpsc::channel(PORTIONS);
        let shared = Arc::new(Shared { present: parts.output.present(), ..Shared::default() });
        tasks.spawn(
            Own { parts, between: Between::new(function), shared: Arc::clone(&shared) }.run(from_lanes),
        );
        Self { shared, to_process }
    }

    /// What a lane has of the process before its first call: it can end it, and see that it ended.
    pub(super) fn lane(&self, process: Process) -> Parts {
        let (frames, lines) = (mpsc::channel(1).1, mpsc::channel(1).1);
        Parts {
            process,
            link: Link::lane(frames, self.to_process.clone()),
            output: Output::passed_on(lines, None),
            alarm: Alarm::default(),
        }
    }

    /// The next call. From now on `parts` are those of this call.
    pub(super) fn enter(&self, parts: &mut Parts) -> Entry {
        // Call 0 is the connection itself. Nothing runs for four billion calls.
        let id = self.shared.last_call.fetch_add(1, Ordering::Relaxed).wrapping_add(1).max(1);
        let (frames, its_frames) = mpsc::channel(FRAMES);
        let (lines, its_lines) = mpsc::channel(FRAMES);
        self.shared.calls.lock().insert(id, Some(Lane { frames, lines }));
        parts.link = Link::lane(its_frames, self.to_process.clone());
        parts.output = Output::passed_on(its_lines, self.shared.present.clone());
        Entry { id, hub: self.clone(), over: false }
    }

    /// Whether the process can be talked to.
    pub(super) fn is_open(&self) -> bool {
        !self.to_process.is_closed() && self.shared.ended_by.get().is_none()
    }
}

impl Entry {
    /// The last frame of the call has come.
    pub(super) fn over(&mut self) {
        self.over = true;
    }

    /// Notes that the process is being ended for this call's sake.
    pub(super) fn blame(&self, words: String) {
        // The first is the cause.
        let _ = self.hub.shared.ended_by.set(words);
    }

    /// Why the process was ended, if a call is to blame.
    pub(super) fn blamed(&self) -> Option<&str> {
        self.hub.shared.ended_by.get().map(String::as_str)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut calls = self.hub.shared.calls.lock();
        if self.over {
            calls.remove(&self.id);
        } else if let Some(call) = calls.get_mut(&self.id) {
            *call = None;
            let mut cancel = Encoder::default();
            cancel.frame(Kind::Cancel, self.id, b"cancelled");
            // Where there is no room for it the call ends by itself, or with the process.
            let _ = self.hub.to_process.try_send(cancel.take());
        }
    }
}

/// The task behind a [`Hub`].
struct Own {
    parts: Parts,
    between: Between,
    shared: Arc<Shared>,
}

impl Own {
    async fn run(mut self, mut from_lanes: mpsc::Receiver<Vec<u8>>) {
        let unwanted = match self.serve(&mut from_lanes).await {
            Ok(unwanted) => unwanted,
            Err(cause) => {
                tracing::warn!(function = self.between.function(), %cause, "an instance broke the worker protocol");
                let _ = self.shared.ended_by.set(format!("the instance broke the worker protocol: {cause}"));
                false
            }
        };
        if unwanted {
            return stop(self.parts).await;
        }
        self.parts.process.kill();
        let _ = tokio::time::timeout(EXIT, self.parts.process.exited()).await;
        self.last_words();
        // The lanes see their channels close.
        self.shared.calls.lock().clear();
    }

    /// Until nobody wants the process any more (`true`), or it ends.
    async fn serve(&mut self, from_lanes: &mut mpsc::Receiver<Vec<u8>>) -> Result<bool, FrameError> {
        loop {
            while let Some(frame) = self.parts.link.frame()? {
                self.pass_on(frame).await?;
            }
            if self.parts.link.is_closed() {
                return Ok(false);
            }
            let Parts { process, link, output, .. } = &mut self.parts;
            let room = link.unwritten_bytes() < UNREAD_BYTES_MAX;
            let mut lines = Vec::new();
            tokio::select! {
                biased;
                _ = process.exited() => return Ok(false),
                portion = from_lanes.recv(), if room => match portion {
                    Some(portion) => link.encoder.whole(&portion),
                    None => return Ok(true),
                },
                turn = link.turn(true) => if turn.is_err() { return Ok(false) },
                () = output.read(|stream, line| lines.push((stream, line))) => {}
            }
            for (stream, line) in lines {
                self.tell(stream, line).await;
            }
        }
    }

    async fn pass_on(&mut self, frame: Frame) -> Result<(), FrameError> {
        let Frame { kind, call, .. } = frame;
        if (kind, call) == (Kind::Log, 0) {
            let (stream, line) = crate::frame::message::log(&frame.payload)?;
            self.between.line(stream, &line);
            return Ok(());
        }
        let to = self.shared.calls.lock().get(&call).cloned();
        let last = matches!(kind, Kind::Done | Kind::Error);
        if last {
            let mut lines = Vec::new();
            self.parts.output.drain(|stream, line| lines.push((stream, line)));
            self.parts.output.begin_call();
            for (stream, line) in lines {
                self.tell(stream, line).await;
            }
        }
        match to {
            // A lane that left meanwhile wants it no more.
            Some(Some(to)) => _ = to.frames.send(frame).await,
            Some(None) if last => _ = self.shared.calls.lock().remove(&call),
            Some(None) => {}
            None => {
                let message = "belongs to a call that is not running";
                return Err(FrameError::Unexpected { kind, call, message });
            }
        }
        Ok(())
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
        for lane in to {
            let _ = lane.lines.send((stream, line.clone())).await;
        }
    }

    /// What it wrote before its end is told to all calls it took along.
    fn last_words(&mut self) {
        let mut lines = Vec::new();
        self.parts.output.drain(|stream, line| lines.push((stream, line)));
        self.parts.output.finish(|stream, line| lines.push((stream, line)));
        for (stream, line) in lines {
            for lane in self.running() {
                // Whoever has no room has other lines to hand over first.
                let _ = lane.lines.try_send((stream, line.clone()));
            }
        }
    }

    fn running(&self) -> Vec<Lane> {
        self.shared.calls.lock().values().flatten().cloned().collect()
    }
}

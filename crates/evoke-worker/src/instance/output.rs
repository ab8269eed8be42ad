//! Lines that do not come from the shim: what a worker's process, or a process it started, writes to standard output and
//! error, which are pipes, and what it is told about the network it may not use.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use evoke_core::origin::{Present, Running};
use evoke_core::record::LogStream;
use evoke_core::runtime::Call;
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::net::unix::pipe;

use super::inbox::Inbox;
use crate::egress::Egress;
use crate::logs::Lines;
use crate::wasm::Lending;

/// Bytes of one read.
const READ_BYTES: usize = 16 << 10;
/// Lines of standard error kept to explain a crash.
const TAIL_LINES: usize = 20;
/// Reads of one [`Output::drain`] per pipe; a process that writes faster than that is not waited for.
const DRAIN_READS: usize = 64;
/// How long an answer of the kernel is waited for.
const NOT_AT_ALL: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// Both pipes, and the network's refusals.
#[derive(Debug)]
pub(crate) struct Output {
    pipes: [Pipe; 2],
    /// Lines that somebody else has read.
    passed_on: Option<Arc<Inbox>>,
    /// Of a process with a network of its own.
    egress: Option<Egress>,
    /// Of a forked process: the network is that of all instances of its zygote. Whose call ends first is told.
    shared: Option<Arc<Mutex<Egress>>>,
    /// The calls that run in that network.
    present: Option<Arc<Present>>,
    /// Of a process without a network, which asks for connections.
    lending: Option<Lending>,
    tail: VecDeque<String>,
    buffer: Box<[u8]>,
}

#[derive(Debug)]
struct Pipe {
    stream: LogStream,
    /// `None` where there is none, and once nobody can write to it any more.
    pipe: Option<pipe::Receiver>,
    lines: Lines,
}

impl Output {
    /// Of a process without pipes, everything comes by frames.
    pub(crate) fn new(
        stdout: Option<OwnedFd>,
        stderr: Option<OwnedFd>,
        egress: Option<Egress>,
        log_line_bytes: usize,
    ) -> io::Result<Self> {
        let pipe = |stream, fd: Option<OwnedFd>| -> io::Result<Pipe> {
            Ok(Pipe {
                stream,
                pipe: fd.map(pipe::Receiver::from_owned_fd).transpose()?,
                lines: Lines::new(log_line_bytes),
            })
        };
        Ok(Self {
            pipes: [pipe(LogStream::Stdout, stdout)?, pipe(LogStream::Stderr, stderr)?],
            passed_on: None,
            present: egress.as_ref().map(Egress::present),
            egress,
            shared: None,
            lending: None,
            tail: VecDeque::new(),
            buffer: vec![0; READ_BYTES].into(),
        })
    }

    /// Without pipes: somebody else reads them, and passes the lines on.
    pub(super) fn passed_on(lines: Arc<Inbox>, present: Option<Arc<Present>>) -> Self {
        let pipe = |stream| Pipe { stream, pipe: None, lines: Lines::new(0) };
        Self {
            pipes: [pipe(LogStream::Stdout), pipe(LogStream::Stderr)],
            passed_on: Some(lines),
            egress: None,
            shared: None,
            present,
            lending: None,
            tail: VecDeque::new(),
            buffer: Box::default(),
        }
    }

    /// With the network of others, which is told about when a call ends.
    pub(crate) fn sharing(mut self, egress: Option<Arc<Mutex<Egress>>>) -> Self {
        if let Some(egress) = egress {
            self.present = Some(egress.lock().present());
            self.shared = Some(egress);
        }
        self
    }

    /// With connections on request.
    pub(super) fn lending(mut self, egress: Egress, lending: Lending) -> Self {
        self.present = Some(egress.present());
        (self.egress, self.lending) = (Some(egress), Some(lending));
        self
    }

    /// Who makes connections for the process, if it may ask.
    pub(super) fn lends(&self) -> Option<&Lending> {
        self.lending.as_ref()
    }

    /// The calls that run in the network of the process, if it has one.
    pub(super) fn present(&self) -> Option<Arc<Present>> {
        self.present.clone()
    }

    /// Notes that a call runs, until the returned value is dropped.
    pub(crate) fn enter(&self, call: &Call) -> Option<Running> {
        // Of one that may send nothing there is nothing to know.
        call.hops.as_ref()?;
        self.present.as_ref().map(|present| present.enter(&call.cause.span_id))
    }

    /// For those who are to share it.
    pub(crate) fn take_egress(&mut self) -> Option<Arc<Mutex<Egress>>> {
        self.egress.take().map(|egress| Arc::new(Mutex::new(egress)))
    }

    /// Waits until one of the pipes has been read from, and hands over the lines that became whole; or until there is a
    /// refusal to tell. Safe to drop and call again. Waits for ever when all are closed.
    pub(crate) async fn read(&mut self, mut line: impl FnMut(LogStream, String)) {
        let ready = {
            let [stdout, stderr] = &self.pipes;
            tokio::select! {
                () = stdout.readable() => 0,
                () = stderr.readable() => 1,
                (stream, text) = passed_on(self.passed_on.as_deref()) => {
                    keep_tail(&mut self.tail, stream, &text);
                    return line(stream, text);
                }
                refusal = refusal(&mut self.egress) => {
                    return refusal.into_iter().for_each(|text| line(LogStream::Platform, text));
                }
            }
        };
        self.read_once(ready, &mut line);
    }

    /// Reads what is there now, without waiting for more.
    pub(crate) fn drain(&mut self, mut line: impl FnMut(LogStream, String)) {
        if self.is_silent() {
            return;
        }
        for at in 0..self.pipes.len() {
            let mut reads = 0;
            while reads < DRAIN_READS && self.read_raw(at, &mut line) {
                reads += 1;
            }
        }
        while let Some((stream, text)) = self.passed_on.as_ref().and_then(|lines| lines.line()) {
            keep_tail(&mut self.tail, stream, &text);
            line(stream, text);
        }
        if let Some(egress) = &mut self.egress {
            egress.drain(|text| line(LogStream::Platform, text));
        }
        if let Some(egress) = &self.shared {
            egress.lock().drain(|text| line(LogStream::Platform, text));
        }
    }

    /// A call begins: what it is refused is told even if an earlier one was refused the same.
    pub(crate) fn begin_call(&mut self) {
        if let Some(egress) = &mut self.egress {
            egress.start_over();
        }
        if let Some(egress) = &self.shared {
            egress.lock().start_over();
        }
    }

    /// Hands over begun lines, which nobody is going to finish.
    pub(crate) fn finish(&mut self, mut line: impl FnMut(LogStream, String)) {
        for pipe in &mut self.pipes {
            if let Some(rest) = pipe.lines.rest() {
                keep_tail(&mut self.tail, pipe.stream, &rest);
                line(pipe.stream, rest);
            }
        }
    }

    /// Notes a line of standard error that came by another way, for [`Output::tail`].
    pub(crate) fn note(&mut self, stream: LogStream, line: &str) {
        keep_tail(&mut self.tail, stream, line);
    }

    /// The last lines of standard error.
    pub(crate) fn tail(&self) -> Vec<&str> {
        self.tail.iter().map(String::as_str).collect()
    }

    /// Whether there is nothing to read: one question to the kernel about all of it, where a read of each would be as many. Most
    /// calls write nothing.
    fn is_silent(&self) -> bool {
        let shared = self.shared.as_ref().map(|egress| egress.lock());
        let networks = || self.egress.iter().chain(shared.as_deref());
        if self.passed_on.as_ref().is_some_and(|lines| !lines.has_no_lines())
            || !networks().all(Egress::has_heard_nothing)
        {
            return false;
        }
        let pipes = self.pipes.iter().filter_map(|pipe| pipe.pipe.as_ref()).map(AsFd::as_fd);
        let sources = pipes.chain(networks().flat_map(Egress::sockets));
        let mut asked: Vec<_> =
            sources.map(|source| PollFd::from_borrowed_fd(source, PollFlags::IN)).collect();
        // Where the kernel does not say, a read will.
        asked.is_empty() || poll(&mut asked, Some(&NOT_AT_ALL)).is_ok_and(|ready| ready == 0)
    }

    fn read_once(&mut self, at: usize, line: &mut impl FnMut(LogStream, String)) {
        let Some(pipe) = &self.pipes[at].pipe else { return };
        let read = pipe.try_read(&mut self.buffer);
        self.take(at, read, line);
    }

    /// Asks the kernel, not tokio's memory of when it was last ready: a line written right before the end of a call
    /// may not have been announced yet.
    fn read_raw(&mut self, at: usize, line: &mut impl FnMut(LogStream, String)) -> bool {
        let Some(pipe) = &self.pipes[at].pipe else { return false };
        let read = rustix::io::read(pipe.as_fd(), &mut *self.buffer).map_err(io::Error::from);
        self.take(at, read, line)
    }

    /// Whether there may be more.
    fn take(&mut self, at: usize, read: io::Result<usize>, line: &mut impl FnMut(LogStream, String)) -> bool {
        let Self { pipes, tail, buffer, .. } = self;
        let Pipe { stream, pipe, lines } = &mut pipes[at];
        match read {
            Ok(0) => *pipe = None,
            Ok(bytes) => {
                lines.take(&buffer[..bytes], |text| {
                    keep_tail(tail, *stream, &text);
                    line(*stream, text);
                });
                return true;
            }
            Err(cause) if matches!(cause.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => *pipe = None,
        }
        false
    }
}

impl Pipe {
    async fn readable(&self) {
        match &self.pipe {
            // An error shows itself in the read that follows.
            Some(pipe) => _ = pipe.readable().await,
            None => std::future::pending().await,
        }
    }
}

async fn passed_on(lines: Option<&Inbox>) -> (LogStream, String) {
    match lines {
        Some(lines) => poll_fn(|cx| lines.poll_line(cx)).await,
        None => std::future::pending().await,
    }
}

async fn refusal(egress: &mut Option<Egress>) -> Option<String> {
    match egress {
        Some(egress) => egress.next().await,
        None => std::future::pending().await,
    }
}

fn keep_tail(tail: &mut VecDeque<String>, stream: LogStream, line: &str) {
    if stream != LogStream::Stderr || line.trim().is_empty() {
        return;
    }
    if tail.len() == TAIL_LINES {
        tail.pop_front();
    }
    tail.push_back(line.chars().take(1_000).collect());
}

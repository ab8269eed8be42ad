//! A connection whose HTTP/1 requests have been read to the letter before hyper sees them.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::fault::Fault;
use super::head::{self, After};

/// What an HTTP/2 connection begins with (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Empty lines before a request that are skipped (RFC 9112, 2.2).
const EMPTY_LINES: u8 = 4;
/// Read at once where it is not read straight into hyper's buffer.
const READ_BYTES: usize = 8 << 10;
/// What hyper reads in the place of a request that is refused: its answer is the refusal.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
/// Closing under a client that still sends would destroy the answer before it is read (RFC 9112, 9.6): so long, and so many
/// bytes, it gets to come to the end.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 16 << 20;

/// What the guard knows of a connection's requests, by their numbers from 0. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Verdict(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    refused: Option<(u64, Fault)>,
    broken: Option<(u64, Fault)>,
    last: Option<u64>,
}

impl Verdict {
    /// Why the nth request is refused.
    pub fn on(&self, nth: u64) -> Option<Fault> {
        self.0.lock().refused.filter(|(refused, _)| *refused == nth).map(|(_, fault)| fault)
    }

    /// What is wrong with the body of the nth request, as far as it was read.
    pub fn on_body(&self, nth: u64) -> Option<Fault> {
        self.0.lock().broken.filter(|(broken, _)| *broken == nth).map(|(_, fault)| fault)
    }

    /// Whether nothing is read to the letter after the nth request, because it may switch to another protocol.
    pub fn is_last(&self, nth: u64) -> bool {
        self.0.lock().last == Some(nth)
    }
}

/// How large a head may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadBounds {
    pub bytes: usize,
    pub fields: usize,
}

/// The connection. What is written passes as it is.
pub(crate) struct Guard<S> {
    inner: S,
    bounds: HeadBounds,
    state: State,
    /// Read, and not handed over; the first `cleared` bytes may be.
    held: BytesMut,
    cleared: usize,
    /// Requests handed over.
    requests: u64,
    verdict: Verdict,
    lingering: Option<Pin<Box<Sleep>>>,
    discarded: usize,
}

enum State {
    /// In a head, or before it: how much of what is held was looked at, where its last line began, and empty lines so far.
    Head {
        scanned: usize,
        line: usize,
        empty: u8,
    },
    Body(After),
    /// HTTP/2, or whatever follows an upgrade.
    Through,
    /// Nothing is read any more.
    Refused,
}

const HEAD: State = State::Head { scanned: 0, line: 0, empty: 0 };

impl<S> Guard<S> {
    pub fn new(inner: S, bounds: HeadBounds, verdict: Verdict) -> Self {
        Self {
            inner,
            bounds,
            state: HEAD,
            held: BytesMut::new(),
            cleared: 0,
            requests: 0,
            verdict,
            lingering: None,
            discarded: 0,
        }
    }

    /// Looks for the end of a head in what is held. Whether there is something to go on with.
    fn look(&mut self) -> bool {
        let State::Head { mut scanned, mut line, mut empty } = self.state else { return true };
        if self.requests == 0 && self.held.len() < PREFACE.len() && PREFACE.starts_with(&self.held) {
            return false;
        }
        if self.requests == 0 && self.held.starts_with(PREFACE) {
            self.state = State::Through;
            return true;
        }
        if self.held.first().is_some_and(|byte| !head::is_token(*byte) && !b"\r\n".contains(byte)) {
            return self.refuse(Fault::RequestLine);
        }
        while let Some(at) = self.held[scanned..].iter().position(|byte| *byte == b'\n') {
            let end = scanned + at;
            scanned = end + 1;
            if end == line || self.held[end - 1] != b'\r' {
                return self.refuse(Fault::BareLf);
            }
            let is_empty = end - 1 == line;
            if is_empty && line == 0 {
                empty += 1;
                if empty > EMPTY_LINES {
                    return self.refuse(Fault::RequestLine);
                }
                self.held.advance(scanned);
                scanned = 0;
                continue;
            }
            if is_empty {
                return self.end_of_head(scanned);
            }
            line = scanned;
        }
        self.state = State::Head { scanned: self.held.len(), line, empty };
        // What is no request is told so at once, not when its head is whole or has become too long.
        if self.held.len() > self.bounds.bytes {
            return self.refuse(Fault::HeadBytes(self.bounds.bytes));
        }
        false
    }

    fn end_of_head(&mut self, length: usize) -> bool {
        if length > self.bounds.bytes {
            return self.refuse(Fault::HeadBytes(self.bounds.bytes));
        }
        match head::read(&self.held[..length], self.bounds.fields) {
            Err(fault) => self.refuse(fault),
            Ok(after) => {
                self.state = match after {
                    After::Head => HEAD,
                    After::Upgrade => {
                        self.verdict.0.lock().last = Some(self.requests);
                        State::Through
                    }
                    body => State::Body(body),
                };
                self.requests += 1;
                self.cleared = length;
                true
            }
        }
    }

    fn refuse(&mut self, fault: Fault) -> bool {
        self.verdict.0.lock().refused = Some((self.requests, fault));
        self.held.clear();
        self.held.extend_from_slice(STAND_IN);
        self.cleared = STAND_IN.len();
        self.state = State::Refused;
        true
    }

    /// Goes on through bytes of a body: how many of them are part of it.
    fn pass(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let State::Body(body) = &mut self.state else { return Ok(0) };
        let passed = match body {
            After::Length(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= here as u64;
                Ok((here, *left == 0))
            }
            After::Chunks(chunks) => chunks.pass(bytes),
            After::Head | After::Upgrade => Ok((0, true)),
        };
        match passed {
            Ok((used, end)) => {
                if end {
                    self.state = HEAD;
                }
                Ok(used)
            }
            Err(fault) => {
                self.verdict.0.lock().broken = Some((self.requests.saturating_sub(1), fault));
                self.state = State::Refused;
                self.held.clear();
                Err(fault.into())
            }
        }
    }
}

impl<S: AsyncRead + Unpin> Guard<S> {
    /// Reads into what is held. Whether there was something.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut bytes = [MaybeUninit::uninit(); READ_BYTES];
        let mut buffer = ReadBuf::uninit(&mut bytes);
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buffer))?;
        self.held.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(!buffer.filled().is_empty()))
    }

    /// Reads and throws away, until the client ends or has sent too much.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.discarded < LINGER_BYTES {
            let had = self.held.len();
            let more = ready!(self.poll_more(cx))?;
            self.discarded += self.held.len() - had;
            self.held.clear();
            if !more {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.cleared > 0 {
                let length = this.cleared.min(out.remaining());
                out.put_slice(&this.held[..length]);
                this.held.advance(length);
                this.cleared -= length;
                return Poll::Ready(Ok(()));
            }
            match &this.state {
                State::Through if this.held.is_empty() => {
                    return Pin::new(&mut this.inner).poll_read(cx, out);
                }
                State::Through => this.cleared = this.held.len(),
                State::Refused => return this.poll_discard(cx),
                State::Head { .. } => {
                    if !this.look() && !ready!(this.poll_more(cx))? {
                        return Poll::Ready(Ok(()));
                    }
                }
                State::Body(_) if !this.held.is_empty() => {
                    let held = this.held.split();
                    let used = this.pass(&held)?;
                    this.held = held;
                    this.cleared = used;
                }
                State::Body(_) => {
                    let before = out.filled().len();
                    ready!(Pin::new(&mut this.inner).poll_read(cx, out))?;
                    let fresh = &out.filled()[before..];
                    let used = this.pass(fresh)?;
                    this.held.extend_from_slice(&fresh[used..]);
                    out.set_filled(before + used);
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    /// Ends the answer, and gives a client that is not through with its request the time to read it.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(Pin::new(&mut this.inner).poll_shutdown(cx))?;
        if !matches!(this.state, State::Refused | State::Body(_)) {
            return Poll::Ready(Ok(()));
        }
        let lingering = this.lingering.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        if lingering.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        // That the client broke off is no fault of the answer.
        this.poll_discard(cx).map(|_| Ok(()))
    }
}

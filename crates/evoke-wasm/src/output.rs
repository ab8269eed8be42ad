//! A guest's standard output and error, as lines for its log.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use evoke_worker::frame::Kind;

use crate::outbox::Outbox;

/// Bytes a guest may write at once.
const WRITE_BYTES: usize = 64 << 10;

/// Which stream: its number on the wire.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
pub(crate) enum Stream {
    Stdout = 1,
    Stderr = 2,
}

/// One of an instance's two streams. Clones write to the same.
#[derive(Debug, Clone)]
pub(crate) struct Output(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    stream: Stream,
    /// Whose lines they are at the moment.
    call: AtomicU32,
    outbox: Arc<Outbox>,
    line_bytes: usize,
    line: Mutex<Line>,
}

#[derive(Debug, Default)]
struct Line {
    begun: Vec<u8>,
    /// Longer than a line may be: what comes until its end is dropped.
    is_full: bool,
}

impl Output {
    /// The `stream` of `call`, in lines of at most `line_bytes`.
    pub fn new(stream: Stream, call: u32, outbox: Arc<Outbox>, line_bytes: usize) -> Self {
        let call = AtomicU32::new(call);
        Self(Arc::new(Shared { stream, call, outbox, line_bytes, line: Mutex::default() }))
    }

    /// What is written from now on belongs to `call`.
    pub fn begin(&self, call: u32) {
        self.0.call.store(call, Ordering::Relaxed);
    }

    /// Ends a line that was begun.
    pub fn finish(&self) {
        let mut line = self.0.line.lock();
        if !line.begun.is_empty() {
            self.send(&mut line);
        }
    }

    fn write(&self, bytes: &[u8]) {
        let mut line = self.0.line.lock();
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            let (text, ends) = match part {
                [text @ .., b'\n'] => (text, true),
                text => (text, false),
            };
            if !line.is_full {
                let room = self.0.line_bytes - line.begun.len();
                line.begun.extend_from_slice(&text[..text.len().min(room)]);
                line.is_full = text.len() > room;
            }
            if ends {
                self.send(&mut line);
            }
        }
    }

    fn send(&self, line: &mut Line) {
        let text = line.begun.strip_suffix(b"\r").unwrap_or(&line.begun);
        let call = self.0.call.load(Ordering::Relaxed);
        self.0.outbox.frame(Kind::Log, call, &[&[self.0.stream as u8], text]);
        line.begun.clear();
        line.is_full = false;
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(Writer { output: self.clone(), room: None })
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {
        self.0.outbox.room().await;
    }
}

#[async_trait]
impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if bytes.len() > WRITE_BYTES {
            return Err(StreamError::trap("more was written than the stream had said it would take"));
        }
        Output::write(self, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(if self.0.outbox.has_room() { WRITE_BYTES } else { 0 })
    }
}

/// The same for components of WASI 0.3.
struct Writer {
    output: Output,
    /// Under way while there is no room.
    room: Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>,
}

impl AsyncWrite for Writer {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outbox = Arc::clone(&self.output.0.outbox);
        if !outbox.has_room() || self.room.is_some() {
            let room = self.room.get_or_insert_with(|| Box::pin(async move { outbox.room().await }));
            ready!(room.as_mut().poll(cx));
            self.room = None;
        }
        let bytes = &bytes[..bytes.len().min(WRITE_BYTES)];
        self.output.write(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use evoke_worker::frame::Encoder;
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_guest_whose_lines_nobody_takes_has_to_wait() {
        let outbox = Arc::new(Outbox::default());
        let mut output = Output::new(Stream::Stdout, 1, Arc::clone(&outbox), 8 << 10);
        let line = Bytes::from([b"x".repeat(WRITE_BYTES - 1), b"\n".to_vec()].concat());
        let mut lines = 0;
        while output.check_write().unwrap() > 0 && lines < 10_000 {
            OutputStream::write(&mut output, line.clone()).unwrap();
            lines += 1;
        }
        assert!(lines < 10_000, "there is no end to it");
        assert!(output.ready().now_or_never().is_none());
        let mut stream = Box::into_pin(output.async_stream());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(stream.as_mut().poll_write(&mut cx, &line).is_pending());

        assert!(outbox.take(&mut Encoder::default(), &cx));
        outbox.has_emptied();
        assert!(output.ready().now_or_never().is_some());
        assert!(stream.as_mut().poll_write(&mut cx, &line).is_ready());
    }
}

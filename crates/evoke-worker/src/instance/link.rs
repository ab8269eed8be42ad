//! The host's end of the socket to one worker.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::frame::{Decoder, Encoder, Frame, FrameError};

/// Bytes asked for in one read.
const READ_BYTES: usize = 64 << 10;

/// Reads and writes frames. What is in `encoder` leaves with [`Link::flush`] or [`Link::turn`].
#[derive(Debug)]
pub(super) struct Link {
    stream: UnixStream,
    decoder: Decoder,
    pub(super) encoder: Encoder,
    closed: bool,
}

impl Link {
    pub(super) fn new(socket: OwnedFd) -> io::Result<Self> {
        let socket = std::os::unix::net::UnixStream::from(socket);
        socket.set_nonblocking(true)?;
        let stream = UnixStream::from_std(socket)?;
        Ok(Self { stream, decoder: Decoder::default(), encoder: Encoder::default(), closed: false })
    }

    /// The next frame that has arrived whole.
    pub(super) fn frame(&mut self) -> Result<Option<Frame>, FrameError> {
        self.decoder.take()
    }

    /// The worker has closed its end, and all of what it sent has been read.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(super) fn has_unwritten(&self) -> bool {
        !self.encoder.unwritten().is_empty()
    }

    /// Waits until something has been read, or the socket closed. Safe to drop and call again.
    pub(super) async fn read(&mut self) -> io::Result<()> {
        let read = self.stream.read_buf(self.decoder.space(READ_BYTES)).await;
        self.note(read)
    }

    /// Waits until some of what is to be written has been. Safe to drop and call again.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        let written = self.stream.write(self.encoder.unwritten()).await?;
        self.encoder.advance(written);
        Ok(())
    }

    /// Waits until something has been written (if there is something to write) or, with `reading`, read. Safe to drop
    /// and call again.
    pub(super) async fn turn(&mut self, reading: bool) -> io::Result<()> {
        if !self.has_unwritten() {
            return if reading { self.read().await } else { std::future::pending().await };
        }
        let (mut reader, mut writer) = self.stream.split();
        let reading = reading && !self.closed;
        tokio::select! {
            biased;
            written = writer.write(self.encoder.unwritten()) => match written {
                Ok(bytes) => self.encoder.advance(bytes),
                // The worker is gone; what it still sent before that is to be read.
                Err(_) => self.encoder.advance(self.encoder.unwritten().len()),
            },
            read = reader.read_buf(self.decoder.space(READ_BYTES)), if reading => return self.note(read),
        }
        Ok(())
    }

    fn note(&mut self, read: io::Result<usize>) -> io::Result<()> {
        match read {
            Ok(0) => self.closed = true,
            Ok(_) => {}
            // A worker that died with unread bytes in its socket.
            Err(cause) if cause.kind() == io::ErrorKind::ConnectionReset => self.closed = true,
            Err(cause) => {
                self.closed = true;
                return Err(cause);
            }
        }
        Ok(())
    }
}

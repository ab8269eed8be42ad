//! The host's end of the socket to one worker.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::task::Poll;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::frame::{Decoder, Encoder, Frame, FrameError};
use crate::socket::Socket;

/// Bytes asked for in one read.
const READ_BYTES: usize = 64 << 10;
/// File descriptors beside one message.
const FDS_MAX: usize = 3;

/// Reads and writes frames. What is in `encoder` leaves with [`Link::flush`] or [`Link::turn`].
#[derive(Debug)]
pub(crate) struct Link {
    carrier: Carrier,
    pub(crate) encoder: Encoder,
    closed: bool,
}

#[derive(Debug)]
enum Carrier {
    Socket {
        socket: Socket,
        decoder: Decoder,
    },
    /// Of one call among several: the hub has the socket.
    Lane {
        next: Option<Frame>,
        frames: mpsc::Receiver<Frame>,
        to_hub: mpsc::Sender<Vec<u8>>,
    },
}

impl Link {
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Self> {
        let carrier = Carrier::Socket { socket: Socket::new(socket)?, decoder: Decoder::default() };
        Ok(Self { carrier, encoder: Encoder::default(), closed: false })
    }

    /// One that is passed the frames of a call.
    pub(super) fn lane(frames: mpsc::Receiver<Frame>, to_hub: mpsc::Sender<Vec<u8>>) -> Self {
        let carrier = Carrier::Lane { next: None, frames, to_hub };
        Self { carrier, encoder: Encoder::default(), closed: false }
    }

    /// Has the socket watched by the runtime this is called in. Whether it was another's before.
    pub(super) fn settle(&mut self) -> bool {
        match &mut self.carrier {
            Carrier::Socket { socket, .. } => socket.settle().unwrap_or_else(|cause| {
                tracing::debug!(%cause, "a socket stays with the runtime it was with");
                false
            }),
            Carrier::Lane { .. } => false,
        }
    }

    /// The next frame that has arrived whole.
    pub(crate) fn frame(&mut self) -> Result<Option<Frame>, FrameError> {
        match &mut self.carrier {
            Carrier::Socket { decoder, .. } => decoder.take(),
            Carrier::Lane { next, frames, .. } => Ok(next.take().or_else(|| frames.try_recv().ok())),
        }
    }

    /// The worker has closed its end, and all of what it sent has been read.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(crate) fn has_unwritten(&self) -> bool {
        !self.encoder.unwritten().is_empty()
    }

    /// What the worker has not read yet, as far as it is known here.
    pub(crate) fn unwritten_bytes(&self) -> usize {
        self.encoder.unwritten().len()
    }

    /// Waits until something has been read, or the socket closed. Safe to drop and call again.
    pub(crate) async fn read(&mut self) -> io::Result<()> {
        match &mut self.carrier {
            Carrier::Socket { socket, decoder } => {
                let read = poll_fn(|cx| socket.poll_read(cx, decoder.space(READ_BYTES))).await;
                self.note(read)
            }
            Carrier::Lane { next, frames, .. } => {
                *next = frames.recv().await;
                self.closed = next.is_none();
                Ok(())
            }
        }
    }

    /// Waits until some of what is to be written has been. Safe to drop and call again.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        match &mut self.carrier {
            Carrier::Socket { socket, .. } => {
                let written = poll_fn(|cx| socket.poll_write(cx, self.encoder.unwritten())).await?;
                self.encoder.advance(written);
            }
            Carrier::Lane { to_hub, .. } => {
                let room = to_hub.reserve().await.map_err(|_| io::ErrorKind::BrokenPipe)?;
                room.send(self.encoder.take());
            }
        }
        Ok(())
    }

    /// Writes what there is room for now.
    pub(crate) fn write_now(&mut self) {
        if !self.has_unwritten() {
            return;
        }
        match &mut self.carrier {
            Carrier::Socket { socket, .. } => match socket.try_write(self.encoder.unwritten()) {
                Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => {}
                written => wrote(&mut self.encoder, written),
            },
            Carrier::Lane { to_hub, .. } => match to_hub.try_reserve() {
                Ok(room) => room.send(self.encoder.take()),
                Err(TrySendError::Full(())) => {}
                Err(TrySendError::Closed(())) => drop(self.encoder.take()),
            },
        }
    }

    /// Waits until something has been written (if there is something to write) or, with `reading`, read. Safe to drop
    /// and call again.
    pub(crate) async fn turn(&mut self, reading: bool) -> io::Result<()> {
        if !self.has_unwritten() {
            return if reading { self.read().await } else { std::future::pending().await };
        }
        let reading = reading && !self.closed;
        match &mut self.carrier {
            Carrier::Socket { socket, decoder } => {
                let encoder = &mut self.encoder;
                let read = poll_fn(|cx| match socket.poll_write(cx, encoder.unwritten()) {
                    Poll::Ready(written) => {
                        wrote(encoder, written);
                        Poll::Ready(None)
                    }
                    Poll::Pending if reading => socket.poll_read(cx, decoder.space(READ_BYTES)).map(Some),
                    Poll::Pending => Poll::Pending,
                });
                if let Some(read) = read.await {
                    return self.note(read);
                }
            }
            Carrier::Lane { next, frames, to_hub } => tokio::select! {
                biased;
                room = to_hub.reserve() => match room {
                    Ok(room) => room.send(self.encoder.take()),
                    Err(_) => drop(self.encoder.take()),
                },
                frame = frames.recv(), if reading => {
                    self.closed = frame.is_none();
                    *next = frame;
                }
            },
        }
        Ok(())
    }

    /// Waits until all that is to be written has been, with these descriptors beside its first byte. Not safe to drop.
    pub(crate) async fn flush_with(&mut self, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let Carrier::Socket { socket, .. } = &mut self.carrier else {
            return Err(io::Error::other("a lane cannot carry file descriptors"));
        };
        let bytes = self.encoder.unwritten();
        let send = |socket: BorrowedFd<'_>| {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !control.push(SendAncillaryMessage::ScmRights(fds)) {
                return Err(io::Error::other("too many file descriptors for one message"));
            }
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            Ok(rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags)?)
        };
        let written = poll_fn(|cx| socket.poll_send(cx, send)).await?;
        self.encoder.advance(written);
        while self.has_unwritten() {
            self.flush().await?;
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

/// Takes note of what was written.
fn wrote(encoder: &mut Encoder, written: io::Result<usize>) {
    // After an error the worker is gone; what it still sent before that is to be read.
    encoder.advance(written.unwrap_or(encoder.unwritten().len()));
}

//! The host's end of the socket to one worker.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

use super::hub::Shared;
use super::inbox::Inbox;
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
        inbox: Arc<Inbox>,
        hub: Arc<Shared>,
    },
}

impl Link {
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Self> {
        let carrier = Carrier::Socket { socket: Socket::new(socket)?, decoder: Decoder::default() };
        Ok(Self { carrier, encoder: Encoder::default(), closed: false })
    }

    /// One that is passed the frames of a call, through `inbox`.
    pub(super) fn lane(inbox: Arc<Inbox>, hub: Arc<Shared>) -> Self {
        Self { carrier: Carrier::Lane { inbox, hub }, encoder: Encoder::default(), closed: false }
    }

    /// Another call begins.
    pub(super) fn begin(&mut self) {
        self.encoder.clear();
        self.closed = false;
    }

    /// The socket, if it has one, for somebody else who writes to it.
    pub(super) fn socket(&self) -> Option<Arc<OwnedFd>> {
        match &self.carrier {
            Carrier::Socket { socket, .. } => Some(socket.shared()),
            Carrier::Lane { .. } => None,
        }
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
            Carrier::Lane { inbox, .. } => Ok(inbox.frame()),
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
        poll_fn(|cx| self.poll_read(cx)).await
    }

    /// Waits until some of what is to be written has been. Safe to drop and call again.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        match &mut self.carrier {
            Carrier::Socket { socket, .. } => {
                let written = poll_fn(|cx| socket.poll_write(cx, self.encoder.unwritten())).await?;
                self.encoder.advance(written);
                Ok(())
            }
            Carrier::Lane { inbox, hub } => hub.departed(&mut self.encoder, inbox).await,
        }
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
            Carrier::Lane { inbox, hub } => {
                if hub.depart(&mut self.encoder, inbox).is_err() {
                    self.encoder.clear();
                }
            }
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
            Carrier::Socket { .. } => {
                poll_fn(|cx| match self.poll_flush(cx) {
                    Poll::Ready(()) => Poll::Ready(Ok(())),
                    Poll::Pending if reading => self.poll_read(cx),
                    Poll::Pending => Poll::Pending,
                })
                .await
            }
            Carrier::Lane { inbox, hub } => {
                tokio::select! {
                    biased;
                    departed = hub.departed(&mut self.encoder, inbox) => if departed.is_err() { self.encoder.clear() },
                    more = poll_fn(|cx| inbox.poll_frame(cx)), if reading => self.closed = !more,
                }
                Ok(())
            }
        }
    }

    /// Writes to the socket until all is written. Never ready on a lane, which has none.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Carrier::Socket { socket, .. } = &mut self.carrier else { return Poll::Pending };
        while !self.encoder.unwritten().is_empty() {
            let written = ready!(socket.poll_write(cx, self.encoder.unwritten()));
            wrote(&mut self.encoder, written);
        }
        Poll::Ready(())
    }

    /// Reads what has come.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.carrier {
            Carrier::Socket { socket, decoder } => {
                let read = ready!(socket.poll_read(cx, decoder.space(READ_BYTES)));
                Poll::Ready(self.note(read))
            }
            Carrier::Lane { inbox, .. } => {
                self.closed = !ready!(inbox.poll_frame(cx));
                Poll::Ready(Ok(()))
            }
        }
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

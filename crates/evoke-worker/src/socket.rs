//! One end of a socket between host and worker.
//!
//! It is watched for what comes in only. Whoever watches a unix socket for room as well is woken whenever the other side has read what
//! was written, once a call, although there was room all the time. Where there is none it is watched for that too, until there is.
//!
//! The runtime that watches it is the one whose thread is woken. Who goes on with it on another has it watched there
//! ([`Socket::settle`]); otherwise each answer would wake one thread only for it to wake the next.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use rustix::net::{SendFlags, send};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::{self, Handle};

use crate::sys;

/// A connected unix stream socket.
#[derive(Debug)]
pub struct Socket {
    fd: AsyncFd<Arc<OwnedFd>>,
    /// Which watches it.
    runtime: runtime::Id,
    /// While there is no room.
    room: Option<AsyncFd<OwnedFd>>,
}

impl Socket {
    /// Takes charge of one end. Only within a runtime.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        // Whoever has a copy of it, and watches that, relies on this.
        rustix::io::ioctl_fionbio(&fd, true)?;
        let runtime = Handle::current().id();
        Ok(Self { fd: sys::watch_shared(Arc::new(fd), Interest::READABLE)?, runtime, room: None })
    }

    /// It, for somebody else who writes to it.
    pub(crate) fn shared(&self) -> Arc<OwnedFd> {
        Arc::clone(self.fd.get_ref())
    }

    /// Has it watched by the runtime this is called in, if that is another. On an error it stays where it was, and works as well, only
    /// slower. Whether it was moved.
    pub fn settle(&mut self) -> io::Result<bool> {
        let here = Handle::current().id();
        if self.runtime == here {
            return Ok(false);
        }
        self.fd = sys::watch_shared(Arc::clone(self.fd.get_ref()), Interest::READABLE)?;
        (self.runtime, self.room) = (here, None);
        Ok(true)
    }

    /// Reads what is there, as far as there is capacity for it; 0 at the end.
    pub fn poll_read(&self, cx: &mut Context<'_>, to: &mut BytesMut) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.fd.poll_read_ready(cx))?;
            match sys::receive(self.fd.as_fd(), to) {
                Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                read => {
                    // It was all there was, and what comes next is told: no need to ask.
                    if matches!(read, Ok(1..)) && to.len() < to.capacity() {
                        ready.clear_ready();
                    }
                    return Poll::Ready(read);
                }
            }
        }
    }

    /// Writes as much as there is room for.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send(cx, |fd| send_now(fd, bytes))
    }

    /// Writes if there is room now; an error of the kind `WouldBlock` otherwise.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        send_now(self.fd.as_fd(), bytes)
    }

    /// Does what `send` does, which must not wait, once there is room for it.
    pub(crate) fn poll_send<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut send: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            let mut ready = match &self.room {
                Some(room) => Some(ready!(room.poll_write_ready(cx))?),
                None => None,
            };
            match send(self.fd.as_fd()) {
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => match &mut ready {
                    Some(ready) => ready.clear_ready(),
                    None => {
                        let copy = self.fd.get_ref().as_ref().try_clone()?;
                        self.room = Some(sys::watch_for(copy, Interest::WRITABLE)?);
                    }
                },
                sent => {
                    self.room = None;
                    return Poll::Ready(sent);
                }
            }
        }
    }
}

/// Writes what there is room for at once; an error of the kind `WouldBlock` where there is none.
pub(crate) fn send_now(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    Ok(send(fd, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn pair() -> (Socket, Socket) {
        let (one, other) = std::os::unix::net::UnixStream::pair().unwrap();
        (Socket::new(one.into()).unwrap(), Socket::new(other.into()).unwrap())
    }

    #[tokio::test]
    async fn who_finds_no_room_goes_on_when_the_other_side_has_read() {
        let (mut writer, reader) = pair();
        let (mut sent, chunk) = (0, vec![7; 64 << 10]);
        let is_full = |cause: io::Error| assert_eq!(cause.kind(), io::ErrorKind::WouldBlock);
        while let Ok(bytes) = writer.try_write(&chunk).map_err(is_full) {
            sent += bytes;
        }
        let total = sent + chunk.len();
        let write = async {
            let mut rest = &chunk[..];
            while !rest.is_empty() {
                let bytes = poll_fn(|cx| writer.poll_write(cx, rest)).await.unwrap();
                rest = &rest[bytes..];
            }
            drop(writer);
        };
        let read = async {
            let (mut all, mut buffer) = (0, BytesMut::with_capacity(10_000));
            loop {
                buffer.clear();
                match poll_fn(|cx| reader.poll_read(cx, &mut buffer)).await.unwrap() {
                    0 => return all,
                    bytes => all += bytes,
                }
            }
        };
        assert_eq!(tokio::join!(write, read).1, total);
    }

    #[tokio::test]
    async fn what_the_other_side_reads_wakes_nobody() {
        let (mut writer, reader) = pair();
        let mut buffer = BytesMut::with_capacity(100);
        let wrote = poll_fn(|cx| writer.poll_write(cx, b"word")).await.unwrap();
        let read = poll_fn(|cx| reader.poll_read(cx, &mut buffer)).await.unwrap();
        assert_eq!((wrote, read, &buffer[..]), (4, 4, &b"word"[..]));
        assert!(writer.room.is_none());
    }

    #[test]
    fn who_goes_on_in_another_runtime_needs_nothing_of_the_first() {
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (first, second) = (runtime(), runtime());
        let (mut writer, mut reader) = first.block_on(async { pair() });
        // From here on the first runtime looks at nothing: what only it watches wakes nobody.
        second.block_on(async {
            assert!(reader.settle().unwrap() && !reader.settle().unwrap());
            let mut buffer = BytesMut::with_capacity(100);
            let read = poll_fn(|cx| reader.poll_read(cx, &mut buffer));
            let write = async {
                tokio::task::yield_now().await;
                poll_fn(|cx| writer.poll_write(cx, b"word")).await.unwrap()
            };
            let (read, wrote) = tokio::join!(read, write);
            assert_eq!((read.unwrap(), wrote), (4, 4));
        });
        drop(first);
        // Nor does it matter that the first is gone.
        second.block_on(async {
            drop(writer);
            let mut buffer = BytesMut::with_capacity(100);
            assert_eq!(poll_fn(|cx| reader.poll_read(cx, &mut buffer)).await.unwrap(), 0);
        });
    }
}

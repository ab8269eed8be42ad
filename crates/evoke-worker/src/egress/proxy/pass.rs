//! Bytes, both ways, counted, until both sides have said all, one fails, or nobody says anything for too long.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream, tcp, unix};
use tokio::time::Instant;

use super::super::Traffic;

/// Bytes of one read.
const BUFFER_BYTES: usize = 16 << 10;

/// Passes on until it is over. A failure on one side is passed on to the other as a reset.
pub(super) async fn both_ways(mut guest: TcpStream, mut there: TcpStream, traffic: &Traffic, idle: Duration) {
    // Both ends do their own buffering: what is written here is meant to leave.
    let _ = (guest.set_nodelay(true), there.set_nodelay(true));
    let passed = passed(guest.split(), &mut there, traffic, idle).await;
    if passed.is_err() {
        let _ = (guest.set_zero_linger(), there.set_zero_linger());
    }
}

/// The same, where the guest has no network but a socket to us. A failure closes it.
pub(in crate::egress) async fn both_ways_lent(
    mut guest: UnixStream,
    mut there: TcpStream,
    traffic: &Traffic,
    idle: Duration,
) {
    let _ = there.set_nodelay(true);
    if passed(guest.split(), &mut there, traffic, idle).await.is_err() {
        let _ = there.set_zero_linger();
    }
}

/// The half of a connection that is read.
trait Source {
    async fn readable(&self) -> io::Result<()>;
    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize>;
}

impl Source for tcp::ReadHalf<'_> {
    async fn readable(&self) -> io::Result<()> {
        tcp::ReadHalf::readable(self).await
    }

    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        tcp::ReadHalf::try_read(self, buffer)
    }
}

impl Source for unix::ReadHalf<'_> {
    async fn readable(&self) -> io::Result<()> {
        unix::ReadHalf::readable(self).await
    }

    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        unix::ReadHalf::try_read(self, buffer)
    }
}

async fn passed(
    (guest_read, guest_write): (impl Source, impl AsyncWrite + Unpin),
    there: &mut TcpStream,
    traffic: &Traffic,
    idle: Duration,
) -> io::Result<()> {
    let last = Mutex::new(Instant::now());
    let (there_read, there_write) = there.split();
    let out = one_way(guest_read, there_write, &traffic.sent_bytes, &last);
    let back = one_way(there_read, guest_write, &traffic.received_bytes, &last);
    tokio::select! {
        passed = async { tokio::try_join!(out, back) } => passed.map(drop),
        () = silence(&last, idle) => Err(io::ErrorKind::TimedOut.into()),
    }
}

async fn one_way(
    from: impl Source,
    mut to: impl AsyncWrite + Unpin,
    count: &AtomicU64,
    last: &Mutex<Instant>,
) -> io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        // An idle connection holds no buffer.
        from.readable().await?;
        buffer.resize(BUFFER_BYTES, 0);
        let length = match from.try_read(&mut buffer) {
            Ok(0) => return to.shutdown().await,
            Ok(length) => length,
            Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => {
                buffer = Vec::new();
                continue;
            }
            Err(cause) => return Err(cause),
        };
        to.write_all(&buffer[..length]).await?;
        count.fetch_add(length as u64, Ordering::Relaxed);
        *last.lock() = Instant::now();
    }
}

/// Waits until nothing has been passed on for `idle`.
async fn silence(last: &Mutex<Instant>, idle: Duration) {
    loop {
        let until = *last.lock() + idle;
        if until <= Instant::now() {
            return;
        }
        tokio::time::sleep_until(until).await;
    }
}

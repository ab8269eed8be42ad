//! Bytes, both ways, counted, until both sides have said all, one fails, or nobody says anything for too long.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::Instant;

use super::super::Traffic;

/// Bytes of one read.
const BUFFER_BYTES: usize = 16 << 10;

/// Passes on until it is over. A failure on one side is passed on to the other as a reset.
pub(super) async fn both_ways(mut guest: TcpStream, mut there: TcpStream, traffic: &Traffic, idle: Duration) {
    // Both ends do their own buffering: what is written here is meant to leave.
    let _ = (guest.set_nodelay(true), there.set_nodelay(true));
    let passed = {
        let last = Mutex::new(Instant::now());
        let (guest_read, guest_write) = guest.split();
        let (there_read, there_write) = there.split();
        let out = one_way(guest_read, there_write, &traffic.sent_bytes, &last);
        let back = one_way(there_read, guest_write, &traffic.received_bytes, &last);
        tokio::select! {
            passed = async { tokio::try_join!(out, back) } => passed.map(drop),
            () = silence(&last, idle) => Err(io::ErrorKind::TimedOut.into()),
        }
    };
    if passed.is_err() {
        let _ = (guest.set_zero_linger(), there.set_zero_linger());
    }
}

async fn one_way(
    from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
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

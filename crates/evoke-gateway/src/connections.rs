//! The connections of a listener: how many there may be, of all clients and of one, and which goes when there is no place left.
//!
//! A client that holds connections and says nothing costs the others nothing: when all places are taken, the connection that
//! has been without a request for longest makes room. Only where each has a request under way do further ones wait.
//!
//! Nobody keeps a clock for itself: one loop for the listener ([`Connections::look_after`]) tells each connection when it has been
//! silent or idle for too long, and all of them when the server stops. What a connection is told is one word, which it looks at
//! when it is woken.

use std::collections::HashMap;
use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures_util::task::AtomicWaker;
use http::Version;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::report::network;

/// Between two looks at least; what is due in between is told a little late.
const LOOK_MIN: Duration = Duration::from_millis(10);

/// The connections of one listener. Clones are the same.
#[derive(Clone)]
pub(crate) struct Connections(Arc<Inner>);

struct Inner {
    max: usize,
    of_one: usize,
    table: Mutex<Table>,
    /// One has ended.
    ended: Notify,
}

struct Table {
    next: u64,
    open: HashMap<u64, Arc<Open>>,
    clients: HashMap<IpAddr, usize>,
    /// What all were told.
    told: Word,
}

/// What a connection is told. The later ones are said after the earlier ones, or at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Word {
    /// Nothing.
    Stay,
    /// To take no further request.
    Finish,
    /// To end now.
    Leave,
}

/// For how long connections may be without a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Before the first, and between two of HTTP/1: as long as the next head may take.
    pub head: Duration,
    /// Until it is asked to end; with `head` on top it is cut.
    pub idle: Duration,
}

struct Open {
    client: IpAddr,
    told: AtomicU8,
    /// Of the connection's task.
    waker: AtomicWaker,
    usage: Mutex<Usage>,
}

struct Usage {
    stage: Stage,
    /// Requests under way.
    requests: usize,
    /// Since when there is none.
    quiet: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// TLS, which has a time limit of its own.
    Handshake,
    /// There was no request.
    Silent,
    /// There was one, of HTTP/1.
    One,
    /// There was one, of HTTP/2.
    Two,
}

/// The place of a connection, until it is dropped.
pub(crate) struct Place {
    connections: Connections,
    id: u64,
    open: Arc<Open>,
}

/// A request under way, until it is dropped.
pub(crate) struct Busy(Arc<Place>);

/// One client has as many connections as it may.
#[derive(Debug)]
pub(crate) struct TooMany;

impl Connections {
    pub fn new(max: usize, of_one: usize) -> Self {
        let table = Table { next: 0, open: HashMap::new(), clients: HashMap::new(), told: Word::Stay };
        Self(Arc::new(Inner { max, of_one, table: Mutex::new(table), ended: Notify::new() }))
    }

    /// Waits until there is a place for one more. A quiet connection is told to leave first.
    pub async fn room(&self) {
        loop {
            let ended = self.0.ended.notified();
            {
                let table = self.0.table.lock();
                if table.open.len() < self.0.max {
                    return;
                }
                let staying = table.open.values().filter(|open| open.told() < Word::Leave);
                let quiet = staying.filter_map(|open| Some((open.quiet_since()?, open)));
                if let Some((_, longest)) = quiet.min_by_key(|(since, _)| *since) {
                    longest.tell(Word::Leave);
                }
            }
            ended.await;
        }
    }

    /// Takes a place. An IPv6 network counts as one client.
    pub fn take(&self, client: IpAddr) -> Result<Arc<Place>, TooMany> {
        let client = network(client);
        let mut table = self.0.table.lock();
        let count = table.clients.entry(client).or_default();
        if *count >= self.0.of_one {
            return Err(TooMany);
        }
        *count += 1;
        let id = table.next;
        table.next += 1;
        let usage = Usage { stage: Stage::Handshake, requests: 0, quiet: Instant::now() };
        let open = Arc::new(Open {
            client,
            told: AtomicU8::new(table.told as u8),
            waker: AtomicWaker::new(),
            usage: Mutex::new(usage),
        });
        table.open.insert(id, open.clone());
        Ok(Arc::new(Place { connections: self.clone(), id, open }))
    }

    /// Tells those that are quiet for too long to end; all to finish when `stop` fires, and to leave when `end` does. Returns then,
    /// or when the last has ended after `stop`.
    pub async fn look_after(&self, patience: Patience, stop: CancellationToken, end: CancellationToken) {
        let mut stopping = false;
        loop {
            let ended = self.0.ended.notified();
            let Some(next) = self.look(patience, stopping) else { return };
            tokio::select! {
                biased;
                () = end.cancelled() => return self.tell_all(Word::Leave),
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    self.tell_all(Word::Finish);
                }
                () = ended, if stopping => {}
                () = sleep_until(next) => {}
            }
        }
    }

    /// Tells those whose time is over, and says when to look again; `None` when there is nobody left and nobody comes.
    fn look(&self, patience: Patience, stopping: bool) -> Option<Instant> {
        let now = Instant::now();
        let table = self.0.table.lock();
        if stopping && table.open.is_empty() {
            return None;
        }
        // Whoever comes or becomes quiet after this look is due after that.
        let latest = now + patience.head.min(patience.idle).max(LOOK_MIN);
        let due = table.open.values().filter_map(|open| open.look(patience, now));
        Some(due.fold(latest, Instant::min).max(now + LOOK_MIN))
    }

    fn tell_all(&self, word: Word) {
        let mut table = self.0.table.lock();
        table.told = word;
        table.open.values().for_each(|open| open.tell(word));
    }
}

impl Open {
    fn told(&self) -> Word {
        match self.told.load(Ordering::Acquire) {
            0 => Word::Stay,
            1 => Word::Finish,
            _ => Word::Leave,
        }
    }

    fn tell(&self, word: Word) {
        self.told.fetch_max(word as u8, Ordering::Release);
        self.waker.wake();
    }

    fn quiet_since(&self) -> Option<Instant> {
        let usage = self.usage.lock();
        (usage.requests == 0).then_some(usage.quiet)
    }

    /// Tells it what is due by now, and says when something will be if nothing happens.
    fn look(&self, patience: Patience, now: Instant) -> Option<Instant> {
        let (since, stage) = {
            let usage = self.usage.lock();
            (usage.quiet, if usage.requests == 0 { usage.stage } else { Stage::Handshake })
        };
        let leave = match stage {
            Stage::Handshake => return None,
            Stage::Silent | Stage::One => since + patience.head,
            Stage::Two => since + patience.idle + patience.head,
        };
        let finish = since + patience.idle;
        if now >= leave {
            self.tell(Word::Leave);
            return None;
        }
        if now < finish {
            return Some(finish.min(leave));
        }
        if self.told() < Word::Finish {
            self.tell(Word::Finish);
        }
        Some(leave)
    }
}

impl Place {
    /// Waits until the connection is told more than `before`. One waits at a time.
    pub async fn told(&self, before: Word) -> Word {
        poll_fn(|cx| {
            // In this order: what is said after the look wakes.
            self.open.waker.register(cx.waker());
            let told = self.open.told();
            if told > before { Poll::Ready(told) } else { Poll::Pending }
        })
        .await
    }

    /// From now on the client is waited for.
    pub fn listen(&self) {
        let mut usage = self.open.usage.lock();
        (usage.stage, usage.quiet) = (Stage::Silent, Instant::now());
    }

    /// Notes a request.
    pub fn busy(self: &Arc<Self>, version: Version) -> Busy {
        let mut usage = self.open.usage.lock();
        usage.requests += 1;
        usage.stage = if version == Version::HTTP_2 { Stage::Two } else { Stage::One };
        drop(usage);
        Busy(self.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut usage = self.0.open.usage.lock();
        usage.requests -= 1;
        usage.quiet = Instant::now();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.connections.0.table.lock();
        if let Some(open) = table.open.remove(&self.id)
            && let Some(count) = table.clients.get_mut(&open.client)
        {
            *count -= 1;
            if *count == 0 {
                table.clients.remove(&open.client);
            }
        }
        drop(table);
        self.connections.0.ended.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_a_network_of_addresses_has_the_places_of_one_client() {
        let connections = Connections::new(10, 2);
        let take = |client: &str| connections.take(client.parse().unwrap());
        let _held = (take("2001:db8:0:1::1").unwrap(), take("2001:db8:0:1::2").unwrap());
        assert!(take("2001:db8:0:1:ffff::3").is_err());
        assert!(take("2001:db8:0:2::1").is_ok() && take("192.0.2.1").is_ok());
    }
}

//! The connections of a listener: how many there may be, of all clients and of one, and which goes when there is no place left.
//!
//! A client that holds connections and says nothing costs the others nothing: when all places are taken, the connection that
//! has been without a request for longest makes room. Only where each has a request under way do further ones wait.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::report::network;

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

#[derive(Default)]
struct Table {
    next: u64,
    open: HashMap<u64, Open>,
    clients: HashMap<IpAddr, usize>,
}

struct Open {
    client: IpAddr,
    /// Requests under way.
    requests: usize,
    /// Since when there is none.
    quiet: Instant,
    evicted: CancellationToken,
}

/// The place of a connection, until it is dropped.
pub(crate) struct Place {
    connections: Connections,
    id: u64,
    /// Fires when the connection has to make room.
    pub evicted: CancellationToken,
}

/// A request under way, until it is dropped.
pub(crate) struct Busy(Arc<Place>);

/// One client has as many connections as it may.
#[derive(Debug)]
pub(crate) struct TooMany;

impl Connections {
    pub fn new(max: usize, of_one: usize) -> Self {
        Self(Arc::new(Inner { max, of_one, table: Mutex::default(), ended: Notify::new() }))
    }

    /// Waits until there is a place for one more. A quiet connection is asked to leave first.
    pub async fn room(&self) {
        loop {
            let ended = self.0.ended.notified();
            {
                let table = self.0.table.lock();
                if table.open.len() < self.0.max {
                    return;
                }
                let quiet =
                    table.open.values().filter(|open| open.requests == 0 && !open.evicted.is_cancelled());
                if let Some(longest) = quiet.min_by_key(|open| open.quiet) {
                    longest.evicted.cancel();
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
        let evicted = CancellationToken::new();
        table.open.insert(id, Open { client, requests: 0, quiet: Instant::now(), evicted: evicted.clone() });
        Ok(Arc::new(Place { connections: self.clone(), id, evicted }))
    }
}

impl Place {
    /// Notes a request.
    pub fn busy(self: &Arc<Self>) -> Busy {
        if let Some(open) = self.connections.0.table.lock().open.get_mut(&self.id) {
            open.requests += 1;
        }
        Busy(self.clone())
    }

    /// Since when there is no request, if there is none.
    pub fn quiet_since(&self) -> Option<Instant> {
        let table = self.connections.0.table.lock();
        table.open.get(&self.id).filter(|open| open.requests == 0).map(|open| open.quiet)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(open) = self.0.connections.0.table.lock().open.get_mut(&self.0.id) {
            open.requests -= 1;
            open.quiet = Instant::now();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.connections.0.table.lock();
        if let Some(Open { client, .. }) = table.open.remove(&self.id)
            && let Some(count) = table.clients.get_mut(&client)
        {
            *count -= 1;
            if *count == 0 {
                table.clients.remove(&client);
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

//! Which of this node's own functions a connection comes from, for requests that leave a function by the network and come
//! back to this server.
//!
//! Whoever connects for functions notes each connection's local address here; whoever accepts connections asks by the
//! address of the peer. A function cannot change what is noted.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;

/// The connections that functions of this node have open. Clones are the same.
#[derive(Clone, Default)]
pub struct Origins(Arc<Mutex<HashMap<SocketAddr, Arc<Present>>>>);

/// The calls that run in one network now: one, or all of the processes that share it.
#[derive(Debug, Default)]
pub struct Present(Mutex<Spans>);

#[derive(Debug, Default)]
struct Spans {
    running: Vec<String>,
    /// Of the call that ended last: what is sent while none runs was begun in its name at the latest.
    last: Option<String>,
}

/// A connection, while it is open.
#[derive(Debug)]
pub struct Open {
    origins: Origins,
    from: SocketAddr,
}

/// A call, while it runs.
#[derive(Debug)]
pub struct Running {
    present: Arc<Present>,
    span: String,
}

impl Origins {
    /// Notes a connection from this address. It is forgotten when the returned value is dropped.
    #[must_use]
    pub fn opened(&self, from: SocketAddr, by: &Arc<Present>) -> Open {
        let from = canonical(from);
        self.0.lock().insert(from, Arc::clone(by));
        Open { origins: self.clone(), from }
    }

    /// The spans of the calls that may have sent what comes from `peer` now: those that run, or the last one. `None`: it is no
    /// function of this node.
    pub fn spans(&self, peer: SocketAddr) -> Option<Vec<String>> {
        let present = self.0.lock().get(&canonical(peer)).cloned()?;
        let spans = present.0.lock();
        Some(if spans.running.is_empty() {
            spans.last.iter().cloned().collect()
        } else {
            spans.running.clone()
        })
    }
}

impl Present {
    /// Notes that the call with this span runs, until the returned value is dropped.
    #[must_use]
    pub fn enter(self: &Arc<Self>, span: &str) -> Running {
        self.0.lock().running.push(span.to_owned());
        Running { present: Arc::clone(self), span: span.to_owned() }
    }
}

/// A listener for both families sees IPv4 addresses as IPv6 ones.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

impl Drop for Open {
    fn drop(&mut self) {
        self.origins.0.lock().remove(&self.from);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut spans = self.present.0.lock();
        if let Some(at) = spans.running.iter().position(|span| *span == self.span) {
            spans.last = Some(spans.running.swap_remove(at));
        }
    }
}

impl fmt::Debug for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Origins({} connections)", self.0.lock().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_known_while_it_is_open_and_names_the_calls_that_run() {
        let (origins, instance) = (Origins::default(), Arc::new(Present::default()));
        let from: SocketAddr = "127.0.0.1:4000".parse().unwrap();
        let first = instance.enter("aa");
        let open = origins.opened(from, &instance);
        let second = instance.enter("bb");
        assert_eq!(origins.spans("[::ffff:127.0.0.1]:4000".parse().unwrap()).unwrap(), ["aa", "bb"]);
        drop(first);
        assert_eq!(origins.spans(from).unwrap(), ["bb"]);
        drop(second);
        assert_eq!(origins.spans(from).unwrap(), ["bb"], "what goes on in the background is the last one's");
        drop(open);
        assert_eq!(origins.spans(from), None);
    }
}

//! Connections of one function that are kept for its next request.

use std::time::Duration;

use hyper::client::conn::http1::SendRequest;
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use wasmtime_wasi_http::WasiBody;

/// How many, and how long without use.
const KEPT_MAX: usize = 16;
const IDLE: Duration = Duration::from_secs(30);

/// Connections without a request. All end with it.
pub(crate) struct Pool {
    kept: Mutex<Vec<Kept>>,
    ended: CancellationToken,
    _ends: DropGuard,
}

struct Kept {
    is_secure: bool,
    to: String,
    sender: SendRequest<WasiBody>,
    since: Instant,
}

impl Default for Pool {
    fn default() -> Self {
        let ended = CancellationToken::new();
        Self { kept: Mutex::default(), _ends: ended.clone().drop_guard(), ended }
    }
}

impl Pool {
    /// A connection to `to` that can be used at once.
    pub fn take(&self, is_secure: bool, to: &str) -> Option<SendRequest<WasiBody>> {
        let mut kept = self.kept.lock();
        kept.retain(|one| !one.sender.is_closed() && one.since.elapsed() < IDLE);
        let fits = |one: &Kept| one.is_secure == is_secure && one.to == to && one.sender.is_ready();
        let at = kept.iter().rposition(fits)?;
        Some(kept.swap_remove(at).sender)
    }

    /// Keeps a connection. It can be used again once its answer has been read.
    pub fn put(&self, is_secure: bool, to: String, sender: SendRequest<WasiBody>) {
        let mut kept = self.kept.lock();
        if kept.len() == KEPT_MAX {
            kept.remove(0);
        }
        kept.push(Kept { is_secure, to, sender, since: Instant::now() });
    }

    /// Fires when no connection is wanted any more.
    pub fn ended(&self) -> CancellationToken {
        self.ended.clone()
    }
}

//! Connections of a process to its runtime API.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::ask::Ask;
use super::guard::Guard;
use super::http::{Shared, serve_request};

/// Pause after an accept that failed for want of descriptors or memory.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);
/// Bytes of a connection that are read ahead: a head at most, or a part of a body.
const BUFFER_BYTES: usize = 96 << 10;

/// A listener and who may connect to it.
#[derive(Debug)]
pub(super) struct Listen {
    listener: TcpListener,
    guard: Guard,
    connections: Arc<Semaphore>,
    connections_max: usize,
    tasks: TaskTracker,
}

impl Listen {
    pub(super) fn new(
        listener: OwnedFd,
        guard: Guard,
        connections_max: usize,
        tasks: TaskTracker,
    ) -> io::Result<Self> {
        let listener = TcpListener::from_std(std::net::TcpListener::from(listener))?;
        let connections = Arc::new(Semaphore::new(connections_max));
        Ok(Self { listener, guard, connections, connections_max, tasks })
    }

    /// Accepts until `ended`; each connection has a task of its own, until then at most.
    pub(super) fn serve(self, shared: Arc<Shared>, ended: &CancellationToken) {
        let tasks = self.tasks.clone();
        tasks.spawn(ended.clone().run_until_cancelled_owned(self.accept(shared, ended.clone())));
    }

    async fn accept(self, shared: Arc<Shared>, ended: CancellationToken) {
        let mut told = false;
        loop {
            let (stream, peer) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(cause) => {
                    tracing::debug!(%cause, "a connection of a function cannot be accepted");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&self.connections).try_acquire_owned() else {
                let limit = self.connections_max;
                if !told {
                    let line = format!(
                        "more than {limit} connections to the runtime API at once; further ones are closed"
                    );
                    told = shared.asks.try_send(Ask::Tell(line)).is_ok();
                }
                continue;
            };
            if !self.guard.admits(&stream, peer) {
                tracing::warn!(%peer, "a process that is not the function's own wanted its runtime API");
                continue;
            }
            let connection = serve_connection(stream, Arc::clone(&shared));
            let until_end = ended.clone().run_until_cancelled_owned(connection);
            self.tasks.spawn(async move {
                let _place = place;
                until_end.await;
            });
        }
    }
}

async fn serve_connection(stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let headers_max = shared.headers_max;
    let service = service_fn(move |request| serve_request(request, Arc::clone(&shared)));
    // A client may be silent for as long as it likes: it takes up one of its own places.
    let served = http1::Builder::new()
        .header_read_timeout(None)
        .max_headers(headers_max)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(cause) = served {
        tracing::debug!(%cause, "a connection to a runtime API ended");
    }
}

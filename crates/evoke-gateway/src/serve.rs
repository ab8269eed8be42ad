//! Two listeners, their connections, and their end.
//!
//! Every connection and every HTTP/2 stream is a task on one tracker. On stop: no connection is accepted any more, those
//! there are finish their requests, and what is left after the grace period is cut.

use std::io;
use std::sync::Arc;

use hyper_util::rt::TokioTimer;
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connections::Connections;
use crate::control::{self, Hosts};
use crate::gateway::{Gateway, Shared};
use crate::listener::{Door, Listener};
use crate::threads::Threads;

impl Gateway {
    /// Answers requests on both listeners until `stop` fires, then finishes those it has, at most for
    /// [`Bounds::grace`](crate::Bounds::grace). The engine is not drained: that comes after.
    pub async fn serve(
        self,
        data: TcpListener,
        control: TcpListener,
        stop: CancellationToken,
    ) -> io::Result<()> {
        let hosts = Hosts::new(control.local_addr()?, &self.control_hosts);
        let port = data.local_addr()?.port();
        let (bounds, limits) = (self.bounds.clone(), self.engine.limits().clone());
        let tasks = Tasks { tracker: TaskTracker::new(), stop: stop.clone(), end: CancellationToken::new() };
        let mut gateway = self;
        let redirect = gateway.front.redirect.take();
        let renewal = gateway.front.renewal.take();
        let threads = Threads::new(std::mem::take(&mut gateway.threads));
        let shared = Arc::new(Shared::new(gateway, stop.clone(), tasks.tracker.clone()));
        let builder = builder(&tasks, &bounds, &limits);
        let certificates = shared.certificates.clone();
        let door = |what, tls, connections, threads| Listener {
            shared: shared.clone(),
            what,
            tls,
            threads,
            builder: builder.clone(),
            tasks: tasks.clone(),
            connections: Connections::new(connections, bounds.client_connections),
            requests: Arc::new(Semaphore::new(bounds.requests)),
        };
        let router = TowerToHyperService::new(control::router(shared.clone(), hosts));
        let watch = certificates.clone().map(|certificates| certificates.watch());
        let here = || Threads::new(Vec::new());
        let ((), (), data, ..) = tokio::join!(
            door(Door::Control(router), None, bounds.control_connections, here()).accept(control),
            async {
                if let Some(redirect) = redirect {
                    door(Door::Redirect(port), None, bounds.data_connections, here()).accept(redirect).await;
                }
            },
            door(Door::Data, certificates, bounds.data_connections, threads).accept_there(data),
            async {
                if let Some(watch) = watch {
                    stop.run_until_cancelled(watch).await;
                }
            },
            async {
                if let Some(renewal) = renewal {
                    stop.run_until_cancelled(renewal.run()).await;
                }
            },
        );
        tasks.tracker.close();
        if timeout(bounds.grace, tasks.tracker.wait()).await.is_err() {
            tracing::warn!(
                connections = tasks.tracker.len(),
                "requests were cut at the end of the grace period"
            );
            tasks.end.cancel();
            tasks.tracker.wait().await;
        }
        data
    }
}

/// What runs, and how it is told to end.
#[derive(Clone)]
pub(crate) struct Tasks {
    pub tracker: TaskTracker,
    /// Accept nothing more, finish.
    pub stop: CancellationToken,
    /// Cut what is left.
    pub end: CancellationToken,
}

/// HTTP/2 streams run on the tracker too.
impl<F> hyper::rt::Executor<F> for Tasks
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, stream: F) {
        let end = self.end.clone();
        self.tracker.spawn(async move { end.run_until_cancelled(stream).await });
    }
}

/// Header fields that hyper has room for without asking for memory: as many as it takes where nothing else is said.
const HYPER_FIELDS: usize = 100;

fn builder(
    tasks: &Tasks,
    bounds: &crate::Bounds,
    limits: &evoke_core::limits::Limits,
) -> auto::Builder<Tasks> {
    let mut builder = auto::Builder::new(tasks.clone());
    builder
        .http1()
        // Who sends nothing, or half a head, is told to leave (`connections`): a timer for each head would cost as much as reading it.
        .header_read_timeout(None)
        .max_buf_size(limits.header_bytes.max(8 << 10));
    // Fewer are counted before hyper reads them (`wire`).
    if limits.headers > HYPER_FIELDS {
        builder.http1().max_headers(limits.headers);
    }
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(bounds.streams)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .keep_alive_interval(bounds.head_timeout)
        .keep_alive_timeout(bounds.head_timeout);
    builder
}

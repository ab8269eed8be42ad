//! WebSockets to upstreams (RFC 6455 over HTTP/1.1): when both sides agreed, bytes go to and fro until one ends, both are
//! silent for too long, or the server stops. Any other upgrade is not passed on: what is behind would speak a protocol in
//! which nothing here knows where a request begins.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body as HttpBody;
use axum::response::Response;
use evoke_core::upstream::Passing;
use http::StatusCode;
use http::header::{CONNECTION, HeaderMap, HeaderValue, UPGRADE};
use http::request::Parts;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::gateway::Shared;
use crate::headers::strip_to_pass;
use crate::problem::{Refusal, kind};
use crate::turnover::Stay;

const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");
/// Bytes on their way in one direction.
const BUFFER_BYTES: usize = 16 << 10;

/// Marks a request whose connection may switch to another protocol after it: a GET over HTTP/1.1 with `Upgrade: websocket`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MaySwitch;

/// A client that wants a WebSocket, and the place it would have.
pub(crate) struct Wish {
    client: OnUpgrade,
    place: OwnedSemaphorePermit,
    stay: Stay,
}

impl Wish {
    /// Takes it out of a request, if it is one.
    pub fn of(shared: &Shared, parts: &mut Parts) -> Result<Option<Self>, Refusal> {
        let may = parts.extensions.get::<MaySwitch>().is_some();
        if !may || !is_websocket(&parts.headers) {
            return Ok(None);
        }
        let Some(client) = parts.extensions.remove::<OnUpgrade>() else { return Ok(None) };
        let limit = shared.bounds.tunnels as u64;
        let place = shared.tunnels.clone().try_acquire_owned().map_err(|_| {
            let detail =
                format!("{limit} WebSockets to upstreams are open, and there is no place for another");
            Refusal::new(kind::OVERLOADED, detail).limit("tunnels", limit).retry_after(shared.again(
                &shared.tunnel_turnover,
                1,
                limit,
            ))
        })?;
        Ok(Some(Self { client, place, stay: shared.tunnel_turnover.stay() }))
    }

    /// Asks the upstream for it.
    pub fn ask(&self, headers: &mut HeaderMap) {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, WEBSOCKET);
    }

    /// The upstream agreed: tells the client, and lets bytes pass as soon as it was told. `None`: it agreed to something else.
    pub fn grant(
        self,
        shared: &Shared,
        idle: Duration,
        mut answered: http::Response<Passing>,
    ) -> Option<Response> {
        if !is_websocket(answered.headers()) {
            return None;
        }
        let upstream = hyper::upgrade::on(&mut answered);
        let (parts, _) = answered.into_parts();
        let (held, stop) = ((self.place, self.stay, parts.extensions), shared.stop.clone());
        let client = self.client;
        shared.tracker.spawn(async move {
            let both = async { Ok::<_, hyper::Error>((client.await?, upstream.await?)) };
            if let Some(Ok((client, upstream))) = stop.run_until_cancelled(both).await {
                carry(client, upstream, idle, &stop).await;
            }
            drop(held);
        });
        let mut headers = parts.headers;
        strip_to_pass(&mut headers);
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, WEBSOCKET);
        let mut response = Response::new(HttpBody::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        *response.headers_mut() = headers;
        Some(response)
    }
}

/// Bytes both ways, until either side ends, `idle` passes without any, or `stop` fires.
async fn carry(client: Upgraded, upstream: Upgraded, idle: Duration, stop: &CancellationToken) {
    let (from_client, to_client) = tokio::io::split(TokioIo::new(client));
    let (from_upstream, to_upstream) = tokio::io::split(TokioIo::new(upstream));
    let moved = Arc::new(parking_lot::Mutex::new(Instant::now()));
    let quiet = async {
        loop {
            let last = *moved.lock();
            tokio::time::sleep_until(last + idle).await;
            if *moved.lock() == last {
                return;
            }
        }
    };
    tokio::select! {
        () = copy(from_client, to_upstream, &moved) => {}
        () = copy(from_upstream, to_client, &moved) => {}
        () = quiet => {}
        () = stop.cancelled() => {}
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    moved: &parking_lot::Mutex<Instant>,
) {
    let mut buffer = vec![0; BUFFER_BYTES];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        *moved.lock() = Instant::now();
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
    // Whether the other side still listens makes no difference to what follows.
    let _ = to.shutdown().await;
}

fn is_websocket(headers: &HeaderMap) -> bool {
    let mut upgrades = headers.get_all(UPGRADE).iter();
    let one = upgrades.next().is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    one && upgrades.next().is_none()
}

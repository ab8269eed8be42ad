//! A server that does nothing: the floor under the figures of servers that do something.

use std::convert::Infallible;
use std::net::SocketAddr;

use anyhow::Context;
use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Answers every request with `hello`, over HTTP/1.1, and returns only when it cannot go on.
pub(crate) async fn hello(address: SocketAddr) -> anyhow::Result<Infallible> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    let mut clients = JoinSet::new();
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let answer =
            |_| async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"hello")))) };
        let connection = http1::Builder::new().serve_connection(TokioIo::new(socket), service_fn(answer));
        clients.spawn(connection);
        // Each ends by its client's going, in whatever way.
        while clients.try_join_next().is_some() {}
    }
}

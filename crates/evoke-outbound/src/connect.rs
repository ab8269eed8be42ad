//! Connections, made by whoever knows which may be made.

use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use evoke_core::egress::{Destination, Host, Reach};
use futures_util::future::BoxFuture;
use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use crate::trust::Trust;

/// What became of connecting; the error is a sentence.
pub type Dialled = Result<TcpStream, String>;

/// Looks a destination up, checks its addresses, and connects to the very one that was checked.
pub type Dial = Arc<dyn Fn(Destination, Reach) -> BoxFuture<'static, Dialled> + Send + Sync>;

/// [`Dial`] as a client wants it, without TLS.
#[derive(Clone)]
pub(crate) struct Connector {
    pub dial: Dial,
    /// Where http may lead.
    pub plain: Reach,
}

impl Connector {
    /// With TLS for https, over HTTP/1.1.
    pub fn with_tls(self, trust: &Trust) -> HttpsConnector<Self> {
        let tls = HttpsConnectorBuilder::new().with_tls_config(trust.config()).https_or_http().enable_http1();
        tls.wrap_connector(self)
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotConnected(pub String);

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = NotConnected;
    type Future = BoxFuture<'static, Result<Self::Response, NotConnected>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NotConnected>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let reach = if uri.scheme_str() == Some("https") { Reach::Public } else { self.plain };
        let Some(destination) = destination(&uri) else {
            return Box::pin(async move { Err(NotConnected(format!("{uri} has no host"))) });
        };
        let dialled = (self.dial)(destination, reach);
        Box::pin(async move {
            let stream = dialled.await.map_err(NotConnected)?;
            // Requests are written whole; to wait for more only delays them.
            let _ = stream.set_nodelay(true);
            Ok(TokioIo::new(stream))
        })
    }
}

fn destination(uri: &Uri) -> Option<Destination> {
    let host = uri.host()?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let host = match bare.parse::<IpAddr>() {
        Ok(address) => Host::Address(address),
        Err(_) => Host::Name(bare.trim_end_matches('.').to_ascii_lowercase()),
    };
    let usual = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    Some(Destination { host, port: uri.port_u16().unwrap_or(usual) })
}

//! Requests to other servers: HTTP/1.1 over connections that the host makes and lends, if the function's list allows it.
//!
//! The host decides about each connection; what is said over it, it does not see. What tells whose request it is (`traceparent`,
//! `CDN-Loop`) is set here and not by the guest.

use std::collections::HashMap;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;
use std::time::Duration;

use http::uri::Scheme;
use http::{HeaderName, HeaderValue, Uri, header};
use http_body_util::BodyExt as _;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use evoke_worker::frame::compact::Marks;
use evoke_worker::frame::{CONNECTS_IN_FLIGHT, Kind};

use crate::connection::Common;
use crate::lent::Lent;
use crate::tls::Tls;

/// Bytes of the head of an answer.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Where a guest says nothing. The call's own time limit is there besides.
const PATIENCE: Duration = Duration::from_secs(600);
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");

/// What a process has for connections.
pub(crate) struct Network {
    pub lent: Lent,
    pub tls: Tls,
    pub tasks: TaskTracker,
}

/// The outgoing requests of one call.
pub(crate) struct Outgoing {
    call: u32,
    common: Arc<Common>,
    /// Whose requests they are.
    marks: Option<Marks>,
    /// Connections that were asked for; nothing once the call is over.
    asked: Mutex<Option<HashMap<u64, oneshot::Sender<Box<str>>>>>,
}

impl Outgoing {
    /// Of `call`, marked with `marks`. Connections are kept for the next call.
    pub fn new(call: u32, common: Arc<Common>, marks: Option<Marks>) -> Self {
        Self { call, common, marks, asked: Mutex::new(Some(HashMap::new())) }
    }

    /// The host has said what became of a connection: nothing, when it is on its way, or a word.
    pub fn connected(&self, number: u64, word: &str) {
        let asked = self.asked.lock().as_mut().and_then(|asked| asked.remove(&number));
        if let Some(asked) = asked {
            let _ = asked.send(word.into());
        }
    }

    /// The call is over: nothing is asked in its name any more, whatever of it still runs.
    pub fn end(&self) {
        self.asked.lock().take();
    }

    /// Sends a request and waits for the head of the answer.
    pub async fn send(
        &self,
        mut request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
    ) -> Result<http::Response<WasiBody>, Error> {
        let uri = std::mem::take(request.uri_mut());
        let (is_secure, to) = destination(&uri)?;
        let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        *request.uri_mut() = path.parse().map_err(|_| Error::HttpRequestUriInvalid)?;
        let authority = uri.authority().map_or("", http::uri::Authority::as_str);
        let host = HeaderValue::from_str(authority).map_err(|_| Error::HttpRequestUriInvalid)?;
        request.headers_mut().insert(header::HOST, host);
        for (name, value) in self.marks.as_ref().and_then(fields).into_iter().flatten() {
            request.headers_mut().insert(name, value);
        }
        let patience = |wanted: Option<Duration>| wanted.unwrap_or(PATIENCE);
        let mut sender = match self.common.pool.take(is_secure, &to) {
            Some(sender) => sender,
            None => {
                let connect = self.connect(is_secure, uri.host().unwrap_or_default(), &to);
                let limit = patience(options.and_then(|options| options.connect_timeout));
                tokio::time::timeout(limit, connect).await.map_err(|_| Error::ConnectionTimeout)??
            }
        };
        let limit = patience(options.and_then(|options| options.first_byte_timeout));
        let answer = tokio::time::timeout(limit, sender.send_request(request)).await;
        let response = answer.map_err(|_| Error::HttpResponseTimeout)??;
        self.common.pool.put(is_secure, to, sender);
        Ok(response.map(|body| body.map_err(Error::from).boxed_unsync()))
    }

    async fn connect(&self, is_secure: bool, host: &str, to: &str) -> Result<SendRequest<WasiBody>, Error> {
        let mut awaited = self.common.network.lent.expect();
        let (answer, answered) = oneshot::channel();
        {
            let mut asked = self.asked.lock();
            let asked = asked.as_mut().ok_or(Error::ConnectionTerminated)?;
            if asked.len() >= CONNECTS_IN_FLIGHT {
                return Err(Error::ConnectionLimitReached);
            }
            asked.insert(awaited.number, answer);
            // Under the lock, so that it leaves before the end of the call or not at all.
            self.common.outbox.frame(
                Kind::Connect,
                self.call,
                &[&awaited.number.to_le_bytes(), to.as_bytes()],
            );
        }
        match &*answered.await.map_err(|_| Error::ConnectionTerminated)? {
            "" => {}
            "denied" => return Err(Error::HttpRequestDenied),
            "prohibited" => return Err(Error::DestinationIpProhibited),
            "no_address" => return Err(Error::DnsError { rcode: None, info_code: None }),
            "too_many" => return Err(Error::ConnectionLimitReached),
            _ => return Err(Error::ConnectionRefused),
        }
        let socket = awaited.socket().await.ok_or(Error::ConnectionTerminated)?;
        let socket = StdUnixStream::from(socket);
        socket.set_nonblocking(true).map_err(Error::Connect)?;
        let socket = UnixStream::from_std(socket).map_err(Error::Connect)?;
        if is_secure {
            let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
            self.handshake(self.common.network.tls.connect(host, socket).await.map_err(Error::Tls)?).await
        } else {
            self.handshake(socket).await
        }
    }

    async fn handshake<S>(&self, socket: S) -> Result<SendRequest<WasiBody>, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) =
            Builder::new().max_buf_size(HEAD_BYTES_MAX).handshake(TokioIo::new(socket)).await?;
        // It ends with its function's socket. Whoever uses it sees its errors.
        let connection = self.common.pool.ended().run_until_cancelled_owned(connection);
        self.common.network.tasks.spawn(async move { drop(connection.await) });
        Ok(sender)
    }
}

/// What tells whose request it is.
fn fields(Marks { trace_id, span_id, hops }: &Marks) -> Option<[(HeaderName, HeaderValue); 2]> {
    let trace = [b"00-", &**trace_id, b"-", span_id, b"-01"].concat();
    let value = |bytes: &[u8]| HeaderValue::from_bytes(bytes).ok();
    Some([(TRACEPARENT, value(&trace)?), (CDN_LOOP, value(hops)?)])
}

/// Whether it is secure, and host and port.
fn destination(uri: &Uri) -> Result<(bool, String), Error> {
    let authority = uri.authority().ok_or(Error::HttpRequestUriInvalid)?;
    let is_secure = uri.scheme() == Some(&Scheme::HTTPS);
    let port = authority.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
    Ok((is_secure, format!("{}:{port}", authority.host())))
}

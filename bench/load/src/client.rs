//! One client: one connection, one request at a time.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use bytes::Bytes;
use http::header::HOST;
use http::{HeaderName, HeaderValue, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

/// Nobody waits longer for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// What all clients send, and when they measure.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Host and port.
    pub address: (String, u16),
    /// The `host` header field.
    pub host: HeaderValue,
    /// Path and query.
    pub path: String,
    /// Method.
    pub method: Method,
    /// Further header fields; `{n}` in a value is made unique.
    pub headers: Arc<[(HeaderName, String)]>,
    /// Body.
    pub body: Bytes,
    /// From one request of a client to its next one, at least.
    pub pace: Duration,
    /// Requests sent from here on count.
    pub from: Instant,
    /// No request is sent after this.
    pub until: Instant,
}

/// A connected client.
pub struct Client {
    plan: Plan,
    number: u32,
    sent: u64,
    sender: SendRequest<Full<Bytes>>,
    /// Drives the connection; ends with the client.
    _connection: JoinSet<hyper::Result<()>>,
}

impl Client {
    /// Connects.
    pub async fn connect(plan: Plan, number: u32) -> anyhow::Result<Self> {
        let (host, port) = &plan.address;
        let stream = TcpStream::connect((host.as_str(), *port))
            .await
            .with_context(|| format!("cannot connect to {host}:{port}"))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        Ok(Self { plan, number, sent: 0, sender, _connection: driver })
    }

    /// Sends requests until the plan ends. Returns the latency of each that counts, in microseconds, to the last byte of
    /// the answer. An answer of 400 or above is an error: figures of failures would mislead.
    pub async fn run(mut self) -> anyhow::Result<Vec<u32>> {
        let mut latencies_us = Vec::new();
        // Not all at once.
        let mut next = Instant::now() + self.plan.pace.mul_f64(f64::from(self.number % 64) / 64.0);
        loop {
            tokio::time::sleep_until(next).await;
            next += self.plan.pace;
            let begin = Instant::now();
            if begin >= self.plan.until {
                return Ok(latencies_us);
            }
            timeout(ANSWER_MAX, self.request()).await.context("no answer within 30 s")??;
            if begin >= self.plan.from {
                latencies_us.push(u32::try_from(begin.elapsed().as_micros()).unwrap_or(u32::MAX));
            }
        }
    }

    /// Sends one request and waits for the last byte of its answer. Returns the status.
    pub async fn ask(&mut self) -> anyhow::Result<u16> {
        let request = self.next_request()?;
        let answered = async {
            self.sender.ready().await?;
            let answer = self.sender.send_request(request).await?;
            let status = answer.status();
            answer.into_body().collect().await?;
            anyhow::Ok(status.as_u16())
        };
        timeout(ANSWER_MAX, answered).await.context("no answer within 30 s")?
    }

    async fn request(&mut self) -> anyhow::Result<()> {
        let request = self.next_request()?;
        let answer = self.sender.send_request(request).await?;
        let status = answer.status();
        let mut body = answer.into_body();
        if status.is_client_error() || status.is_server_error() {
            let text = body.collect().await?.to_bytes();
            bail!("answered {status}: {}", String::from_utf8_lossy(&text));
        }
        while let Some(frame) = body.frame().await {
            frame?;
        }
        Ok(())
    }

    fn next_request(&mut self) -> anyhow::Result<Request<Full<Bytes>>> {
        let unique = format!("{}-{}-{}", std::process::id(), self.number, self.sent);
        self.sent += 1;
        let mut request = Request::builder()
            .method(self.plan.method.clone())
            .uri(&self.plan.path)
            .header(HOST, &self.plan.host);
        for (name, value) in self.plan.headers.iter() {
            request = request.header(name, value.replace("{n}", &unique).replace("{t}", &since_epoch_us()));
        }
        Ok(request.body(Full::new(self.plan.body.clone()))?)
    }
}

#[expect(clippy::disallowed_methods, reason = "the receiver of the request compares it with its own clock")]
fn since_epoch_us() -> String {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros().to_string()
}

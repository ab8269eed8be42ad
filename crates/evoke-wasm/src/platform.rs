//! Requests to the platform API: outgoing HTTP of the guest that never leaves by a socket.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::{Buf, Bytes};
use http_body_util::{BodyExt as _, Full};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use wasmtime_wasi_http::{Error, WasiBody};

use evoke_worker::frame::message::{self, HeaderBounds, HeadersOut};
use evoke_worker::frame::{Kind, PLATFORM_IN_FLIGHT};

use crate::body;
use crate::outbox::Outbox;
use crate::wire::{AnswerHead, PlatformHead};

/// The host of the platform's address, `EVOKE_API`.
pub(crate) const HOST: &str = "evoke.internal";
/// Of a request's body; the frame has room for its head beside it.
const BODY_BYTES: usize = 8 << 20;
/// Of an answer. The host keeps far smaller ones.
const ANSWER_HEADERS: HeaderBounds = HeaderBounds { fields: 256, bytes: 256 << 10 };

/// The platform requests of one call.
#[derive(Debug)]
pub(crate) struct Platform {
    call: u32,
    outbox: Arc<Outbox>,
    last: AtomicU32,
    /// Nothing once the call is over.
    waiting: Mutex<Option<HashMap<u32, oneshot::Sender<Bytes>>>>,
}

impl Platform {
    /// For `call`.
    pub fn new(call: u32, outbox: Arc<Outbox>) -> Self {
        Self { call, outbox, last: AtomicU32::new(0), waiting: Mutex::new(Some(HashMap::new())) }
    }

    /// Hands an `ANSWER` to who waits for it.
    pub fn answer(&self, mut payload: Bytes) {
        if payload.len() < 4 {
            return;
        }
        let number = payload.get_u32_le();
        let waiting = self.waiting.lock().as_mut().and_then(|waiting| waiting.remove(&number));
        if let Some(waiting) = waiting {
            // Whoever does not wait any more does not need it.
            let _ = waiting.send(payload);
        }
    }

    /// The call is over: nothing is asked in its name any more, whatever of it still runs.
    pub fn end(&self) {
        self.waiting.lock().take();
    }

    /// Makes a request of the guest.
    pub async fn send(&self, request: http::Request<WasiBody>) -> Result<http::Response<WasiBody>, Error> {
        let (head, body) = request.into_parts();
        let too_large = Error::HttpRequestBodySize(Some(BODY_BYTES as u64));
        let body = body::collect(body, BODY_BYTES).await?.ok_or(too_large)?;
        let response = self.ask(http::Request::from_parts(head, body)).await?;
        Ok(response.map(|body| Full::new(body).map_err(|never| match never {}).boxed_unsync()))
    }

    /// Makes a request whose body is here.
    pub async fn ask(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, Error> {
        let (head, body) = request.into_parts();
        if body.len() > BODY_BYTES {
            return Err(Error::HttpRequestBodySize(Some(BODY_BYTES as u64)));
        }
        let path = head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let method = head.method.as_str();
        let out = PlatformHead { method, path, headers: HeadersOut(&head.headers) };
        let out = serde_json::to_vec(&out).map_err(|cause| Error::InternalError(Some(cause.to_string())))?;
        if out.len() + body.len() + 8 > Kind::Platform.payload_max() {
            return Err(Error::HttpRequestHeaderSectionSize(None));
        }
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let (to, answer) = oneshot::channel();
        let head_bytes = (out.len() as u32).to_le_bytes();
        {
            let mut waiting = self.waiting.lock();
            let waiting = waiting.as_mut().ok_or(Error::ConnectionTerminated)?;
            if waiting.len() >= PLATFORM_IN_FLIGHT {
                return Err(Error::ConnectionLimitReached);
            }
            waiting.insert(number, to);
            // Under the lock, so that it leaves before the end of the call or not at all.
            self.outbox.frame(Kind::Platform, self.call, &[&number.to_le_bytes(), &head_bytes, &out, &body]);
        }
        let _waiting = Waiting { number, platform: self };
        let answer = answer.await.map_err(|_| Error::ConnectionTerminated)?;
        read(answer).map_err(|cause| Error::InternalError(Some(cause)))
    }
}

/// Forgets a request when nobody waits for its answer any more.
struct Waiting<'a> {
    number: u32,
    platform: &'a Platform,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.platform.waiting.lock().as_mut().map(|waiting| waiting.remove(&self.number));
    }
}

fn read(mut payload: Bytes) -> Result<http::Response<Bytes>, String> {
    let short = || "the platform's answer is cut short".to_owned();
    if payload.len() < 4 {
        return Err(short());
    }
    let head_bytes = payload.get_u32_le() as usize;
    if payload.len() < head_bytes {
        return Err(short());
    }
    let head = payload.split_to(head_bytes);
    let head: AnswerHead<'_> = message::parse(Kind::Answer, &head).map_err(|cause| cause.to_string())?;
    let headers = head.headers.check(Kind::Answer, ANSWER_HEADERS).map_err(|cause| cause.to_string())?;
    let mut response = http::Response::new(payload);
    *response.status_mut() = http::StatusCode::from_u16(head.status).map_err(|cause| cause.to_string())?;
    *response.headers_mut() = headers;
    Ok(response)
}

//! Counts the calls that this instance has had: it is kept from one to the next.

use std::sync::atomic::{AtomicU32, Ordering};

use wasip3::http::types::{ErrorCode, Request, Response};
use wasip3::http_compat::http_into_wasi_response;

wasip3::http::service::export!(Count);

struct Count;

static CALLS: AtomicU32 = AtomicU32::new(0);

impl wasip3::exports::http::handler::Guest for Count {
    async fn handle(_request: Request) -> Result<Response, ErrorCode> {
        let calls = CALLS.fetch_add(1, Ordering::Relaxed) + 1;
        http_into_wasi_response(http::Response::new(format!("call {calls} of this instance\n")))
    }
}

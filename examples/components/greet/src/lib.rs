//! Greets whom the path names, and says how many calls this instance has had: always one.

use std::sync::atomic::{AtomicU32, Ordering};

use wasip2::http::types::{ErrorCode, Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

wasip2::http::proxy::export!(Greet);

struct Greet;

static CALLS: AtomicU32 = AtomicU32::new(0);

impl wasip2::exports::http::incoming_handler::Guest for Greet {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let name = path.rsplit('/').next().unwrap_or_default();
        let greeting = std::env::var("GREETING").unwrap_or_default();
        let calls = CALLS.fetch_add(1, Ordering::Relaxed) + 1;
        answer(out, &format!("{greeting}, {name}; call {calls} of this instance\n"));
    }
}

fn answer(out: ResponseOutparam, text: &str) {
    let response = OutgoingResponse::new(Fields::new());
    match response.body() {
        Ok(body) => {
            ResponseOutparam::set(out, Ok(response));
            // Whoever does not read it any more does not need it.
            if let Ok(stream) = body.write() {
                let _ = stream.blocking_write_and_flush(text.as_bytes());
            }
            let _ = OutgoingBody::finish(body, None);
        }
        Err(()) => ResponseOutparam::set(out, Err(ErrorCode::InternalError(None))),
    }
}

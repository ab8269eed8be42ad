//! A guest of `wasi:http/proxy@0.2` with data that is made at deploy.

use std::collections::HashMap;
use std::sync::Mutex;

use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

wit_bindgen::generate!({
    inline: "package evoke:preload; world preload { export wizer-initialize: func(); }",
});
wasip2::http::proxy::export!(App);
export!(App);

struct App;

static SQUARES: Mutex<Option<HashMap<u32, u32>>> = Mutex::new(None);

impl Guest for App {
    fn wizer_initialize() {
        *SQUARES.lock().unwrap() = Some((0..100_000).map(|n: u32| (n, n.wrapping_mul(n))).collect());
    }
}

impl wasip2::exports::http::incoming_handler::Guest for App {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let mut squares = SQUARES.lock().unwrap();
        let text = match squares.as_mut() {
            None => "nothing was preloaded".to_owned(),
            // Changes the table, which the next call must not see.
            Some(squares) => {
                let square = squares.get(&path[1..].parse().unwrap()).copied();
                let before = squares.len();
                squares.clear();
                format!("{square:?} of {before}")
            }
        };
        let response = OutgoingResponse::new(Fields::new());
        let body = response.body().unwrap();
        ResponseOutparam::set(out, Ok(response));
        body.write().unwrap().blocking_write_and_flush(text.as_bytes()).unwrap();
        OutgoingBody::finish(body, None).unwrap();
    }
}

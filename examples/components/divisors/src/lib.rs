//! How many divisors a number has, from a table of 128 MiB that is computed at deploy.

use std::sync::OnceLock;

use wasip2::http::types::{ErrorCode, Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

wit_bindgen::generate!({
    inline: "package examples:divisors; world preload { export wizer-initialize: func(); }",
});
wasip2::http::proxy::export!(Divisors);
export!(Divisors);

struct Divisors;

/// Numbers in the table, each with the count of its divisors.
const NUMBERS: usize = 32 << 20;
static TABLE: OnceLock<Vec<u32>> = OnceLock::new();

impl Guest for Divisors {
    fn wizer_initialize() {
        let mut table = vec![1u32; NUMBERS];
        for divisor in 2..NUMBERS {
            table[divisor..].iter_mut().step_by(divisor).for_each(|count| *count += 1);
        }
        let _ = TABLE.set(table);
    }
}

impl wasip2::exports::http::incoming_handler::Guest for Divisors {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let number = path.rsplit('/').next().and_then(|text| text.parse::<usize>().ok());
        let count = number.filter(|number| *number > 0).and_then(|number| TABLE.get()?.get(number).copied());
        match count {
            Some(count) => answer(out, 200, &format!("{count}\n")),
            None => answer(out, 404, &format!("it is no number from 1 to {}\n", NUMBERS - 1)),
        }
    }
}

fn answer(out: ResponseOutparam, status: u16, text: &str) {
    let response = OutgoingResponse::new(Fields::new());
    match (response.set_status_code(status), response.body()) {
        (Ok(()), Ok(body)) => {
            ResponseOutparam::set(out, Ok(response));
            // Whoever does not read it any more does not need it.
            if let Ok(stream) = body.write() {
                let _ = stream.blocking_write_and_flush(text.as_bytes());
            }
            let _ = OutgoingBody::finish(body, None);
        }
        _ => ResponseOutparam::set(out, Err(ErrorCode::InternalError(None))),
    }
}

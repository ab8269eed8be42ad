//! A guest of `wasi:http/service@0.3`: its path says what it does.

use wasip3::http::types::{ErrorCode, Fields, Request, Response};
use wasip3::{wit_future, wit_stream};

wasip3::http::service::export!(Guest);

struct Guest;

impl wasip3::exports::http::handler::Guest for Guest {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let path = request.get_path_with_query().unwrap_or_default();
        match path.as_str() {
            "/echo" => {
                let (_, done) = wit_future::new(|| Ok(()));
                let (body, trailers) = Request::consume_body(request, done);
                Ok(Response::new(Fields::new(), Some(body), trailers).0)
            }
            "/loop" => loop {
                std::hint::black_box(());
            },
            "/sleep" => {
                wasip3::clocks::monotonic_clock::wait_for(3_600_000_000_000).await;
                Err(ErrorCode::InternalError(None))
            }
            "/refuse" => Err(ErrorCode::HttpRequestDenied),
            "/panic" => panic!("of my own"),
            "/print" => {
                println!("from a service");
                Ok(text(""))
            }
            "/after" => {
                wit_bindgen::spawn_local(async {
                    wasip3::clocks::monotonic_clock::wait_for(20_000_000).await;
                    println!("after the answer");
                });
                Ok(text("answered"))
            }
            "/first" => {
                static CALLS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
                Ok(text(&CALLS.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string()))
            }
            _ => Ok(text("hello")),
        }
    }
}

fn text(text: &str) -> Response {
    let (mut to, body) = wit_stream::new();
    let (trailers_to, trailers) = wit_future::new(|| Ok(None));
    let response = Response::new(Fields::new(), Some(body), trailers).0;
    drop(trailers_to);
    let text = text.as_bytes().to_vec();
    wit_bindgen::spawn_local(async move {
        to.write_all(text).await;
    });
    response
}

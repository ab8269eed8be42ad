//! A guest of `wasi:http/service@0.3`: its path says what it does.

use wasip3::http::types::{ErrorCode, Fields, Request, Response};
use wasip3::{wit_future, wit_stream};
use wit_bindgen::StreamWriter;

wasip3::http::service::export!(Guest);

struct Guest;

impl wasip3::exports::http::handler::Guest for Guest {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let path = request.get_path_with_query().unwrap_or_default();
        let (path, argument) = path.split_once('?').unwrap_or((&path, ""));
        // A server may have it below a path of its own.
        match &path[path.rfind('/').unwrap_or(0)..] {
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
            "/grow" => {
                let mut held: Vec<Vec<u8>> = Vec::new();
                loop {
                    held.push(vec![1; 1 << 20]);
                    std::hint::black_box(&held);
                }
            }
            "/overflow" => Ok(text(&deeper(1).to_string())),
            "/exit" => std::process::exit(1),
            "/headers" => {
                let fields = Fields::new();
                for number in 0..argument.parse().unwrap() {
                    if fields.append(&format!("x-{number}"), b"1").is_err() {
                        return Ok(text(&format!("refused at {number}")));
                    }
                }
                Ok(streaming(fields, async |_| {}))
            }
            "/field" => {
                let long = vec![b'x'; argument.parse().unwrap()];
                let is_refused = Fields::new().append("x-long", &long).is_err();
                Ok(text(if is_refused { "refused" } else { "taken" }))
            }
            "/handles" => {
                let held: Vec<Fields> = (0..1_000_000).map(|_| Fields::new()).collect();
                Ok(text(&held.len().to_string()))
            }
            "/flood" => loop {
                println!("{}", "x".repeat(1000));
            },
            "/unended" => Ok(streaming(Fields::new(), async |to| {
                to.write_all(b"begun".to_vec()).await;
                wasip3::clocks::monotonic_clock::wait_for(3_600_000_000_000).await;
            })),
            "/unclosed" => {
                let (mut to, body) = wit_stream::new();
                let (trailers_to, trailers) = wit_future::new(|| Ok(None));
                let response = Response::new(Fields::new(), Some(body), trailers).0;
                drop(trailers_to);
                wit_bindgen::spawn_local(async move {
                    to.write_all(b"begun".to_vec()).await;
                    std::mem::forget(to);
                });
                Ok(response)
            }
            "/endless" => Ok(streaming(Fields::new(), async |to| {
                while to.write_all(vec![b'x'; 4096]).await.is_empty() {}
            })),
            "/trap-after-head" => Ok(streaming(Fields::new(), async |to| {
                to.write_all(b"begun".to_vec()).await;
                panic!("in the middle");
            })),
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
    let text = text.as_bytes().to_vec();
    streaming(Fields::new(), async |to| drop(to.write_all(text).await))
}

/// A response whose body is what `write` writes.
fn streaming(fields: Fields, write: impl AsyncFnOnce(&mut StreamWriter<u8>) + 'static) -> Response {
    let (mut to, body) = wit_stream::new();
    let (trailers_to, trailers) = wit_future::new(|| Ok(None));
    let response = Response::new(fields, Some(body), trailers).0;
    drop(trailers_to);
    wit_bindgen::spawn_local(async move { write(&mut to).await });
    response
}

#[allow(unconditional_recursion)]
fn deeper(depth: u64) -> u64 {
    std::hint::black_box(deeper(std::hint::black_box(depth + 1)) + depth)
}

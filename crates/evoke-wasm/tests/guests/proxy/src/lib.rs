//! A guest of `wasi:http/proxy@0.2`: its path says what it does, well or badly.

use std::io::{Read as _, Write as _};

use wasip2::clocks::monotonic_clock::subscribe_duration;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    Fields, IncomingRequest, Method, OutgoingBody, OutgoingRequest, OutgoingResponse, ResponseOutparam, Scheme,
};

wasip2::http::proxy::export!(Guest);

struct Guest;

impl wasip2::exports::http::incoming_handler::Guest for Guest {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let (path, argument) = path.split_once('?').unwrap_or((&path, ""));
        match path {
            "/" if is_event(&request) => event(&request, out),
            path if path.ends_with("/hello") => answer(out, 200, b"hello"),
            "/echo" => echo(&request, out),
            "/environment" => {
                let mut all: Vec<String> = std::env::vars().map(|(name, value)| format!("{name}={value}")).collect();
                all.sort();
                answer(out, 200, all.join("\n").as_bytes());
            }
            "/print" => {
                println!("first\nsecond");
                eprint!("without an end");
                answer(out, 200, b"");
            }
            "/flood" => loop {
                println!("{}", "x".repeat(1000));
            },
            path if path.starts_with("/wasm/") => decorate(argument, out),
            "/platform" => platform(&request, out, argument),
            "/outside" => {
                let got = fetch(Method::Get, Scheme::Http, "example.com", "/", &[]);
                answer(out, 200, format!("{got:?}").as_bytes());
            }
            "/fetch" => {
                let (scheme, rest) = argument.split_once("://").unwrap();
                let (host, path) = rest.split_once('/').unwrap();
                let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
                let got = fetch(Method::Get, scheme, host, &format!("/{path}"), &[]);
                let got = got.map(|(status, text)| (status, String::from_utf8_lossy(&text).into_owned()));
                answer(out, 200, format!("{got:?}").as_bytes());
            }
            "/files" => {
                let found = std::fs::read_dir("/").map(|entries| entries.count()).map_err(|e| e.to_string());
                answer(out, 200, format!("{found:?}").as_bytes());
            }
            "/sockets" => {
                let tried = std::net::TcpStream::connect("127.0.0.1:80").map(drop).map_err(|e| e.kind());
                answer(out, 200, format!("{tried:?}").as_bytes());
            }
            "/loop" => loop {
                std::hint::black_box(());
            },
            "/sleep" => subscribe_duration(3_600_000_000_000).block(),
            "/grow" => {
                let mut held: Vec<Vec<u8>> = Vec::new();
                loop {
                    held.push(vec![1; 1 << 20]);
                    std::hint::black_box(&held);
                }
            }
            "/overflow" => {
                answer(out, 200, &[deeper(1) as u8]);
            }
            "/panic" => panic!("of my own"),
            "/exit" => std::process::exit(1),
            "/nothing" => {}
            "/trap-after-head" => {
                let response = OutgoingResponse::new(Fields::new());
                let body = response.body().unwrap();
                ResponseOutparam::set(out, Ok(response));
                let mut stream = body.write().unwrap();
                stream.write_all(b"begun").unwrap();
                stream.flush().unwrap();
                panic!("in the middle");
            }
            "/unended" => {
                let response = OutgoingResponse::new(Fields::new());
                let body = response.body().unwrap();
                ResponseOutparam::set(out, Ok(response));
                let mut stream = body.write().unwrap();
                stream.write_all(b"begun").unwrap();
                stream.flush().unwrap();
                subscribe_duration(3_600_000_000_000).block();
            }
            "/endless" => {
                let response = OutgoingResponse::new(Fields::new());
                let body = response.body().unwrap();
                ResponseOutparam::set(out, Ok(response));
                let mut stream = body.write().unwrap();
                while stream.write_all(&[b'x'; 4096]).is_ok() {}
            }
            "/headers" => {
                let fields = Fields::new();
                for number in 0..argument.parse().unwrap() {
                    if fields.append(&format!("x-{number}"), b"1").is_err() {
                        return answer(out, 200, format!("refused at {number}").as_bytes());
                    }
                }
                ResponseOutparam::set(out, Ok(OutgoingResponse::new(fields)));
            }
            "/field" => {
                let long = vec![b'x'; argument.parse().unwrap()];
                let is_refused = Fields::new().append("x-long", &long).is_err();
                answer(out, 200, if is_refused { b"refused" } else { b"taken" });
            }
            "/handles" => {
                let held: Vec<Fields> = (0..1_000_000).map(|_| Fields::new()).collect();
                answer(out, 200, format!("{}", held.len()).as_bytes());
            }
            "/first" => {
                static CALLS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
                let calls = CALLS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                answer(out, 200, calls.to_string().as_bytes());
            }
            _ => answer(out, 404, b"no such path"),
        }
    }
}

fn answer(out: ResponseOutparam, status: u16, text: &[u8]) {
    let response = OutgoingResponse::new(Fields::from_list(&[("x-guest".to_owned(), b"proxy".to_vec())]).unwrap());
    response.set_status_code(status).unwrap();
    let body = response.body().unwrap();
    ResponseOutparam::set(out, Ok(response));
    let mut stream = body.write().unwrap();
    stream.write_all(text).unwrap();
    stream.flush().unwrap();
    drop(stream);
    OutgoingBody::finish(body, None).unwrap();
}

fn echo(request: &IncomingRequest, out: ResponseOutparam) {
    let incoming = request.consume().unwrap();
    let mut from = incoming.stream().unwrap();
    let response = OutgoingResponse::new(Fields::new());
    let body = response.body().unwrap();
    ResponseOutparam::set(out, Ok(response));
    let mut to = body.write().unwrap();
    std::io::copy(&mut from, &mut to).unwrap();
    to.flush().unwrap();
    drop(to);
    OutgoingBody::finish(body, None).unwrap();
}

fn is_event(request: &IncomingRequest) -> bool {
    request.headers().has("ce-specversion")
}

/// Answers with one event that tells of the one that came, in binary mode.
fn event(request: &IncomingRequest, out: ResponseOutparam) {
    let field = |name: &str| {
        let values = request.headers().get(name);
        String::from_utf8(values.first().cloned().unwrap_or_default()).unwrap()
    };
    let mut data = String::new();
    request.consume().unwrap().stream().unwrap().read_to_string(&mut data).unwrap();
    if field("ce-type") == "refused" {
        return answer(out, 500, b"not this one");
    }
    let fields = Fields::from_list(&[
        ("ce-specversion".to_owned(), b"1.0".to_vec()),
        ("ce-id".to_owned(), format!("{}-seen", field("ce-id")).into_bytes()),
        ("ce-source".to_owned(), b"/guest".to_vec()),
        ("ce-type".to_owned(), b"seen".to_vec()),
        ("content-type".to_owned(), b"application/json".to_vec()),
    ]);
    let response = OutgoingResponse::new(fields.unwrap());
    let body = response.body().unwrap();
    ResponseOutparam::set(out, Ok(response));
    let mut stream = body.write().unwrap();
    stream.write_all(data.as_bytes()).unwrap();
    drop(stream);
    OutgoingBody::finish(body, None).unwrap();
}

/// As a decorator: goes on with the body that came and hands out the one it was answered with, neither of which it reads.
fn decorate(argument: &str, out: ResponseOutparam) {
    if argument == "stop" {
        return answer(out, 403, b"stopped");
    }
    let named = [("evoke-body".to_owned(), b"incoming".to_vec()), ("x-web".to_owned(), b"1".to_vec())];
    let request = OutgoingRequest::new(Fields::from_list(&named).unwrap());
    let api = std::env::var("EVOKE_API").unwrap();
    request.set_method(&Method::Post).unwrap();
    request.set_scheme(Some(&Scheme::Http)).unwrap();
    request.set_authority(Some(api.strip_prefix("http://").unwrap())).unwrap();
    request.set_path_with_query(Some("/v1/next")).unwrap();
    let body = request.body().unwrap();
    let future = outgoing_handler::handle(request, None).unwrap();
    OutgoingBody::finish(body, None).unwrap();
    future.subscribe().block();
    let answered = future.get().unwrap().unwrap().unwrap();
    let named = answered.headers().get("evoke-body");
    let fields = named.into_iter().map(|value| ("evoke-body".to_owned(), value)).collect::<Vec<_>>();
    let response = OutgoingResponse::new(Fields::from_list(&fields).unwrap());
    response.set_status_code(answered.status()).unwrap();
    let body = response.body().unwrap();
    ResponseOutparam::set(out, Ok(response));
    OutgoingBody::finish(body, None).unwrap();
}

fn platform(request: &IncomingRequest, out: ResponseOutparam, path: &str) {
    let mut data = Vec::new();
    request.consume().unwrap().stream().unwrap().read_to_end(&mut data).unwrap();
    let api = std::env::var("EVOKE_API").unwrap();
    let host = api.strip_prefix("http://").unwrap();
    let (status, text) = fetch(request.method(), Scheme::Http, host, path, &data).unwrap();
    answer(out, status, &text);
}

fn fetch(method: Method, scheme: Scheme, host: &str, path: &str, data: &[u8]) -> Result<(u16, Vec<u8>), String> {
    // Which the host replaces: they would tell of another chain.
    let made_up = [("traceparent".to_owned(), b"00-made-up-01".to_vec()), ("cdn-loop".to_owned(), b"nobody".to_vec())];
    let request = OutgoingRequest::new(Fields::from_list(&made_up).unwrap());
    request.set_method(&method).unwrap();
    request.set_scheme(Some(&scheme)).unwrap();
    request.set_authority(Some(host)).unwrap();
    request.set_path_with_query(Some(path)).unwrap();
    let body = request.body().unwrap();
    let future = outgoing_handler::handle(request, None).map_err(|code| format!("{code:?}"))?;
    if !data.is_empty() {
        let mut stream = body.write().unwrap();
        stream.write_all(data).unwrap();
        stream.flush().unwrap();
    }
    OutgoingBody::finish(body, None).unwrap();
    future.subscribe().block();
    let response = future.get().unwrap().unwrap().map_err(|code| format!("{code:?}"))?;
    let mut text = Vec::new();
    response.consume().unwrap().stream().unwrap().read_to_end(&mut text).map_err(|e| e.to_string())?;
    Ok((response.status(), text))
}

#[allow(unconditional_recursion)]
fn deeper(depth: u64) -> u64 {
    std::hint::black_box(deeper(std::hint::black_box(depth + 1)) + depth)
}

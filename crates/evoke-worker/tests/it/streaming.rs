//! Bodies: both ways at once, larger than all buffers, cut short, thrown away.

use std::time::Duration;

use bytes::Bytes;
use evoke_core::body::{Body, BodyError};
use evoke_core::outcome::FailureCode;
use evoke_core::runtime::{Ended, Input, Report};
use tokio::sync::mpsc;

use crate::support::*;

/// Functions that answer with the request's body, chunk by chunk, in capitals.
const ECHO: &[(&str, &str)] = &[
    (
        "web.mjs",
        "export default { fetch: (request) => new Response(request.body.pipeThrough(new TextDecoderStream())
            .pipeThrough(new TransformStream({ transform: (text, to) => to.enqueue(text.toUpperCase()) })).pipeThrough(new TextEncoderStream())) };",
    ),
    (
        "asgi.py",
        "async def app(scope, receive, send):
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})
    more = True
    while more:
        message = await receive()
        more = message['more_body']
        await send({'type': 'http.response.body', 'body': message['body'].upper(), 'more_body': more})
",
    ),
    (
        "wsgi.py",
        "def app(environ, start_response):
    start_response('200 OK', [])
    source = environ['wsgi.input']
    while chunk := source.read1(65536):
        yield chunk.upper()
",
    ),
];

#[tokio::test]
async fn chunks_go_both_ways_while_the_request_is_open() {
    let host = Host::start().await;
    for &(file, source) in &ECHO[..2] {
        let mut guest = host.guest(&[(file, source)]).await;
        let (sender, body) = mpsc::channel(1);
        let (call, mut reports) =
            call(Input::Request(request("POST", "/", &[], Body::Stream(body))), PATIENCE);
        let client = async {
            sender.send(Ok(Bytes::from_static(b"one"))).await.unwrap();
            let Some(Report::Response(response)) = reports.recv().await else {
                panic!("{file}: no response")
            };
            let mut body = response.body;
            assert_eq!(body.chunk().await.unwrap().unwrap(), "ONE", "{file}");
            for word in ["two", "three"] {
                sender.send(Ok(Bytes::from_static(word.as_bytes()))).await.unwrap();
                assert_eq!(body.chunk().await.unwrap().unwrap(), word.to_uppercase(), "{file}");
            }
            drop(sender);
            assert!(body.chunk().await.is_none(), "{file}");
        };
        let (ended, ()) = tokio::join!(guest.instance.call(call), client);
        assert_eq!(ended, Ended::Returned { events: vec![] }, "{file}");
    }
}

#[tokio::test]
async fn bodies_larger_than_every_buffer_arrive_whole() {
    let host = Host::start().await;
    let bytes = Bytes::from(vec![b'a'; 5 << 20]);
    for &(file, source) in ECHO {
        let mut guest = host.guest(&[(file, source)]).await;
        for body in
            [Body::Full(bytes.clone()), chunked(bytes.clone(), 100_000), chunked(bytes.slice(..3000), 1)]
        {
            let outcome = guest.request(request("POST", "/", &[], body)).await;
            let told = outcome.answer().body.as_ref().unwrap();
            assert!(told.iter().all(|&byte| byte == b'A'), "{file}");
            assert!(told.len() == 5 << 20 || told.len() == 3000, "{file}: {}", told.len());
            assert!(guest.instance.is_usable(), "{file}");
        }
    }
}

#[tokio::test]
async fn lambda_bodies_are_held_whole() {
    let host = Host::start().await;
    let bytes = Bytes::from(vec![b'a'; 5 << 20]);
    for case in [
        (
            "main.mjs",
            "export const handler = (event) => ({ statusCode: 200, body: event.body.toUpperCase() });",
        ),
        (
            "main.py",
            "def handler(event, context): return {'statusCode': 200, 'body': event['body'].upper()}\n",
        ),
    ] {
        let outcome = host
            .guest(&[case])
            .await
            .request(request("POST", "/", &[("content-type", "text/plain")], bytes.clone()))
            .await;
        assert_eq!(outcome.answer().body.as_ref().unwrap().len(), 5 << 20, "{}", case.0);
    }
}

#[tokio::test]
async fn a_slow_reader_slows_the_writer_down() {
    let host = Host::start().await;
    // Counts what it could write before somebody read.
    let cases = [
        ("main.mjs", "let sent = 0; export default { async fetch(request) {
            if (request.url.endsWith('/sent')) return Response.json(sent);
            return new Response(new ReadableStream({ pull(c) { sent += 65536; if (sent > 64 << 20) c.close(); else c.enqueue(new Uint8Array(65536)); } }));
        } };"),
        ("main.py", "sent = 0
async def app(scope, receive, send):
    global sent
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})
    if scope['path'] == '/sent':
        return await send({'type': 'http.response.body', 'body': str(sent).encode()})
    while sent < 64 << 20:
        sent += 65536
        await send({'type': 'http.response.body', 'body': bytes(65536), 'more_body': True})
    await send({'type': 'http.response.body'})
"),
    ];
    for (file, source) in cases {
        let mut guest = host.guest(&[(file, source)]).await;
        let (call, mut reports) =
            call(Input::Request(request("GET", "/", &[], Body::empty())), Duration::from_secs(60));
        let client = async {
            let Some(Report::Response(mut response)) = reports.recv().await else {
                panic!("{file}: no response")
            };
            let mut read = 0;
            // Far less than a buffer of everything: one window here, one in the process, a few chunks between.
            while read < 8 << 20 {
                read += response.body.chunk().await.unwrap().unwrap().len();
            }
            // The reader goes away; the rest is thrown away and the call ends well.
            drop(response);
            while reports.recv().await.is_some() {}
        };
        let (ended, ()) = tokio::join!(guest.instance.call(call), client);
        assert_eq!(ended, Ended::Returned { events: vec![] }, "{file}");
        assert!(guest.instance.is_usable(), "{file}");
    }
}

#[tokio::test]
async fn what_nobody_reads_stays_unwritten() {
    let host = Host::start().await;
    let source = "import sys
async def app(scope, receive, send):
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})
    for sent in range(1, 1000):
        await send({'type': 'http.response.body', 'body': bytes(65536), 'more_body': True})
        print(sent)
";
    let mut guest = host.guest(&[("main.py", source)]).await;
    let (call, mut reports) = call(Input::Request(request("GET", "/", &[], Body::empty())), ENOUGH);
    let client = async {
        let mut last = 0;
        let mut held = None;
        while let Some(report) = reports.recv().await {
            match report {
                Report::Log { line, .. } => last = line.parse().unwrap(),
                Report::Response(response) => held = Some(response),
                other => panic!("{other:?}"),
            }
        }
        drop(held);
        last
    };
    let (ended, sent): (_, u32) = tokio::join!(guest.instance.call(call), client);
    assert_eq!(ended, Ended::TimedOut);
    // A window of four chunks, and four that fit between here and there.
    assert!((4..=10).contains(&sent), "{sent} chunks left the function");
}

#[tokio::test]
async fn a_request_that_breaks_off_fails_the_call_and_keeps_the_instance() {
    let host = Host::start().await;
    for &(file, source) in ECHO {
        let mut guest = host.guest(&[(file, source)]).await;
        for cause in
            [BodyError::TooLarge { limit_bytes: 5 }, BodyError::Aborted("connection reset".to_owned())]
        {
            let (sender, body) = mpsc::channel(2);
            sender.send(Ok(Bytes::from_static(b"one"))).await.unwrap();
            sender.send(Err(cause.clone())).await.unwrap();
            let outcome = guest.request(request("POST", "/", &[], Body::Stream(body))).await;
            assert_eq!(outcome.failure().code, FailureCode::Cancelled, "{file}: {outcome:?}");
            assert_eq!(outcome.failure().message, format!("request {cause}"), "{file}");
            assert!(guest.instance.is_usable(), "{file}");
        }
    }
}

#[tokio::test]
async fn a_request_body_may_be_left_unread() {
    let host = Host::start().await;
    let cases = [
        ("web.mjs", "export default { fetch: () => new Response('no thanks', { status: 413 }) };"),
        (
            "asgi.py",
            "async def app(scope, receive, send):\n    await send({'type': 'http.response.start', 'status': 413})\n    await send({'type': 'http.response.body', 'body': b'no thanks'})\n",
        ),
        ("wsgi.py", "def app(environ, start):\n    start('413 Too Large', [])\n    return [b'no thanks']\n"),
    ];
    for (file, source) in cases {
        let mut guest = host.guest(&[(file, source)]).await;
        for _ in 0..3 {
            let body = chunked(Bytes::from(vec![0; 1 << 20]), 100_000);
            let outcome = guest.request(request("POST", "/", &[], body)).await;
            assert_eq!(outcome.answer().text(), "no thanks", "{file}");
        }
    }
}

#[tokio::test]
async fn an_error_in_the_middle_of_a_body_cuts_it() {
    let host = Host::start().await;
    // More than may be sent before the head was passed on.
    let cases = [
        ("web.mjs", "export default { fetch: () => new Response(new ReadableStream({ async pull(c) {
            if (this.sent) throw new Error('halfway'); this.sent = true; c.enqueue(new TextEncoder().encode('half')); } })) };"),
        ("asgi.py", "async def app(scope, receive, send):\n    await send({'type': 'http.response.start', 'status': 200})\n    await send({'type': 'http.response.body', 'body': b'half' * 100_000, 'more_body': True})\n    raise RuntimeError('halfway')\n"),
        ("wsgi.py", "def app(environ, start):\n    start('200 OK', [])\n    yield b'half' * 100_000\n    yield b'more'\n    raise RuntimeError('halfway')\n"),
    ];
    for (file, source) in cases {
        let mut guest = host.guest(&[(file, source)]).await;
        let outcome = guest.get("/").await;
        assert!(outcome.failure().message.ends_with("halfway"), "{file}: {:?}", outcome.failure());
        // A stream of JavaScript forgets on an error what it has not handed over; then there is no answer at all.
        if file != "web.mjs" || outcome.response.is_some() {
            let cut = outcome.answer().body.as_ref().unwrap_err();
            assert!(cut.starts_with("body ended early: ") && cut.ends_with("halfway"), "{file}: {cut}");
        }
        assert!(guest.instance.is_usable(), "{file}");
    }
}

#[tokio::test]
async fn head_requests_get_no_body() {
    let host = Host::start().await;
    for case in [
        ("web.mjs", "export default { fetch: () => new Response('body') };"),
        ("lambda.mjs", "export const handler = () => 'body';"),
        ("lambda.py", "def handler(e, c): return 'body'\n"),
        (
            "asgi.py",
            "async def app(scope, receive, send):\n    await send({'type': 'http.response.start', 'status': 200})\n    await send({'type': 'http.response.body', 'body': b'body'})\n",
        ),
        ("wsgi.py", "def app(environ, start):\n    start('200 OK', [])\n    return [b'body']\n"),
    ] {
        let outcome = host.guest(&[case]).await.request(request("HEAD", "/", &[], Body::empty())).await;
        assert_eq!((outcome.answer().status, outcome.answer().text()), (200, String::new()), "{}", case.0);
    }
}

#[tokio::test]
async fn wait_until_keeps_the_call_open_after_the_response() {
    let host = Host::start().await;
    let source = "export default { fetch(request, env, ctx) {
        ctx.waitUntil(new Promise((done) => setTimeout(() => { console.log('afterwards'); done(); }, 50)));
        return new Response('now');
    } };";
    let outcome = host.guest(&[("main.mjs", source)]).await.get("/").await;
    assert_eq!(outcome.answer().text(), "now");
    assert_eq!(outcome.logs.len(), 1);
}

#[tokio::test]
async fn lengths_are_counted_and_not_believed() {
    let host = Host::start().await;
    let source = "export default { fetch: (request) => new Response(request.method === 'HEAD' ? null : 'four', { headers: { 'content-length': '400' } }) };";
    let mut guest = host.guest(&[("main.mjs", source)]).await;
    let outcome = guest.get("/").await;
    assert_eq!((outcome.answer().text().as_str(), outcome.answer().header("content-length")), ("four", None));
    let outcome = guest.request(request("HEAD", "/", &[], Body::empty())).await;
    assert_eq!(outcome.answer().header("content-length"), Some("400"));
}

#[tokio::test]
async fn a_body_of_exactly_one_window_may_be_followed_by_more() {
    let host = Host::start().await;
    let cases = [
        (
            "web.mjs",
            "export default { fetch: () => new Response(new ReadableStream({ start(c) {
            c.enqueue(new Uint8Array(262144)); c.enqueue(new Uint8Array(10)); c.close(); } })) };",
        ),
        (
            "lambda.py",
            "def handler(e, c): return {'statusCode': 200, 'isBase64Encoded': False, 'body': 'x' * 262154}\n",
        ),
        (
            "asgi.py",
            "async def app(scope, receive, send):\n    await send({'type': 'http.response.start', 'status': 200})\n    await send({'type': 'http.response.body', 'body': bytes(262144), 'more_body': True})\n    await send({'type': 'http.response.body', 'body': bytes(10)})\n",
        ),
        (
            "wsgi.py",
            "def app(environ, start):\n    start('200 OK', [])\n    return [bytes(262144), bytes(10)]\n",
        ),
    ];
    for (file, source) in cases {
        let outcome = host.guest(&[(file, source)]).await.get("/").await;
        assert_eq!(outcome.answer().body.as_ref().map(Bytes::len), Ok(262_154), "{file}");
    }
}

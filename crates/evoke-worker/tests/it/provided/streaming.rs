//! Answers that are sent while they are made.

use evoke_core::body::Body;
use evoke_core::outcome::FailureCode;

use super::*;

#[tokio::test]
async fn a_prelude_is_the_head_and_the_rest_the_body() {
    let host = Host::start().await;
    let source = "
id, _, _ = next_invocation()
def chunks():
    yield json.dumps({'statusCode': 203, 'headers': {'content-type': 'text/plain', 'content-length': '3'}, 'cookies': ['a=1', 'b=2']}).encode()
    yield bytes(8)
    for at in range(1000):
        yield b'%05d' % at
assert stream(id, chunks()) == 202
next_invocation()
";
    let mut guest = guest(&host, source).await;
    let outcome = guest.get("/").await;
    let answer = outcome.answer();
    assert_eq!(
        (answer.status, answer.header("content-type"), answer.header("content-length")),
        (203, Some("text/plain"), None)
    );
    let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
    let text = answer.text();
    assert_eq!((text.len(), &text[..10], &text[4990..]), (5000, "0000000001", "0099800999"));
    assert!(guest.instance.is_usable());
}

#[tokio::test]
async fn an_answer_without_a_prelude_is_streamed_as_it_is() {
    let host = Host::start().await;
    let source = "
id, _, _ = next_invocation()
stream(id, [b'hello ', b'world'], 'text/plain')
next_invocation()
";
    let outcome = guest(&host, source).await.get("/").await;
    let answer = outcome.answer();
    assert_eq!(
        (answer.status, answer.header("content-type"), answer.text()),
        (200, Some("text/plain"), "hello world".to_owned())
    );
}

#[tokio::test]
async fn the_head_is_reported_before_the_body_is_whole() {
    let host = Host::start().await;
    // It goes on only when its first part has been read, so an answer that waits for all of it would never come.
    let source = "
id, _, _ = next_invocation()
def chunks():
    yield b'{}' + bytes(8) + b'first'
    status, _, _ = call('GET', '/v1/kv/default/go')
    yield b'%d' % status
stream(id, chunks())
next_invocation()
";
    let mut guest = guest(&host, source).await;
    let platform: Platform = Box::new(|_| json_answer(200, serde_json::json!(1)));
    let input = evoke_core::runtime::Input::Request(request("GET", "/", &[], Body::empty()));
    let outcome = guest.run(input, PATIENCE, platform).await;
    assert_eq!(outcome.answer().text(), "first200");
}

#[tokio::test]
async fn an_error_in_the_trailers_ends_the_body_and_fails_the_call() {
    let host = Host::start().await;
    let source = "
error = b64encode(json.dumps({'errorMessage': 'the disk is full', 'errorType': 'IOError'}).encode()).decode()
trailers = [('Lambda-Runtime-Function-Error-Type', 'IOError'), ('Lambda-Runtime-Function-Error-Body', error)]
while True:
    id, _, payload = next_invocation()
    parts = [b'{}' + bytes(8) + b'part'] if payload['rawPath'] == '/late' else [b'{\"sta']
    stream(id, parts, trailers=trailers)
";
    let mut guest = guest(&host, source).await;
    let outcome = guest.get("/late").await;
    let failure = outcome.failure();
    assert_eq!(
        (failure.code, failure.message.as_str()),
        (FailureCode::FunctionError, "IOError: the disk is full")
    );
    assert_eq!(outcome.answer().body.as_ref().unwrap_err(), "body ended early: IOError: the disk is full");
    let outcome = guest.get("/early").await;
    assert_eq!(outcome.failure().message, "IOError: the disk is full");
    assert!(outcome.response.is_none());
    assert!(guest.instance.is_usable());
}

#[tokio::test]
async fn a_streamed_answer_that_breaks_off_is_a_violation() {
    let host = Host::start().await;
    let source = "
id, _, _ = next_invocation()
def chunks():
    yield b'{}' + bytes(8) + b'part'
    raise SystemExit
threading.Thread(target=stream, args=(id, chunks())).start()
time.sleep(60)
";
    let outcome = guest(&host, source).await.get("/").await;
    let failure = outcome.failure();
    assert_eq!(failure.code, FailureCode::ProtocolViolation);
    assert_eq!(failure.message, "broke off in the middle of a streamed answer");
    assert!(outcome.answer().body.is_err());
}

#[tokio::test]
async fn an_answer_to_head_has_no_body() {
    let host = Host::start().await;
    let source = "
while True:
    id, _, payload = next_invocation()
    if payload['rawPath'] == '/stream':
        stream(id, [json.dumps({'headers': {'content-length': '7'}}).encode() + bytes(8), b'ignored'])
    else:
        respond(id, {'statusCode': 200, 'headers': {'content-length': '7'}, 'body': 'ignored'})
";
    let mut guest = guest(&host, source).await;
    for path in ["/stream", "/"] {
        let outcome = guest.request(request("HEAD", path, &[], Body::empty())).await;
        let answer = outcome.answer();
        assert_eq!((answer.header("content-length"), answer.text()), (Some("7"), String::new()), "{path}");
    }
}

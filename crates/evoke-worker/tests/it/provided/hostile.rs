//! Bootstraps that break the rules. Nothing of it reaches the host, and each is told what it did.

use evoke_core::body::Body;
use evoke_core::record::LogStream;
use evoke_core::runtime::Input;
use serde_json::json;

use super::*;

#[tokio::test]
async fn answers_that_belong_to_nothing_are_refused() {
    let host = Host::start().await;
    let source = "
told = []
def tell(answer):
    status, _, body = answer
    told.append([status, json.loads(body)['errorType']])
tell(respond('early', 1))
id, fields, _ = next_invocation()
tell(respond('other', 1))
tell(fail('other', {}))
tell(respond(id, 1, {'Lambda-Runtime-Invocation-Id': 'run_01.2'}))
tell(call('POST', RUNTIME + '/init/error', '{}'))
tell(call('GET', RUNTIME + '/invocation/previous'))
tell(call('PUT', RUNTIME + '/invocation/next'))
respond(id, told, {'Lambda-Runtime-Invocation-Id': fields['lambda-runtime-invocation-id']})
again = [respond(id, 2)[0], fail(id, {})[0]]
print(again, flush=True)
next_invocation()
";
    let outcome = guest(&host, source).await.get("/").await;
    assert_eq!(
        outcome.answer().json(),
        json!([
            [400, "InvalidRequestID"],
            [400, "InvalidRequestID"],
            [400, "InvalidRequestID"],
            [400, "InvalidRequestID"],
            [403, "InvalidStateTransition"],
            [404, "NotFound"],
            [404, "NotFound"],
        ])
    );
    assert!(outcome.events().is_empty());
    assert_eq!(outcome.lines(LogStream::Stdout), ["[403, 403]"]);
    let told = outcome.lines(LogStream::Platform);
    assert_eq!(
        told[0],
        "the function's client posted an answer, which was refused with 400 Bad Request: invocation \"other\" is not under way"
    );
    assert_eq!(told.len(), 6, "{told:?}");
}

#[tokio::test]
async fn garbage_ends_its_own_connection_only() {
    let host = Host::start().await;
    let source = "
def send(data):
    host, port = API.split(':')
    wire = socket.create_connection((host, int(port)))
    try:
        wire.sendall(data)
        return wire.recv(4096).split(b'\\r\\n')[0].decode()
    except OSError:
        return 'closed'
told = [
    send(b'\\x16\\x03\\x01 hello\\r\\n\\r\\n'),
    send(b'GET / HTTP/1.1\\r\\nHost: x\\r\\n' + b'A: ' + b'b' * 10_000_000),
    send(b'GET / HTTP/1.1\\r\\n' + b'A: b\\r\\n' * 1000 + b'\\r\\n'),
    send(b'POST /v1/events HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 999999999\\r\\n\\r\\n'),
    send(b'POST /v1/events HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: -1\\r\\n\\r\\n'),
]
serve(lambda payload, fields: told)
";
    let outcome = guest(&host, source).await.get("/").await;
    let told = outcome.answer().json();
    assert_eq!(told[0], "HTTP/1.1 400 Bad Request", "{told}");
    assert!(
        ["closed", "HTTP/1.1 431 Request Header Fields Too Large", ""].contains(&told[1].as_str().unwrap()),
        "{told}"
    );
    assert_eq!(told[2], "HTTP/1.1 431 Request Header Fields Too Large", "{told}");
    assert_eq!(told[3], "HTTP/1.1 413 Payload Too Large", "{told}");
    assert_eq!(told[4], "HTTP/1.1 400 Bad Request", "{told}");
}

#[tokio::test]
async fn connections_are_bounded_and_the_function_is_told() {
    let host = Host::start().await;
    let source = "
host, port = API.split(':')
own = http.client.HTTPConnection(API)  # keeps its place whatever else is opened
while True:
    _, fields, _ = call('GET', RUNTIME + '/invocation/next', connection=own)
    opened = [socket.create_connection((host, int(port))) for _ in range(1000)]
    closed = 0
    for wire in opened[100:]:
        wire.settimeout(15)
        try:
            closed += wire.recv(1) == b''
        except ConnectionResetError:
            closed += 1
    for wire in opened:
        wire.close()
    id = fields['lambda-runtime-aws-request-id']
    call('POST', f'{RUNTIME}/invocation/{id}/response', str(closed), connection=own)
";
    let mut guest = guest(&host, source).await;
    let outcome = guest.get("/").await;
    assert_eq!(outcome.answer().json(), 900);
    let told = outcome.lines(LogStream::Platform);
    assert_eq!(told, ["more than 64 connections to the runtime API at once; further ones are closed"]);
    assert_eq!(guest.get("/").await.answer().json(), 900, "closed connections give their places back");
}

#[tokio::test]
async fn a_client_that_never_reads_holds_up_itself_only() {
    let host = Host::start().await;
    // Three thousand answers of a megabyte each, none of which is read.
    let source = "
host, port = API.split(':')
held = []
def handler(payload, fields):
    for _ in range(30):
        wire = socket.create_connection((host, int(port)))
        wire.sendall(b'GET /v1/kv/default/large HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n' * 100)
        held.append(wire)
    return call('GET', '/v1/kv/default/small')[0]
serve(handler)
";
    let mut guest = guest(&host, source).await;
    let large = serde_json::Value::String("x".repeat(1 << 20));
    let platform: Platform = Box::new(move |request| {
        json_answer(200, if request.path.ends_with("large") { large.clone() } else { json!(1) })
    });
    let input = Input::Request(request("GET", "/", &[], Body::empty()));
    let outcome = guest.run(input, PATIENCE, platform).await;
    assert_eq!(outcome.answer().json(), 200);
    // Of 3,000 those whose answers fit into the buffers of their sockets, and one more of each connection.
    assert!(outcome.asked.len() < 600, "{} were asked", outcome.asked.len());
}

#[tokio::test]
async fn a_prelude_without_an_end_fails_the_call() {
    let host = Host::start().await;
    let source = "
while True:
    id, _, payload = next_invocation()
    chunks = {'/endless': (b' ' * 65536 for _ in range(100)), '/bad': [b'[]' + bytes(8)], '/short': [b'{}']}
    try:
        stream(id, chunks[payload['rawPath']])
    except OSError:
        pass
";
    let mut guest = guest(&host, source).await;
    for (path, words) in [
        ("/endless", "the prelude of the streamed answer is longer than the limit of 524288 bytes"),
        ("/bad", "the prelude of the streamed answer is no JSON object"),
        ("/short", "the streamed answer ended before its prelude did"),
    ] {
        let outcome = guest.get(path).await;
        assert!(outcome.failure().message.starts_with(words), "{path}: {outcome:#?}");
        assert!(guest.instance.is_usable());
    }
}

#[tokio::test]
async fn a_half_posted_answer_can_be_posted_again() {
    let host = Host::start().await;
    let source = "
id, _, _ = next_invocation()
host, port = API.split(':')
wire = socket.create_connection((host, int(port)))
wire.sendall(f'POST {RUNTIME}/invocation/{id}/response HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 100\\r\\n\\r\\nhalf'.encode())
wire.close()
while respond(id, {'statusCode': 200})[0] != 202:
    pass
next_invocation()
";
    let outcome = guest(&host, source).await.get("/").await;
    assert!(outcome.events().is_empty(), "{outcome:#?}");
}

#[tokio::test]
async fn the_api_cannot_be_reached_from_another_function() {
    let host = Host::start().await;
    let source = "serve(lambda payload, fields: [API])";
    let mut first = guest(&host, source).await;
    let api = first.get("/").await.answer().json()[0].take();
    // Another function finds its own platform at the same address.
    let other = "
def handler(payload, fields):
    return [API, respond('run_01x', 1)[0]]
serve(handler)
";
    let mut spec = prepare(&host, other).await;
    spec.function = evoke_core::id::FunctionName::new("other").unwrap();
    let mut second = host.start_spec(spec).await.unwrap();
    let told = second.get("/").await.answer().json();
    if host.runtime.machine().unwrap().isolates_network() {
        assert_eq!(told, json!([api, 400]));
    } else {
        assert_ne!(told[0], api);
    }
}

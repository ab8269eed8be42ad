//! Decorators in each runtime that has a way to say `next`, in front of a server that knows nothing of them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;

use crate::evoke::{Running, command, folder, http, ready};
use crate::guests::guest;

const JS: &str = r#"export default {
  async fetch(request, env, ctx) {
    const query = new URL(request.url).searchParams;
    if (query.has("stop")) return new Response("stopped", { status: 403 });
    if (query.has("new")) request = new Request(request, { headers: { "x-new": "1" } });
    request.headers.set("x-web", "1");
    const body = query.has("read") ? { body: (await request.text()).toUpperCase() } : {};
    const response = await ctx.next(request, body);
    const fields = { ...Object.fromEntries(response.headers), "x-back": "web" };
    if (query.has("change")) return new Response((await response.text()) + "!", { status: 201, headers: fields });
    return new Response(response.body, { status: response.status, headers: fields });
  }
};
"#;

const PY: &str = r#"
def handler(event, context):
    query = event["rawQueryString"]
    if "stop" in query:
        return {"statusCode": 403, "body": "stopped"}
    event["headers"]["x-web"] = "1"
    if "new" in query:
        event["headers"] = {"x-new": "1"}
    if "read" in query:
        event = {**event, "body": event["body"].upper()}
    answer = context.next(event)
    answer["headers"]["x-back"] = "web"
    if "change" in query:
        answer["body"] = answer.text() + "!"
        answer["statusCode"] = 201
    return answer
"#;

const CJS: &str = r#"export const handler = async (event, context) => {
  const query = event.rawQueryString;
  if (query.includes("stop")) return { statusCode: 403, body: "stopped" };
  event.headers["x-web"] = "1";
  if (query.includes("new")) event.headers = { "x-new": "1" };
  if (query.includes("read")) event = { ...event, body: Buffer.from(event.body, event.isBase64Encoded ? "base64" : "utf8").toString().toUpperCase(), isBase64Encoded: false };
  const answer = await context.next(event);
  answer.headers["x-back"] = "web";
  if (query.includes("change")) return { ...answer, statusCode: 201, body: (await answer.text()) + "!" };
  return answer;
};
"#;

const ASGI: &str = r#"
async def app(scope, receive, send):
    if scope["type"] != "http":
        raise RuntimeError("http alone")
    context = scope["extensions"]["evoke"]["context"]
    query = scope["query_string"].decode()
    status, body = 200, b""
    fields = [(name.decode(), value.decode()) for name, value in scope["headers"]] + [("x-web", "1")]
    if "stop" in query:
        status, headers, body = 403, {}, b"stopped"
    else:
        if "new" in query:
            fields = [("x-new", "1")]
        changed = None
        if "read" in query:
            changed, more = b"", True
            while more:
                message = await receive()
                changed, more = changed + message["body"].upper(), message["more_body"]
        answer = await context.next_request(headers=fields, body=changed)
        status, headers = answer.status, answer.headers
        headers["x-back"] = "web"
        if "change" in query:
            status, body = 201, await answer.bytes() + b"!"
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
"#;

/// The functions by what they are written for, their file and its text.
const FUNCTIONS: [(&str, &str, &str); 6] = [
    ("web", "web.js", JS),
    ("lambda", "lambda.mjs", CJS),
    ("python", "python.py", PY),
    ("asgi", "asgi.py", ASGI),
    ("async", "coroutine.py", ""),
    ("wsgi", "wsgi.py", WSGI),
];

const WSGI: &str = r#"
def app(environ, start_response):
    context = environ["evoke.context"]
    query = environ["QUERY_STRING"]
    if "stop" in query:
        start_response("403 Forbidden", [])
        return [b"stopped"]
    fields = [("x-web", "1"), ("content-type", environ.get("CONTENT_TYPE", ""))]
    if "new" in query:
        fields = [("x-new", "1")]
    body = environ["wsgi.input"].read().upper() if "read" in query else None
    answer = context.next_request(headers=fields, body=body)
    answer.headers["x-back"] = "web"
    if "change" in query:
        body = answer.bytes() + b"!"
        start_response("201 Created", list(answer.headers.items()))
        return [body]
    start_response(f"{answer.status} OK", list(answer.headers.items()))
    return []
"#;

const PROVIDED: &str = r#"#!/bin/sh
set -eu
invocation=http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation
while :; do
  curl -fsS -D "$TMPDIR/head" -o "$TMPDIR/payload" "$invocation/next"
  id=$(sed -n 's/^lambda-runtime-aws-request-id: *//Ip' "$TMPDIR/head" | tr -d '\r')
  if grep -q '"rawQueryString":"stop"' "$TMPDIR/payload"; then
    curl -fsS -o "$TMPDIR/said" "$invocation/$id/response" -d '{ "statusCode": 403, "body": "stopped" }'
    continue
  fi
  curl -sS -D "$TMPDIR/answer" -o "$TMPDIR/said" -X POST -H 'evoke-body: incoming' -H 'x-web: 1' "$EVOKE_API/v1/next"
  name=$(sed -n 's/^evoke-body: *//Ip' "$TMPDIR/answer" | tr -d '\r')
  curl -fsS -o "$TMPDIR/said" "$invocation/$id/response" \
    -d "{ \"statusCode\": 200, \"headers\": { \"evoke-body\": \"$name\" } }"
done
"#;

/// A server of before: it says what it got, or gives 64 MiB where it is asked for `big`.
fn legacy() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            std::thread::spawn(move || while serve(&stream).is_some() {});
        }
    });
    port
}

const BIG: u64 = 64 << 20;

fn serve(mut stream: &TcpStream) -> Option<()> {
    let mut from = BufReader::new(stream);
    let (mut head, mut line) = (String::new(), String::new());
    while from.read_line(&mut line).ok()? > 2 {
        head += &line;
        line.clear();
    }
    let head = head.to_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
    let mut body = Vec::new();
    let mut rest = from.take(length.unwrap_or(0));
    let mut chunk = vec![0; 64 << 10];
    let mut read = 0;
    while let Ok(bytes @ 1..) = rest.read(&mut chunk) {
        read += bytes;
        if body.len() < 1000 {
            body.extend_from_slice(&chunk[..bytes.min(1000)]);
        }
    }
    if head.contains("/big") {
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {BIG}\r\n\r\n").ok()?;
        for _ in 0..BIG / chunk.len() as u64 {
            stream.write_all(&chunk).ok()?;
        }
        return Some(());
    }
    let web = head.contains("x-web: 1") as u8;
    let new = head.contains("x-new: 1") as u8;
    let body = String::from_utf8_lossy(&body[..body.len().min(20)]).into_owned();
    let said = format!("{read} {body} web={web} new={new}");
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{said}", said.len()).ok()
}

/// The server with the app; its data listener.
fn started() -> (tempfile::TempDir, Running, String) {
    let port = legacy();
    let mut manifest = "evoke = \"1\"\n[app]\nname = \"shop\"\n".to_owned();
    let asynchronous =
        PY.replace("def handler", "async def handler").replace("context.next(", "await context.next(");
    let asynchronous = asynchronous.replace("answer.text()", "await answer.text()");
    let mut files = Vec::new();
    for (name, file, text) in FUNCTIONS {
        manifest += &format!("[functions.{name}]\nsource = {file:?}\n");
        files.push((file, if name == "async" { asynchronous.clone() } else { text.to_owned() }));
    }
    for (name, _, _) in FUNCTIONS {
        manifest += &format!(
            "[[routes]]\npath = \"/{name}/{{*rest}}\"\ndecorators = [{name:?}]\nto = \"http://127.0.0.1:{port}\"\n"
        );
    }
    for (name, source) in [("wasm", "proxy.wasm"), ("provided", "provided/bootstrap")] {
        manifest += &format!(
            "[functions.{name}]\nsource = {source:?}\n[[routes]]\npath = \"/{name}/{{*rest}}\"\ndecorators = [{name:?}]\nto = \"http://127.0.0.1:{port}\"\n"
        );
    }
    manifest += &format!(
        "[[routes]]\npath = \"/both/{{*rest}}\"\ndecorators = [\"web\", \"python\"]\nto = \"http://127.0.0.1:{port}\"\n"
    );
    files.push(("evoke.toml", manifest));
    files.push(("provided/bootstrap", PROVIDED.to_owned()));
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let app = folder(&files);
    std::fs::copy(guest("proxy"), app.path().join("proxy.wasm")).unwrap();
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(app.path().join("provided/bootstrap"), mode).unwrap();
    let mut dev = Running::start(command(app.path()).args([
        "dev",
        ".",
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
        "--egress-allow",
        "127.0.0.1",
    ]));
    let [data, _] = dev.wait_for("both listeners", ready);
    dev.wait_for_talk("deployed shop version 1");
    (app, dev, data)
}

#[test]
fn in_each_runtime_a_decorator_changes_answers_and_passes_on() {
    let (_app, mut dev, data) = started();
    for (name, _, _) in FUNCTIONS {
        let said = |query: &str| {
            let reply = http(&data, "POST", &format!("/{name}/x?{query}"), "hello");
            (reply.status, reply.body)
        };
        assert_eq!(said(""), (200, "5 hello web=1 new=0".to_owned()), "{name}");
        assert_eq!(said("stop"), (403, "stopped".to_owned()), "{name}");
        assert_eq!(said("new").1.split("new=").nth(1), Some("1"), "{name}");
        assert!(said("new").1.starts_with("5 hello"), "{name}");
        assert_eq!(said("read"), (200, "5 HELLO web=1 new=0".to_owned()), "{name}");
        assert_eq!(said("change"), (201, "5 hello web=1 new=0!".to_owned()), "{name}");
    }
    // These read nothing of either body.
    for name in ["wasm", "provided"] {
        let reply = |query: &str| http(&data, "POST", &format!("/{name}/x?{query}"), "hello");
        assert_eq!((reply("").status, reply("").body.as_str()), (200, "5 hello web=1 new=0"), "{name}");
        assert_eq!((reply("stop").status, reply("stop").body.as_str()), (403, "stopped"), "{name}");
    }
    dev.signal("INT");
    assert_eq!(dev.wait().code(), Some(0), "{}", dev.stderr);
}

#[test]
fn a_large_body_passes_decorators_without_being_held() {
    let (_app, dev, data) = started();
    http(&data, "POST", "/both/x", "warm");
    let before = peak_kib(dev.pid());
    let mut client = TcpStream::connect(data.strip_prefix("http://").unwrap()).unwrap();
    write!(client, "POST /both/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {BIG}\r\n\r\n")
        .unwrap();
    let chunk = vec![b'x'; 64 << 10];
    for _ in 0..BIG / chunk.len() as u64 {
        client.write_all(&chunk).unwrap();
    }
    let mut said = String::new();
    client.read_to_string(&mut said).unwrap();
    assert!(said.contains(&format!("{BIG} xxxx")), "{said}");
    let mut client = TcpStream::connect(data.strip_prefix("http://").unwrap()).unwrap();
    client.write_all(b"GET /both/big HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
    let read = std::io::copy(&mut client, &mut std::io::sink()).unwrap();
    assert!(read > BIG, "{read}");
    let grown = peak_kib(dev.pid()) - before;
    assert!(grown < 16 << 10, "the server grew by {grown} KiB");
}

/// The most memory that a process has had.
fn peak_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_ascii_whitespace().next().unwrap().parse().unwrap()
}

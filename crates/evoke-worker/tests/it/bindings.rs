//! `env` in JavaScript, `evoke` in Python: what they ask of the platform, and what they make of its answers.

use bytes::Bytes;
use evoke_core::outcome::FailureCode;
use evoke_core::runtime::{Input, PlatformRequest, PlatformResponse};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::json;

use crate::support::*;

/// A request as one line.
fn line(request: &PlatformRequest) -> String {
    let field = |name: &str| request.headers.get(name).map(|value| value.to_str().unwrap());
    let mut line = format!("{} {}", request.method, request.path);
    for name in ["content-type", "if-revision"] {
        if let Some(value) = field(name) {
            line.push_str(&format!(" {name}={value}"));
        }
    }
    if !request.body.is_empty() {
        line.push_str(&format!(" {}", String::from_utf8_lossy(&request.body)));
    }
    line
}

/// Answers every request as if all went well.
fn obliging() -> Platform {
    Box::new(|request| {
        let path = request.path.split('?').next().unwrap();
        match (request.method.as_str(), path) {
            ("POST", "/v1/events") => {
                let events: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
                let count = events.as_array().map_or(1, Vec::len);
                let told: Vec<_> = (0..count)
                    .map(|at| json!({ "id": format!("evt_{at}"), "source": "/shop/sample" }))
                    .collect();
                json_answer(202, json!({ "events": told }))
            }
            ("POST", "/v1/waits") => {
                json_answer(202, json!({ "id": "run_1.w0", "until": "2027-01-15T08:00:00Z" }))
            }
            ("PUT", _) => json_answer(200, json!({ "revision": 13 })),
            ("DELETE", _) => json_answer(200, json!({ "revision": 14, "deleted": true })),
            ("GET", "/v1/kv/default/bytes") => entry("application/octet-stream", "\u{1}\u{2}"),
            ("GET", "/v1/kv/default/absent") => {
                json_answer(404, json!({ "code": "not_found", "detail": "no key \"absent\"" }))
            }
            ("GET", "/v1/kv/default") => json_answer(
                200,
                json!({ "entries": [{ "key": "a", "revision": 1, "value": 5 }, { "key": "b", "revision": 2, "bytes": "AQI=" }] }),
            ),
            ("GET", path) if path.starts_with("/v1/kv/") => entry("application/json", "{\"a\":[1,null]}"),
            (_, path) if path.starts_with("/v1/functions/") => {
                let mut headers = HeaderMap::new();
                headers.insert("x-from", HeaderValue::from_static("callee"));
                PlatformResponse { status: StatusCode::NOT_FOUND, headers, body: Bytes::from(line(request)) }
            }
            other => panic!("{other:?}"),
        }
    })
}

fn entry(kind: &'static str, body: &'static str) -> PlatformResponse {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static(kind));
    headers.insert("evoke-revision", HeaderValue::from_static("12"));
    PlatformResponse { status: StatusCode::OK, headers, body: Bytes::from(body) }
}

const JAVASCRIPT: &str = r#"
export default { async fetch(request, env) {
    const told = [];
    const tell = async (promise) => told.push(await promise);
    await tell(env.EVENTS.publish({ type: 'a', data: { n: 1 } }));
    await tell(env.EVENTS.publish([{ type: 'a' }, { type: 'b' }]));
    await tell(env.EVENTS.publish({ type: 'a' }, { delay: '1h30m' }));
    await tell(env.EVENTS.publish({ type: 'a' }, { deliverAt: new Date(1_800_000_000_000) }));
    const pattern = { data: { n: [1] } };
    await tell(env.EVENTS.waitFor({ event: 'a', pattern, timeout: '7d', then: 'f', data: { n: 1 } }));
    await tell(env.KV.get('a/b c.é'));
    await tell(env.KV.get('absent'));
    await tell(env.KV.getEntry('k'));
    await tell(env.KV.getEntry('absent'));
    await tell(env.KV.put('k', { x: [1] }, { ttl: '1h30m', ifRevision: 12 }));
    await tell(env.KV.put('k', null, { ttl: 1.5, ifRevision: 0 }));
    await tell(env.KV.put('k', 'text', { ifRevision: null }));
    await tell(env.KV.delete('k', { ifRevision: 3 }));
    await tell(env.KV.putBytes('bytes', new Uint8Array([65, 66])));
    await tell(env.KV.getBytes('bytes').then((bytes) => [...bytes]));
    await tell(env.KV.get('bytes').then((bytes) => [...bytes]));
    await tell(env.KV.list().then((entries) => entries.map((entry) => [entry.key, entry.revision])));
    await tell(env.KV.list({ prefix: 'a/', after: 'a/b', limit: 5, values: true }).then((entries) => [entries[0].value, [...entries[1].value]]));
    await tell(env.KV.namespace('other').get('..'));
    const response = await env.FUNCTIONS['my-fn'].fetch('/thumb?w=64', { method: 'POST', body: 'x', headers: { 'content-type': 'text/plain' } });
    told.push([response.status, response.headers.get('x-from'), await response.text()]);
    told.push(await (await env.FUNCTIONS.resize.fetch(new Request('http://anywhere/p'))).text());
    return Response.json(told);
} };
"#;

const PYTHON: &str = r#"
import datetime, evoke
def handler(event, context):
    response = evoke.functions.call('my-fn', '/thumb?w=64', body='x', headers={'Content-Type': 'text/plain'})
    return [
        evoke.events.publish({'type': 'a', 'data': {'n': 1}}),
        evoke.events.publish([{'type': 'a'}, {'type': 'b'}]),
        evoke.events.publish({'type': 'a'}, delay=datetime.timedelta(hours=1.5)),
        evoke.events.publish({'type': 'a'}, deliver_at='2027-01-15T08:00:00.000Z'),
        evoke.events.wait_for('a', pattern={'data': {'n': [1]}}, timeout='7d', then='f', data={'n': 1}),
        evoke.kv.get('a/b c.é'),
        evoke.kv.get('absent'),
        (lambda e: {'key': e.key, 'value': e.value, 'revision': e.revision, 'expiresAt': e.expires_at})(evoke.kv.get_entry('k')),
        evoke.kv.get_entry('absent'),
        evoke.kv.put('k', {'x': [1]}, ttl='1h30m', if_revision=12),
        evoke.kv.put('k', None, ttl=1.5, if_revision=0),
        evoke.kv.put('k', 'text', if_revision=None),
        evoke.kv.delete('k', if_revision=3),
        evoke.kv.put_bytes('bytes', b'AB'),
        list(evoke.kv.get_bytes('bytes')),
        list(evoke.kv.get('bytes')),
        [[e.key, e.revision] for e in evoke.kv.list()],
        (lambda es: [es[0].value, list(es[1].value)])(evoke.kv.list('a/', after='a/b', limit=5, values=True)),
        evoke.kv.namespace('other').get('..'),
        [response.status, response.headers['x-from'], response.text],
        evoke.functions.resize('/p').text,
    ]
"#;

const PYTHON_ASYNC: &str = r#"
import evoke
async def handler(event, context):
    evoke = __import__('evoke').aio
    response = await evoke.functions.call('my-fn', '/thumb?w=64', body='x', headers={'Content-Type': 'text/plain'})
    return [
        await evoke.events.publish({'type': 'a', 'data': {'n': 1}}),
        await evoke.events.publish([{'type': 'a'}, {'type': 'b'}]),
        await evoke.events.publish({'type': 'a'}, delay=5400),
        await evoke.events.publish({'type': 'a'}, deliver_at='2027-01-15T08:00:00.000Z'),
        await evoke.events.wait_for('a', pattern={'data': {'n': [1]}}, timeout=604800, then='f', data={'n': 1}),
        await evoke.kv.get('a/b c.é'),
        await evoke.kv.get('absent'),
        (lambda e: {'key': e.key, 'value': e.value, 'revision': e.revision, 'expiresAt': e.expires_at})(await evoke.kv.get_entry('k')),
        await evoke.kv.get_entry('absent'),
        await evoke.kv.put('k', {'x': [1]}, ttl='1h30m', if_revision=12),
        await evoke.kv.put('k', None, ttl=1.5, if_revision=0),
        await evoke.kv.put('k', 'text', if_revision=None),
        await evoke.kv.delete('k', if_revision=3),
        await evoke.kv.put_bytes('bytes', b'AB'),
        list(await evoke.kv.get_bytes('bytes')),
        list(await evoke.kv.get('bytes')),
        [[e.key, e.revision] for e in await evoke.kv.list()],
        (lambda es: [es[0].value, list(es[1].value)])(await evoke.kv.list('a/', after='a/b', limit=5, values=True)),
        await evoke.kv.namespace('other').get('..'),
        [response.status, response.headers['x-from'], response.text],
        (await evoke.functions.resize('/p')).text,
    ]
"#;

#[tokio::test]
async fn bindings_speak_the_platform_api() {
    let host = Host::start().await;
    for (file, source) in [("main.mjs", JAVASCRIPT), ("main.py", PYTHON), ("coroutine.py", PYTHON_ASYNC)] {
        let mut guest = host.guest(&[(file, source)]).await;
        for _ in 0..2 {
            let outcome = guest.run(Input::Request(post("/", "")), PATIENCE, obliging()).await;
            let mut asked: Vec<String> = outcome.asked.iter().map(line).collect();
            if file.ends_with(".py") {
                // The first of the calls to functions comes first there.
                let call = asked.remove(0);
                asked.insert(asked.len() - 1, call);
            }
            // The same snapshots for all three.
            insta::assert_snapshot!("asked", asked.join("\n"));
            insta::assert_json_snapshot!("told", outcome.answer().json());
        }
    }
}

#[tokio::test]
async fn refusals_are_errors_with_a_code() {
    let host = Host::start().await;
    let cases = [
        ("main.mjs", "export default { async fetch(request, env) {
            try { await env.KV.put('k', 1, { ifRevision: 9 }); } catch (error) { return Response.json([error.name, error.code, error.status, error.message]); }
        } };", "[\"EvokeError\",\"state_conflict\",409,\"key k is at revision 12\"]"),
        ("main.py", "import evoke
def handler(event, context):
    try: evoke.kv.put('k', 1, if_revision=9)
    except evoke.Conflict as error: return ['EvokeError', error.code, error.status, str(error)]
", "[\"EvokeError\",\"state_conflict\",409,\"key k is at revision 12\"]"),
    ];
    let conflict = || -> Platform {
        Box::new(|_| {
            json_answer(409, json!({ "code": "state_conflict", "detail": "key k is at revision 12" }))
        })
    };
    for (file, source, expected) in cases {
        let outcome = host
            .guest(&[(file, source)])
            .await
            .run(Input::Request(post("/", "")), PATIENCE, conflict())
            .await;
        assert_eq!(outcome.answer().text(), expected, "{file}");
    }
    let uncaught = [
        (
            "a.mjs",
            "export default { event: (event, env) => env.KV.put('k', 1) };",
            "EvokeError: key k is at revision 12",
        ),
        (
            "b.py",
            "import evoke\ndef handler(event, context): evoke.kv.put('k', 1)\n",
            "Conflict: key k is at revision 12",
        ),
        (
            "c.mjs",
            "export default { fetch(request, env) { env.KV.put('k', 1); return new Response(); } };",
            "EvokeError: unhandled rejection: key k is at revision 12",
        ),
    ];
    for (file, source, message) in uncaught {
        let input = if file == "c.mjs" { Input::Request(post("/", "")) } else { Input::Event(event()) };
        let outcome = host.guest(&[(file, source)]).await.run(input, PATIENCE, conflict()).await;
        assert_eq!(
            (outcome.failure().code, outcome.failure().message.as_str()),
            (FailureCode::FunctionError, message),
            "{file}"
        );
    }
}

#[tokio::test]
async fn wrong_arguments_are_told_before_anything_is_asked() {
    let host = Host::start().await;
    let cases = [
        (
            "a.mjs",
            "env.KV.put('k', undefined)",
            "TypeError: value of k is undefined, which JSON does not have",
        ),
        (
            "b.mjs",
            "env.KV.put('k', 1, { ifRevision: undefined })",
            "TypeError: ifRevision is undefined: give a revision, 0 for \"must be absent\", or leave it out",
        ),
        (
            "c.mjs",
            "env.KV.put('k', 1, { ttl: '5 parsecs' })",
            "TypeError: ttl is \"5 parsecs\": give seconds (60) or a duration (\"10m\"), above zero",
        ),
        ("d.mjs", "env.KV.get('')", "TypeError: key must be a string that is not empty"),
        ("e.mjs", "env.EVENTS.publish('text')", "TypeError: publish takes an event or an array of events"),
        ("f.py", "evoke.kv.put('k', {1, 2})", "TypeError: a value of type set is not JSON serializable"),
        (
            "g.py",
            "evoke.kv.put('k', 1, ttl=0)",
            "ValueError: ttl is 0: give seconds (60), a duration (\"10m\") or a timedelta, above zero",
        ),
        ("h.py", "evoke.kv.get(7)", "TypeError: key must be a str that is not empty, not 7"),
        (
            "i.py",
            "evoke.events.publish('text')",
            "TypeError: publish takes a dict or a list of dicts, not str",
        ),
        ("j.py", "evoke.functions.call('f', 'p')", "ValueError: path 'p' must start with /"),
    ];
    for (file, expression, message) in cases {
        let source = match file.ends_with(".py") {
            true => format!("import evoke\ndef handler(event, context): {expression}\n"),
            false => format!("export default {{ async fetch(request, env) {{ await {expression}; }} }};"),
        };
        let outcome = host.guest(&[(file, &source)]).await.get("/").await;
        assert_eq!(outcome.failure().message, message, "{file}");
    }
}

#[tokio::test]
async fn many_requests_at_once_are_all_answered() {
    let host = Host::start().await;
    let cases = [
        (
            "main.mjs",
            "export default { async fetch(request, env) {
            const all = await Promise.all(Array.from({ length: 500 }, (_, at) => env.KV.put(`k${at}`, at)));
            return Response.json(all.length);
        } };",
        ),
        (
            "coroutine.py",
            "import asyncio, evoke
async def handler(event, context):
    all = await asyncio.gather(*(evoke.aio.kv.put(f'k{at}', at) for at in range(500)))
    return len(all)
",
        ),
        (
            "threads.py",
            "import evoke
from concurrent.futures import ThreadPoolExecutor
def handler(event, context):
    with ThreadPoolExecutor(100) as pool:
        return len(list(pool.map(lambda at: evoke.kv.put(f'k{at}', at), range(500))))
",
        ),
        (
            "own_loop.py",
            "import asyncio, evoke
def handler(event, context):
    async def main():
        return await asyncio.gather(*(evoke.aio.kv.put(f'k{at}', at) for at in range(500)))
    return len(asyncio.run(main()))
",
        ),
    ];
    for (file, source) in cases {
        let mut guest = host.guest(&[(file, source)]).await;
        for _ in 0..2 {
            let outcome = guest.run(Input::Request(post("/", "")), PATIENCE, obliging()).await;
            assert_eq!(outcome.answer().text(), "500", "{file}: {:?}", outcome.ended);
            assert_eq!(outcome.asked.len(), 500, "{file}");
        }
    }
}

#[tokio::test]
async fn requests_that_were_not_awaited_are_made_before_the_call_ends() {
    let host = Host::start().await;
    let source = "export default { event(event, env) { env.KV.put('a', 1); env.KV.put('b', 2); } };";
    let outcome =
        host.guest(&[("main.mjs", source)]).await.run(Input::Event(event()), PATIENCE, obliging()).await;
    assert_eq!(outcome.asked.len(), 2);
    assert_eq!(outcome.events(), []);
}

#[tokio::test]
async fn bindings_do_not_outlive_their_call() {
    let host = Host::start().await;
    let source = "let kept; export default { async fetch(request, env) {
        if (!kept) { kept = env; return new Response('kept'); }
        try { await kept.KV.get('a'); } catch (error) { return new Response(error.message); }
    } };";
    let mut guest = host.guest(&[("main.mjs", source)]).await;
    guest.get("/").await;
    assert_eq!(
        guest.get("/").await.answer().text(),
        "the call is over: this binding belongs to it and cannot be used any more"
    );
}

#[tokio::test]
async fn a_platform_that_has_gone_is_an_error_in_the_function() {
    let host = Host::start().await;
    let source = "import evoke\ndef handler(event, context):\n    try: evoke.kv.get_bytes('a')\n    except evoke.Unavailable as error: return str(error)\n";
    let mut guest = host.guest(&[("main.py", source)]).await;
    let (call, mut reports) = call(Input::Request(post("/", "")), PATIENCE);
    let attempt = async {
        let mut answer = None;
        while let Some(report) = reports.recv().await {
            match report {
                evoke_core::runtime::Report::Platform { answer, .. } => drop(answer),
                evoke_core::runtime::Report::Response(response) => {
                    answer = Some(response.body.collect(1000).await.unwrap())
                }
                _ => {}
            }
        }
        answer
    };
    let (_, answer) = tokio::join!(guest.instance.call(call), attempt);
    assert_eq!(answer.unwrap(), "\"the attempt is over, nobody answers any more\"");
}

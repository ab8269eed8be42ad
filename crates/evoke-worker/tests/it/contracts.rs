//! How functions look: each contract for requests and for events, and how it is found.

use evoke_core::event::{Data, Event};
use evoke_core::manifest::RuntimeKind;
use evoke_core::outcome::FailureCode;
use evoke_core::runtime::{Ended, Input};

use std::time::Duration;

use crate::support::*;

/// Functions that answer a request alike, one per contract and way of writing it.
const ALIKE: &[(&str, &str)] = &[
    (
        "web.mjs",
        "export default { async fetch(request, env, ctx) {
            const url = new URL(request.url);
            return new Response(`${request.method} ${url.pathname}${url.search} ${await request.text()} ${env.COLOUR} ${ctx.run} ${ctx.attempt}`,
                { status: 201, headers: { 'x-a': request.headers.get('x-in') } });
        } };",
    ),
    (
        "web.js",
        "export default { async fetch(request, env, ctx) {
            const url = new URL(request.url);
            return new Response(`${request.method} ${url.pathname}${url.search} ${await request.text()} ${env.COLOUR} ${ctx.run} ${ctx.attempt}`,
                { status: 201, headers: { 'x-a': request.headers.get('x-in') } });
        } };",
    ),
    (
        "web.cjs",
        "module.exports = { async fetch(request, env, ctx) {
            const url = new URL(request.url);
            return new Response(`${request.method} ${url.pathname}${url.search} ${await request.text()} ${env.COLOUR} ${ctx.run} ${ctx.attempt}`,
                { status: 201, headers: { 'x-a': request.headers.get('x-in') } });
        } };",
    ),
    (
        "web.ts",
        "interface Env { COLOUR: string }
        enum Status { Created = 201 }
        export default { async fetch(request: Request, env: Env, ctx: { run: string; attempt: number }): Promise<Response> {
            const url = new URL(request.url);
            return new Response(`${request.method} ${url.pathname}${url.search} ${await request.text()} ${env.COLOUR} ${ctx.run} ${ctx.attempt}`,
                { status: Status.Created, headers: { 'x-a': request.headers.get('x-in')! } });
        } };",
    ),
    (
        "lambda.mjs",
        "export const handler = async (event, context) => ({
            statusCode: 201, headers: { 'X-A': event.headers['x-in'] },
            body: `${event.requestContext.http.method} ${event.rawPath}?${event.rawQueryString} ${event.body ?? ''} ${process.env.COLOUR} ${context.awsRequestId} ${context.attempt}`,
        });",
    ),
    (
        "lambda.js",
        "exports.handler = function (event, context, callback) {
            setImmediate(() => callback(null, {
                statusCode: 201, headers: { 'X-A': event.headers['x-in'] },
                body: `${event.requestContext.http.method} ${event.rawPath}?${event.rawQueryString} ${event.body ?? ''} ${process.env.COLOUR} ${context.awsRequestId} ${context.attempt}`,
            }));
        };",
    ),
    (
        "plain.py",
        "import os
def handler(event, context):
    http = event['requestContext']['http']
    body = f\"{http['method']} {event['rawPath']}?{event['rawQueryString']} {event.get('body', '')} {os.environ['COLOUR']} {context.aws_request_id} {context.attempt}\"
    return {'statusCode': 201, 'headers': {'X-A': event['headers']['x-in']}, 'body': body}
",
    ),
    (
        "coroutine.py",
        "import asyncio, os
async def handler(event, context):
    await asyncio.sleep(0)
    http = event['requestContext']['http']
    body = f\"{http['method']} {event['rawPath']}?{event['rawQueryString']} {event.get('body', '')} {os.environ['COLOUR']} {context.aws_request_id} {context.attempt}\"
    return {'statusCode': 201, 'headers': {'X-A': event['headers']['x-in']}, 'body': body}
",
    ),
    (
        "asgi.py",
        "import os
async def app(scope, receive, send):
    assert scope['type'] == 'http'
    body, more = b'', True
    while more:
        message = await receive()
        body, more = body + message['body'], message['more_body']
    context = scope['extensions']['evoke']['context']
    text = f\"{scope['method']} {scope['path']}?{scope['query_string'].decode()} {body.decode()} {os.environ['COLOUR']} {context.run} {context.attempt}\"
    await send({'type': 'http.response.start', 'status': 201, 'headers': [(b'x-a', dict(scope['headers'])[b'x-in'])]})
    await send({'type': 'http.response.body', 'body': text.encode()})
",
    ),
    (
        "wsgi.py",
        "import os
def app(environ, start_response):
    body = environ['wsgi.input'].read()
    context = environ['evoke.context']
    start_response('201 Created', [('X-A', environ['HTTP_X_IN'])])
    return [f\"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}?{environ['QUERY_STRING']} {body.decode()} {os.environ['COLOUR']} {context.run} {context.attempt}\".encode()]
",
    ),
];

#[tokio::test]
async fn all_contracts_answer_requests_alike() {
    let host = Host::start().await;
    for &(file, source) in ALIKE {
        let mut guest = host.guest(&[(file, source)]).await;
        for body in ["", "hello"] {
            let outcome = guest
                .request(request("POST", "/orders/7?x=1&y=%C3%A9", &[("x-in", "b")], body_of(body)))
                .await;
            assert_eq!(
                outcome.answer().text(),
                format!("POST /orders/7?x=1&y=%C3%A9 {body} green run_01 1"),
                "{file}: {outcome:?}"
            );
            assert_eq!(outcome.answer().status, 201, "{file}");
            assert_eq!(outcome.answer().header("x-a"), Some("b"), "{file}");
            assert_eq!(outcome.events().len(), 0, "{file}");
        }
    }
}

/// Functions that answer an event with two.
const EVENTS: &[(&str, &str)] = &[
    (
        "web.mjs",
        "export default { event: async (event, env, ctx) =>
            [{ type: 'a', data: { total: event.data.total } }, { type: 'b', id: 'mine', source: '/elsewhere', subject: event.id }] };",
    ),
    (
        "lambda.mjs",
        "export const handler = (event) =>
            [{ type: 'a', data: { total: event.data.total } }, { type: 'b', id: 'mine', source: '/elsewhere', subject: event.id }];",
    ),
    (
        "plain.py",
        "def handler(event, context):
    return [{'type': 'a', 'data': {'total': event['data']['total']}}, {'type': 'b', 'id': 'mine', 'source': '/elsewhere', 'subject': event['id']}]
",
    ),
    (
        "coroutine.py",
        "async def handler(event, context):
    return [{'type': 'a', 'data': {'total': event['data']['total']}}, {'type': 'b', 'id': 'mine', 'source': '/elsewhere', 'subject': event['id']}]
",
    ),
];

#[tokio::test]
async fn returned_events_are_completed() {
    let host = Host::start().await;
    for &(file, source) in EVENTS {
        let mut guest = host.guest(&[(file, source)]).await;
        let outcome = guest.event(event()).await;
        let told: Vec<_> = outcome
            .events()
            .iter()
            .map(|event| (event.ty(), event.id(), event.source(), event.subject()))
            .collect();
        assert_eq!(
            told,
            [("a", "run_01-0", "/shop/sample", None), ("b", "mine", "/elsewhere", Some("evt_1"))],
            "{file}"
        );
        assert!(outcome.response.is_none(), "{file}");
    }
}

#[tokio::test]
async fn handlers_may_answer_an_event_with_nothing() {
    let host = Host::start().await;
    let silent = [
        ("a.mjs", "export default { event() {} };"),
        ("b.mjs", "export const handler = async () => ({ statusCode: 200, body: 'ok' });"),
        ("c.py", "def handler(event, context):\n    pass\n"),
        ("d.py", "def handler(event, context):\n    return {'statusCode': 204}\n"),
        ("e.py", "async def handler(event, context):\n    return []\n"),
    ];
    for case in silent {
        let outcome = host.guest(&[case]).await.event(event()).await;
        assert_eq!(outcome.events(), [], "{}", case.0);
    }
}

#[tokio::test]
async fn what_a_contract_cannot_do_is_said() {
    let host = Host::start().await;
    let cases = [
        (
            "a.mjs",
            "export default { fetch() {} };",
            true,
            "TypeError: the function got an event, but a.mjs has no event handler: add event(event, env, ctx) to its default export",
        ),
        (
            "b.mjs",
            "export default { event() {} };",
            false,
            "TypeError: the function got a request, but b.mjs has no fetch handler: add fetch(request, env, ctx) to its default export",
        ),
        (
            "c.py",
            "async def app(scope, receive, send): pass\n",
            true,
            "TypeError: the function got an event, but c.py has only an ASGI application: define `def handler(event, context):` in a function of its own",
        ),
        (
            "d.py",
            "def app(environ, start_response): pass\n",
            true,
            "TypeError: the function got an event, but d.py has only a WSGI application: define `def handler(event, context):` in a function of its own",
        ),
        (
            "e.mjs",
            "export const handler = () => 'done';",
            true,
            "TypeError: the handler returned the string \"done\": an event is answered with nothing, or with CloudEvents (objects with a \"type\")",
        ),
        (
            "f.py",
            "def handler(event, context): return {'a': 1}\n",
            true,
            "TypeError: the handler returned a dict with 'a' in it: an event is answered with None, or with CloudEvents (dicts with a \"type\")",
        ),
        (
            "g.py",
            "def handler(event, context): return {'statusCode': 500}\n",
            true,
            "ValueError: the handler answered the event with status 500",
        ),
        (
            "h.mjs",
            "export default { fetch: () => 'text' };",
            false,
            "TypeError: the fetch handler returned string, not a Response",
        ),
        (
            "i.mjs",
            "export default { event: () => ({ type: 'a', id: '' }) };",
            true,
            "the handler returned something that is no event (number 0): ",
        ),
    ];
    for (file, source, is_event, message) in cases {
        let mut guest = host.guest(&[(file, source)]).await;
        let outcome = if is_event { guest.event(event()).await } else { guest.get("/").await };
        assert_eq!(outcome.failure().code, FailureCode::FunctionError, "{file}");
        assert!(outcome.failure().message.starts_with(message), "{file}: {}", outcome.failure().message);
        assert!(guest.instance.is_usable(), "{file}");
    }
}

#[tokio::test]
async fn the_manifest_may_name_the_handler() {
    let host = Host::start().await;
    let cases = [
        ("a.mjs", "export const handler = () => 1; export const other = () => 2;", "other", "2"),
        ("b.mjs", "export const site = { fetch: () => new Response('2') };", "site", "2"),
        ("c.js", "exports.handler = () => 1; exports['ot' + 'her'] = () => 2;", "other", "2"),
        (
            "d.py",
            "def handler(event, context): return 1\ndef other(event, context): return 2\n",
            "other",
            "2",
        ),
        (
            "e.py",
            "class Site:\n    async def __call__(self, scope, receive, send):\n        await send({'type': 'http.response.start', 'status': 200})\n        await send({'type': 'http.response.body', 'body': b'2'})\nsite = Site()\n",
            "site",
            "2",
        ),
        (
            "f.py",
            "class Site:\n    def __call__(self, environ, start):\n        start('200 OK', [])\n        return [b'2']\napplication = Site()\n",
            "application",
            "2",
        ),
    ];
    for (file, source, handler, expected) in cases {
        let mut spec = host.prepare(&[(file, source)]).await.unwrap();
        spec.handler = Some(handler.to_owned());
        let mut guest = host.start_spec(spec).await.unwrap();
        let outcome = guest.get("/").await;
        assert_eq!(outcome.answer().text(), expected, "{file}: {outcome:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_loaded_is_told_with_its_place() {
    let host = Host::start().await;
    let cases: [(&[(&str, &str)], &str); 9] = [
        (
            &[("a.mjs", "export const x = 1;")],
            "TypeError: a.mjs has no handler: define `export default { fetch(request, env, ctx) {…} }` (or event), or `export const handler = async (event, context) => {…}`",
        ),
        (
            &[("b.py", "x = 1\n")],
            "TypeError: b.py has no handler: define `def handler(event, context):`, or an ASGI or WSGI application named `app`",
        ),
        (
            &[("c.mjs", "export const handler = 7;")],
            "TypeError: c.mjs: handler is a number, not a function: define `export default",
        ),
        (
            &[("d.py", "def handler(event, context):\n    return (\n\n")],
            "d.py:2: SyntaxError: '(' was never closed",
        ),
        (
            &[("e.py", "import evoke\n\nevoke.kv.get('a')\ndef handler(e, c): pass\n")],
            "e.py:3: RuntimeError: the platform can only be asked while a call runs, not while the module is loaded",
        ),
        (
            &[("f.py", "import no_such_thing\n")],
            "f.py:1: ModuleNotFoundError: No module named 'no_such_thing': packages have to be deployed next to the function (pip install --target <folder> no_such_thing)",
        ),
        (&[("g.mjs", "\nthrow new Error('not today');")], "g.mjs:2: Error: not today"),
        (
            &[(
                "h.ts",
                "type A = string;\n\nconst f = (): A => { throw new RangeError('not today'); };\nf();\nexport {};",
            )],
            "h.ts:3: RangeError: not today",
        ),
        (
            &[("i.mjs", "import 'no-such-package';\nexport const handler = 1;")],
            "Error: Cannot find package 'no-such-package' imported from i.mjs",
        ),
    ];
    for (files, message) in cases {
        let failure = host.refused(files).await;
        assert_eq!(failure.code, FailureCode::InitError, "{failure:?}");
        assert!(failure.message.starts_with(message), "{}", failure.message);
    }
}

#[tokio::test]
async fn modules_beside_the_function_can_be_imported() {
    let host = Host::start().await;
    let python: &[(&str, &str)] = &[
        (
            "functions/main.py",
            "import near, far\nfrom vendored import thing\ndef handler(event, context): return [near.x, far.x, thing]\n",
        ),
        ("functions/near.py", "x = 1\n"),
        ("far.py", "x = 2\n"),
        ("functions/site-packages/vendored/__init__.py", "thing = 3\n"),
    ];
    assert_eq!(host.guest(python).await.get("/").await.answer().text(), "[1,2,3]");
    let node: &[(&str, &str)] = &[
        ("functions/main.ts", "import { x } from './near.ts'; import y from '../far'; import z from 'vendored'; import { w } from './near.js'; export * from './near.ts';
            export const handler = async () => [x, y, z, w, (await import('./late.ts')).v, (await import('./plain.mjs')).u];"),
        ("functions/near.ts", "export const x: number = 1; export const w: number = 4;"),
        ("functions/late.ts", "export const v = 5 as const;"),
        ("functions/plain.mjs", "export const u = 6;"),
        ("far/index.ts", "const y: number = 2; export default y;"),
        ("node_modules/vendored/package.json", "{\"main\": \"it.js\"}"),
        ("node_modules/vendored/it.js", "module.exports = 3;"),
    ];
    assert_eq!(host.guest(node).await.get("/").await.answer().text(), "[1,2,3,4,5,6]");
    let common: &[(&str, &str)] = &[
        ("main.cts", "const { x } = require('./lib') as { x: number }; exports.handler = () => x;"),
        ("lib.ts", "exports.x = 1 as number;"),
    ];
    assert_eq!(host.guest(common).await.get("/").await.answer().text(), "1");
}

#[tokio::test]
async fn folders_start_with_their_main_file() {
    let host = Host::start().await;
    let node: &[(&str, &str)] = &[
        ("fn/package.json", "{\"type\": \"module\", \"main\": \"src/main.ts\"}"),
        ("fn/src/main.ts", "export const handler = (): string => 'main';"),
    ];
    let spec = host.prepare_as(RuntimeKind::Node, "fn", node).await.unwrap();
    assert_eq!(host.start_spec(spec).await.unwrap().get("/").await.answer().text(), "\"main\"");
    let python: &[(&str, &str)] = &[("fn/main.py", "def handler(event, context): return 'main'\n")];
    let spec = host.prepare_as(RuntimeKind::Python, "fn", python).await.unwrap();
    assert_eq!(host.start_spec(spec).await.unwrap().get("/").await.answer().text(), "\"main\"");
}

#[tokio::test]
async fn asgi_lifespan_runs_around_all_calls() {
    let host = Host::start().await;
    let source = "import json, os, time
async def app(scope, receive, send):
    if scope['type'] == 'lifespan':
        assert (await receive())['type'] == 'lifespan.startup'
        scope['state']['up'] = True
        await send({'type': 'lifespan.startup.complete'})
        assert (await receive())['type'] == 'lifespan.shutdown'
        time.sleep(0.5)
        await send({'type': 'lifespan.shutdown.complete'})
        return
    await send({'type': 'http.response.start', 'status': 200})
    await send({'type': 'http.response.body', 'body': json.dumps([scope['state'], os.getpid(), os.readlink('/proc/self/ns/pid')]).encode()})
";
    let mut guest = host.guest(&[("main.py", source)]).await;
    let (state, pid, namespace): (serde_json::Value, i32, String) =
        serde_json::from_value(guest.get("/").await.answer().json()).unwrap();
    assert_eq!(state, serde_json::json!({ "up": true }));
    let dropped = tokio::time::Instant::now();
    drop(guest);
    until(|| !lives(&namespace, pid)).await;
    assert!(dropped.elapsed() >= Duration::from_millis(500), "the app was not told, or not waited for");
    let failing = "async def app(scope, receive, send):
    await receive()
    await send({'type': 'lifespan.startup.failed', 'message': 'no database'})
";
    let failure = host.refused(&[("main.py", failing)]).await;
    assert_eq!(failure.message, "LifespanFailed: no database");
}

#[tokio::test]
async fn the_context_tells_who_calls() {
    let host = Host::start().await;
    let javascript = "export const handler = (event, context) => ({
        params: context.params, cause: context.cause, app: context.app, fn: context.functionName, version: context.functionVersion,
        arn: context.invokedFunctionArn, memory: context.memoryLimitInMB, left: context.getRemainingTimeInMillis() > 15000,
        deadline: context.deadline.getTime() > Date.now(), env: context.env.COLOUR });";
    let mut call = request("GET", "/", &[], bytes::Bytes::new());
    call.params = vec![("id".to_owned(), "7".to_owned())];
    let outcome = host.guest(&[("main.mjs", javascript)]).await.request(call).await;
    insta::assert_json_snapshot!("context_node", outcome.answer().json());
    let python = "def handler(event, context):
    return {'params': context.params, 'cause': context.cause, 'app': context.app, 'fn': context.function_name,
            'version': context.function_version, 'arn': context.invoked_function_arn, 'memory': context.memory_limit_in_mb,
            'left': context.get_remaining_time_in_millis() > 15000, 'deadline': context.deadline.isoformat()[:2]}
";
    let mut call = request("GET", "/", &[], bytes::Bytes::new());
    call.params = vec![("id".to_owned(), "7".to_owned())];
    let outcome = host.guest(&[("main.py", python)]).await.request(call).await;
    insta::assert_json_snapshot!("context_python", outcome.answer().json());
}

/// The same in every contract that takes events: an array, and the form of AWS Lambda for those that failed.
const BATCHES: &[(&str, &str)] = &[
    (
        "web.mjs",
        "export default { async event(events) {
            return [{ type: 'seen', data: events.length },
                { batchItemFailures: events.slice(1).map((event) => ({ itemIdentifier: event.id })) }];
        } };",
    ),
    (
        "lambda.mjs",
        "export const handler = async (events) => [{ type: 'seen', data: events.length },
            { batchItemFailures: events.slice(1).map((event) => ({ itemIdentifier: event.id })) }];",
    ),
    (
        "plain.py",
        "def handler(events, context):\n    return [{'type': 'seen', 'data': len(events)},\n        \
         {'batchItemFailures': [{'itemIdentifier': event['id']} for event in events[1:]]}]\n",
    ),
];

#[tokio::test]
async fn a_batch_is_an_array_and_its_handler_names_what_failed() {
    let host = Host::start().await;
    for (file, source) in BATCHES {
        let mut guest = host.guest(&[(file, source)]).await;
        let batch = || {
            let named = |id: &str| Event::new(id, "/test", "placed").with_json(serde_json::json!(1));
            Input::Events(vec![named("a"), named("b"), named("c")])
        };
        let outcome = guest.run(batch(), Duration::from_secs(10), no_platform()).await;
        let Ended::Partly { events, failed } = outcome.ended else { panic!("{file}: {:?}", outcome.ended) };
        assert_eq!(failed, ["b", "c"], "{file}");
        assert_eq!(
            (events[0].ty(), events[0].data()),
            ("seen", Some(&Data::Json(serde_json::json!(3)))),
            "{file}"
        );
        let alone = Input::Events(vec![Event::new("a", "/test", "placed")]);
        let outcome = guest.run(alone, Duration::from_secs(10), no_platform()).await;
        assert!(matches!(outcome.ended, Ended::Returned { .. }), "{file}: {:?}", outcome.ended);
    }
}

#[tokio::test]
async fn a_name_that_is_none_of_the_batchs_fails_all_of_it() {
    let host = Host::start().await;
    let source =
        "def handler(events, context):\n    return {'batchItemFailures': [{'itemIdentifier': 'x'}]}\n";
    let mut guest = host.guest(&[("f.py", source)]).await;
    let batch = Input::Events(vec![Event::new("a", "/test", "placed")]);
    let outcome = guest.run(batch, Duration::from_secs(10), no_platform()).await;
    let message = &outcome.failure().message;
    assert_eq!(message, "batchItemFailures names \"x\", which is no event of the batch");
}

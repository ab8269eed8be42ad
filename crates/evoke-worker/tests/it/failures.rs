//! What goes wrong in a function, and what a person is told.

use evoke_core::outcome::FailureCode;

use crate::support::*;

/// Source, code, start of the message, whether the instance can be used again.
type Case = (&'static str, &'static str, FailureCode, &'static str, bool);

const CASES: &[Case] = &[
    (
        "throw.mjs",
        "export const handler = () => { throw new RangeError('too far'); };",
        FailureCode::FunctionError,
        "RangeError: too far",
        true,
    ),
    (
        "reject.mjs",
        "export default { fetch: () => Promise.reject(new Error('no')) };",
        FailureCode::FunctionError,
        "Error: no",
        true,
    ),
    (
        "string.mjs",
        "export const handler = () => { throw 'just text'; };",
        FailureCode::FunctionError,
        "thrown: just text",
        true,
    ),
    (
        "raise.py",
        "def handler(e, c): raise ValueError('no')\n",
        FailureCode::FunctionError,
        "ValueError: no",
        true,
    ),
    (
        "raise_async.py",
        "async def handler(e, c): raise KeyError('no')\n",
        FailureCode::FunctionError,
        "KeyError: 'no'",
        true,
    ),
    (
        "asgi.py",
        "async def app(s, r, send): raise ValueError('no')\n",
        FailureCode::FunctionError,
        "ValueError: no",
        true,
    ),
    (
        "asgi_silent.py",
        "async def app(s, r, send): pass\n",
        FailureCode::FunctionError,
        "RuntimeError: the ASGI application returned before its response was complete",
        true,
    ),
    (
        "wsgi.py",
        "def app(e, s): raise ValueError('no')\n",
        FailureCode::FunctionError,
        "ValueError: no",
        true,
    ),
    (
        "wait.mjs",
        "export default { fetch(r, e, ctx) { ctx.waitUntil(Promise.reject(new Error('later'))); return new Response(''); } };",
        FailureCode::FunctionError,
        "Error: later",
        true,
    ),
    (
        "exit.mjs",
        "export const handler = () => process.exit(3);",
        FailureCode::FunctionError,
        "ProcessExit: process.exit(3) was called during the call",
        false,
    ),
    (
        "exit.py",
        "import sys\ndef handler(e, c): sys.exit(3)\n",
        FailureCode::FunctionError,
        "SystemExit: sys.exit(3) was called",
        false,
    ),
    (
        "hard_exit.py",
        "import os\ndef handler(e, c): os._exit(3)\n",
        FailureCode::Crashed,
        "the process exited with status 3",
        false,
    ),
    (
        "segv.py",
        "import os, signal, sys\ndef handler(e, c):\n    os.write(2, b'last words\\n')\n    os.kill(os.getpid(), signal.SIGSEGV)\n",
        FailureCode::Crashed,
        "the process was killed by SIGSEGV: last words",
        false,
    ),
    (
        "unhandled.mjs",
        "export const handler = () => { Promise.reject(new Error('lost')); return new Promise(() => {}); };",
        FailureCode::FunctionError,
        "unhandled rejection: lost",
        false,
    ),
    (
        "uncaught.mjs",
        "export const handler = () => { setTimeout(() => { throw new Error('late'); }); return new Promise(() => {}); };",
        FailureCode::FunctionError,
        "uncaught exception: late",
        false,
    ),
];

#[tokio::test]
async fn failures_are_named() {
    let host = Host::start().await;
    for &(file, source, code, message, usable) in CASES {
        let mut guest = host.guest(&[(file, source)]).await;
        let outcome = guest.get("/").await;
        let failure = outcome.failure();
        assert_eq!(failure.code, code, "{file}: {failure:?}");
        let without_type = failure.message.strip_prefix("Error: ").unwrap_or(&failure.message);
        assert!(
            failure.message.starts_with(message) || without_type.starts_with(message),
            "{file}: {failure:?}"
        );
        assert_eq!(guest.instance.is_usable(), usable, "{file}");
        if !usable {
            guest.instance.gone().await;
        }
    }
}

#[tokio::test]
async fn stacks_show_the_function_and_not_the_shim() {
    let host = Host::start().await;
    let cases = [
        (
            "main.mjs",
            "function deep() { throw new Error('no'); }\nexport const handler = () => { deep(); };",
            "main.mjs:1:",
        ),
        (
            "main.ts",
            "type A = { a: string };\ninterface B { b: A }\n\nfunction deep(b?: B): never { throw new Error('no'); }\nexport const handler = () => { deep(); };",
            "main.ts:4:",
        ),
        (
            "main.py",
            "def deep():\n    raise ValueError('no')\ndef handler(e, c):\n    deep()\n",
            "File \"main.py\", line 2, in deep",
        ),
    ];
    for (file, source, place) in cases {
        let outcome = host.guest(&[(file, source)]).await.get("/").await;
        let stack = outcome.failure().stack.as_deref().unwrap_or_default();
        assert!(stack.contains(place), "{file}: {stack}");
        assert!(!stack.contains("shims") && !stack.contains("node:internal"), "{file}: {stack}");
        assert!(!stack.contains(host.dir.path().to_str().unwrap()), "{file}: {stack}");
    }
}

#[tokio::test]
async fn an_instance_that_dies_while_idle_says_so() {
    let host = Host::start().await;
    let cases = [
        ("main.mjs", "export const handler = () => { setTimeout(() => process.exit(1), 20); return 1; };"),
        (
            "main.py",
            "import os, threading\ndef handler(e, c):\n    threading.Timer(0.02, os._exit, [1]).start()\n    return 1\n",
        ),
    ];
    for case in cases {
        let mut guest = host.guest(&[case]).await;
        assert_eq!(guest.get("/").await.answer().text(), "1");
        guest.instance.gone().await;
        assert!(!guest.instance.is_usable());
        assert_eq!(guest.get("/").await.failure().code, FailureCode::Crashed);
    }
}

#[tokio::test]
async fn an_instance_whose_call_was_dropped_is_not_used_again() {
    let host = Host::start().await;
    let mut guest = host.guest(&[("main.mjs", "export const handler = () => new Promise(() => {});")]).await;
    let (call, _reports) = call(evoke_core::runtime::Input::Request(post("/", "")), PATIENCE);
    let dropped = tokio::time::timeout(std::time::Duration::from_millis(20), guest.instance.call(call)).await;
    assert!(dropped.is_err());
    assert!(!guest.instance.is_usable());
}

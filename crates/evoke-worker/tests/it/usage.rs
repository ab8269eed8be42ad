//! What calls use is measured from outside: processor time and memory of Python, Node and programs of their own.

use evoke_core::manifest::RuntimeKind;
use evoke_core::outcome::FailureCode;
use evoke_core::runtime::{Ended, Input};
use evoke_core::usage::Usage;
use evoke_worker::frame::{Encoder, Kind};

use crate::support::*;

/// Answers with the milliseconds of processor time that it burned by its own clock, or sleeps, or holds 64 MiB.
const PYTHON: &str = r#"
import os, subprocess, sys, threading, time
def burn(ms):
    begun = time.process_time()
    while time.process_time() - begun < ms / 1000: pass
def handler(event, context):
    path = event["rawPath"]
    if path == "/burn": burn(50)
    if path == "/sleep": time.sleep(0.05)
    if path == "/hold": bytearray(b"x" * (64 << 20))
    if path == "/thread":
        thread = threading.Thread(target=burn, args=(50,))
        thread.start()
        thread.join()
    if path == "/child":
        code = "import time\nwhile time.process_time() < 0.05: pass"
        subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)
    if path == "/later": threading.Thread(target=burn, args=(50,)).start()
    if path == "/done":
        while threading.active_count() > 1: time.sleep(0.001)
    if path == "/spin":
        while True: pass
    if path == "/crash":
        burn(50)
        os._exit(3)
    return "ok"
"#;

const NODE: &str = r#"
const burn = (ms) => { const begun = process.cpuUsage(); for (;;) {
    const used = process.cpuUsage(begun); if (used.user + used.system >= ms * 1000) return; } };
export const handler = async (event) => {
    if (event.rawPath === "/burn") burn(50);
    if (event.rawPath === "/sleep") await new Promise((resolve) => setTimeout(resolve, 50));
    if (event.rawPath === "/hold") Buffer.alloc(64 << 20, 1);
    if (event.rawPath === "/crash") { burn(50); process.kill(process.pid, "SIGKILL"); }
    if (event.rawPath === "/spin") for (;;);
    return "ok";
};
"#;

/// The same in a program of its own: a Python that speaks the runtime API.
const BOOTSTRAP: &str = r#"#!/usr/bin/env python3
import http.client, json, os, time
host = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
def ask(method, path, body=None):
    host.request(method, "/2018-06-01/runtime/invocation/" + path, body)
    answer = host.getresponse()
    return answer.getheader("Lambda-Runtime-Aws-Request-Id"), answer.read()
while True:
    id, event = ask("GET", "next")
    path = json.loads(event)["rawPath"]
    begun = time.process_time()
    if path == "/burn" or path == "/crash":
        while time.process_time() - begun < 0.05: pass
    if path == "/crash": os._exit(3)
    if path == "/sleep": time.sleep(0.05)
    if path == "/hold": bytearray(b"x" * (64 << 20))
    while path == "/spin": pass
    ask("POST", id + "/response", '"ok"')
"#;

const BURNED: u64 = 50_000;
const HELD: u64 = 64 << 20;

async fn guests(host: &Host) -> Vec<(&'static str, Guest)> {
    let python = host.guest(&[("main.py", PYTHON)]).await;
    let node = host.guest(&[("main.mjs", NODE)]).await;
    let program = host.prepare_as(RuntimeKind::Provided, "bootstrap", &[("bootstrap", BOOTSTRAP)]).await;
    let program = host.start_spec(program.unwrap()).await.unwrap();
    vec![("python", python), ("node", node), ("provided", program)]
}

async fn used(guest: &mut Guest, path: &str) -> (u64, u64) {
    let outcome = guest.get(path).await;
    assert!(outcome.response.is_some(), "{outcome:?}");
    let usage = guest.instance.usage();
    assert!(!usage.shared);
    (usage.cpu_us.unwrap(), usage.peak_memory_bytes.unwrap())
}

#[tokio::test]
async fn who_computes_uses_processor_time_and_who_sleeps_does_not() {
    let host = Host::start().await;
    for (name, mut guest) in guests(&host).await {
        let (burned, _) = used(&mut guest, "/burn").await;
        let (slept, _) = used(&mut guest, "/sleep").await;
        assert!(burned >= BURNED, "{name}: {burned}");
        assert!(slept < BURNED, "{name}: {slept}");
    }
}

#[tokio::test]
async fn memory_at_its_largest_is_that_of_the_call() {
    let host = Host::start().await;
    for (name, mut guest) in guests(&host).await {
        let (_, before) = used(&mut guest, "/").await;
        let (_, held) = used(&mut guest, "/hold").await;
        assert!(held >= HELD, "{name}: {held}");
        if name != "node" {
            // Node gives back when it likes.
            let (_, after) = used(&mut guest, "/").await;
            assert!(before < HELD && after < HELD, "{name}: {before} {after}");
        }
    }
}

#[tokio::test]
async fn threads_and_child_processes_are_counted() {
    let host = Host::start().await;
    let mut guest = host.guest(&[("main.py", PYTHON)]).await;
    let (thread, _) = used(&mut guest, "/thread").await;
    assert!(thread >= BURNED, "{thread}");
    let groups = host.runtime.machine().unwrap().cgroups.is_some();
    let (child, _) = used(&mut guest, "/child").await;
    assert!(child >= BURNED || !groups, "{child}");
}

#[tokio::test]
async fn what_is_used_between_calls_is_told_with_the_next() {
    let host = Host::start().await;
    let mut guest = host.guest(&[("main.py", PYTHON)]).await;
    used(&mut guest, "/").await;
    assert!(guest.instance.usage().idle_cpu_us > 0, "what it took to load");
    let (answered, _) = used(&mut guest, "/later").await;
    let (waited, _) = used(&mut guest, "/done").await;
    let between = guest.instance.usage().idle_cpu_us;
    assert!(answered + between + waited >= BURNED, "{answered} {between} {waited}");
}

#[tokio::test]
async fn a_call_that_ends_badly_has_used_something_too() {
    let host = Host::start().await;
    for (name, mut guest) in guests(&host).await {
        let outcome = guest.get("/crash").await;
        assert_eq!(outcome.failure().code, FailureCode::Crashed, "{name}");
        let usage = guest.instance.usage();
        // Of a process that ended by itself the groups tell; without them nobody does.
        let groups = host.runtime.machine().unwrap().cgroups.is_some();
        assert!(usage.cpu_us.map_or(!groups, |us| us >= BURNED), "{name}: {usage:?}");
        assert!(usage.peak_memory_bytes.is_some() || !groups, "{name}: {usage:?}");
    }
    for (name, mut guest) in guests(&host).await {
        let spin = Input::Request(request("GET", "/spin", &[], evoke_core::body::Body::empty()));
        let outcome = guest.run(spin, ENOUGH, no_platform()).await;
        assert_eq!(outcome.ended, Ended::TimedOut, "{name}");
        let usage = guest.instance.usage();
        assert!(usage.cpu_us.unwrap() > 1_000 && usage.peak_memory_bytes.unwrap() > 0, "{name}: {usage:?}");
    }
}

#[tokio::test]
async fn out_of_memory_has_a_peak_near_the_limit() {
    let host = Host::start().await;
    let source = "def handler(e, c):\n    all = []\n    while True: all.append(b'x' * (8 << 20))\n";
    let mut spec = host.prepare(&[("main.py", source)]).await.unwrap();
    spec.memory_bytes = 128 << 20;
    let mut guest = host.start_spec(spec).await.unwrap();
    assert_eq!(guest.get("/").await.failure().code, FailureCode::OutOfMemory);
    let usage = guest.instance.usage();
    let groups = host.runtime.machine().unwrap().cgroups.is_some();
    assert!(usage.peak_memory_bytes.map_or(!groups, |peak| peak > 100 << 20), "{usage:?}");
}

#[tokio::test]
async fn what_a_process_says_of_itself_is_not_believed() {
    let host = Host::start().await;
    // It ends its call by a frame of its own, which claims a use that it did not have.
    let mut done = Encoder::default();
    done.frame(Kind::Done, 1, br#"{"usage":{"cpu_us":1,"peak_memory_bytes":1}}"#);
    let frame: Vec<String> = done.unwritten().iter().map(u8::to_string).collect();
    let source = format!(
        "import os, time\ndef handler(e, c):\n    begun = time.process_time()\n    while time.process_time() - begun < 0.05: pass\n    os.write(3, bytes([{}]))\n    time.sleep(1000)\n",
        frame.join(",")
    );
    let mut guest = host.guest(&[("main.py", &source)]).await;
    let outcome = guest.event(event()).await;
    assert_eq!(outcome.events(), [], "the forged frame was taken for the end");
    let usage = guest.instance.usage();
    assert!(usage.cpu_us.unwrap() >= BURNED && usage.peak_memory_bytes.unwrap() > 1 << 10, "{usage:?}");
}

#[tokio::test]
async fn calls_at_once_share_and_say_so() {
    let host = Host::start().await;
    let source = "import asyncio, time\nmeet = asyncio.Event()\nasync def handler(event, context):\n    if event['rawPath'] == '/first':\n        await meet.wait()\n        return 'ok'\n    begun = time.process_time()\n    while time.process_time() - begun < 0.05: pass\n    meet.set()\n    return 'ok'\n";
    let mut spec = host.prepare(&[("main.py", source)]).await.unwrap();
    spec.instance_concurrency = 2;
    let mut first = host.start_spec(spec).await.unwrap();
    let mut second = Guest { instance: first.instance.lanes().remove(0) };
    tokio::join!(first.get("/first"), second.get("/second"));
    let [one, other] = [&first, &second].map(|guest| guest.instance.usage());
    let sum = one.cpu_us.unwrap() + other.cpu_us.unwrap();
    assert!(one.shared && other.shared && sum >= BURNED, "{one:?} {other:?}");
    first.get("/second").await;
    let alone = first.instance.usage();
    assert!(!alone.shared && alone.cpu_us.unwrap() >= BURNED, "{alone:?}");
    assert_eq!(one.peak_memory_bytes.is_some(), alone.peak_memory_bytes.is_some());
    assert_ne!(alone, Usage::default());
}

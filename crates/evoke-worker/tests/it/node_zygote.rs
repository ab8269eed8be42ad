//! Node.js instances that are forked from a process that has loaded their function.

use std::collections::BTreeSet;
use std::time::Duration;

use evoke_core::limits::Limits;
use evoke_core::manifest::{Preload, RuntimeKind};
use evoke_core::outcome::FailureCode;
use evoke_core::record::LogStream;
use evoke_core::runtime::{Ended, Input, InstanceSpec};
use serde_json::{Value, json};

use crate::support::*;

/// Tells who it is, and does what the body says.
const PROBE: &str = "
import fs from 'node:fs';
import os from 'node:os';
import process, { pid } from 'node:process';
import { randomInt, randomUUID } from 'node:crypto';
import { createRequire } from 'node:module';
const require = createRequire(import.meta.url);
const loadedBy = process.pid, random = Math.random;
const before = [randomUUID(), randomInt(2 ** 47), random()];
const AsyncFunction = (async () => {}).constructor;
let calls = 0;
export default { async fetch(request) {
  calls += 1;
  const body = await request.text();
  const did = body ? await new AsyncFunction('require', body)(require) : null;
  return Response.json({ namespace: fs.readlinkSync('/proc/self/ns/pid'), pid: process.pid, imported: pid, parent: process.ppid, loaded_by: loadedBy,
    calls, did, before, uuids: [...Array(200)].map(() => randomUUID()), integers: [...Array(2000)].map(() => randomInt(2 ** 47)), random: random(),
    tmp: os.tmpdir(), home: process.env.HOME });
} };
";

async fn probe(guest: &mut Guest, body: &str) -> Value {
    guest.request(post("/", body)).await.answer().json()
}

fn forked(value: &Value) -> bool {
    value["loaded_by"] != value["pid"]
}

#[tokio::test]
async fn node_can_be_forked_here() {
    let host = Host::start().await;
    assert_eq!(host.runtime.forks(RuntimeKind::Node).await, Ok(()));
}

#[tokio::test]
async fn a_function_is_loaded_once_and_nothing_random_or_named_is_shared() {
    let host = Host::start().await;
    let spec = host.prepare(&[("main.mjs", PROBE)]).await.unwrap();
    let mut guests = Vec::new();
    let mut told = Vec::new();
    for _ in 0..3 {
        let mut guest = host.start_spec(spec.clone()).await.unwrap();
        told.push(probe(&mut guest, "").await);
        guests.push(guest);
    }
    let mut seen = BTreeSet::new();
    for value in &told {
        assert!(forked(value), "{value}");
        assert_eq!((&value["calls"], &value["before"]), (&json!(1), &told[0]["before"]));
        assert_eq!(value["loaded_by"], told[0]["loaded_by"]);
        assert_eq!(value["pid"], value["imported"]);
        assert_eq!(value["tmp"], value["home"]);
        for name in ["pid", "tmp", "random"] {
            assert!(seen.insert(value[name].to_string()), "{name} of {value}");
        }
        for list in ["uuids", "integers"] {
            for value in value[list].as_array().unwrap() {
                assert!(seen.insert(value.to_string()), "{value} of {list}");
            }
        }
    }
    assert_eq!(probe(&mut guests[0], "").await["calls"], 2);
}

#[tokio::test]
async fn what_functions_do_works_in_a_fork() {
    let host = Host::start().await;
    let spec = host.prepare(&[("main.mjs", PROBE)]).await.unwrap();
    let steps = [
        "let sum = 0; for (let n = 0; n < 5e6; n++) sum += Math.sqrt(n); return sum > 0",
        "let kept = []; for (let n = 0; n < 1e6; n++) kept.push({ n }); return kept.length === 1e6",
        "await new Promise((next) => setTimeout(next, 5)); return true",
        "const fs = require('fs').promises, at = process.env.HOME + '/a'; await fs.writeFile(at, 'x'); return (await fs.readFile(at, 'utf8')) === 'x'",
        "const { promisify } = require('util'), crypto = require('crypto'); return (await promisify(crypto.pbkdf2)('a', 'b', 10, 32, 'sha256')).length === 32",
        "return (await crypto.subtle.digest('SHA-256', new Uint8Array(3))).byteLength === 32",
        "return (await require('util').promisify(require('zlib').gzip)('abc')).length > 0",
        "return (await WebAssembly.compile(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]))) instanceof WebAssembly.Module",
        "return require('child_process').execFileSync('/bin/echo', ['hi']).toString() === 'hi\\n'",
        "return await new Promise((done, failed) => require('child_process').exec('echo $HOME', (error, out) => error ? failed(error) : done(out.trim() === process.env.HOME)))",
        "const { Worker } = require('worker_threads'); return (await new Promise((done, failed) => new Worker('1', { eval: true }).on('exit', done).on('error', failed))) === 0",
        "const server = require('http').createServer((_, answer) => answer.end('ok')); await new Promise((up) => server.listen(0, '127.0.0.1', up));
         const text = await (await fetch('http://127.0.0.1:' + server.address().port)).text(); server.close(); return text === 'ok'",
        "return (await import('node:os')).default.hostname().length > 0",
        "return await new Promise((done) => { const { port1, port2 } = new MessageChannel(); port1.onmessage = () => (port1.close(), done(true)); port2.postMessage(1) })",
        "return (await new Promise((done) => require('dns').lookup('localhost', (error, at) => done(at)))) !== undefined",
    ];
    for _ in 0..2 {
        let mut guest = host.start_spec(spec.clone()).await.unwrap();
        for step in steps {
            let value = probe(&mut guest, step).await;
            assert!(forked(&value) && value["did"] == true, "{step}: {}", value["did"]);
        }
    }
}

#[tokio::test]
async fn every_kind_of_source_is_forked() {
    let host = Host::start().await;
    const TELL: &str = "Response.json([loadedBy !== process.pid, later])";
    let sources = [
        ("main.ts", format!("const loadedBy: number = process.pid;\nconst later: string = await Promise.resolve('later');\nexport default {{ async fetch(request: Request): Promise<Response> {{ return {TELL} }} }};")),
        ("main.mjs", format!("const loadedBy = process.pid;\nconst later = await new Promise((next) => setTimeout(next, 5, 'later'));\nexport default {{ fetch: () => {TELL} }};")),
        ("main.cjs", "const loadedBy = process.pid;\nexports.handler = async () => [loadedBy !== process.pid, 'later'];".to_owned()),
        ("main.js", "const fs = await import('node:fs/promises');\nawait fs.readFile('/etc/passwd');\nconst loadedBy = process.pid;\nexport const handler = async () => [loadedBy !== process.pid, 'later'];".to_owned()),
    ];
    for (name, source) in sources {
        let mut guest = host.guest(&[(name, &source)]).await;
        assert_eq!(guest.get("/").await.answer().json(), json!([true, "later"]), "{name}");
    }
}

#[tokio::test]
async fn without_preload_each_node_instance_loads_the_function() {
    let host = Host::start().await;
    let mut spec = host.prepare(&[("main.mjs", PROBE)]).await.unwrap();
    spec.preload = Preload::None;
    let mut guest = host.start_spec(spec).await.unwrap();
    assert!(!forked(&probe(&mut guest, "").await));
}

#[tokio::test]
async fn the_hook_of_a_module_runs_in_each_instance_before_its_first_call() {
    let host = Host::start().await;
    let module = "let ran = [];\nexport async function afterFork() { await null; ran.push(process.pid); }\nexport const handler = async () => [ran, process.pid];";
    let common = "let ran = [];\nexports.afterFork = () => ran.push(process.pid);\nexports.handler = async () => [ran, process.pid];";
    for (name, source) in [("main.mjs", module), ("main.cjs", common)] {
        let spec = host.prepare(&[(name, source)]).await.unwrap();
        for preload in [Preload::Module, Preload::Module, Preload::None] {
            let mut guest = host.start_spec(InstanceSpec { preload, ..spec.clone() }).await.unwrap();
            let value = guest.get("/").await.answer().json();
            assert_eq!(value[0], json!([value[1]]));
        }
    }
    let source = "export function afterFork() { throw new RangeError('no such host') }\nexport const handler = () => {};";
    let failure = host.refused(&[("main.mjs", source)]).await;
    assert_eq!(failure.code, FailureCode::InitError);
    assert!(failure.message.ends_with("main.mjs:1: RangeError: no such host"), "{}", failure.message);
    let failure = host.refused(&[("main.mjs", "export const afterFork = 7, handler = () => {};")]).await;
    assert!(failure.message.contains("the export \"afterFork\" is a number"), "{}", failure.message);
}

#[tokio::test]
async fn what_a_fork_of_node_would_break_is_loaded_by_each_instance_and_told() {
    const SOCKET: &str = "it opens a socket, a pipe or an event loop";
    let cases = [
        (
            "import net from 'node:net'; const held = net.createServer(); await new Promise((up) => held.listen('/tmp/' + process.pid, up));",
            SOCKET,
        ),
        (
            "import { Worker } from 'node:worker_threads'; new Worker('setInterval(() => {}, 1000)', { eval: true }).unref();",
            "it starts threads",
        ),
        (
            "import { spawn } from 'node:child_process'; spawn('/bin/sleep', ['1000'], { stdio: 'ignore' }).unref();",
            "it starts a process",
        ),
        (
            "import held from 'node:fs'; held.openSync('/tmp/' + process.pid + '.log', 'w');",
            "it opens a file to write to it",
        ),
        (
            "import { watchFile } from 'node:fs'; watchFile('/etc/passwd', () => {});",
            "it leaves something under way (StatWatcher)",
        ),
    ];
    let host = Host::start().await;
    if !host.runtime.machine().unwrap().private_tmp {
        panic!("this test needs a private /tmp: it is to be run where there are user namespaces, or as root");
    }
    for (code, why) in cases {
        let spec = host.prepare(&[("main.mjs", &format!("{code}\n{PROBE}"))]).await.unwrap();
        for nth in 0..2 {
            let mut guest = host.start_spec(spec.clone()).await.unwrap();
            let outcome = guest.get("/").await;
            assert!(!forked(&outcome.answer().json()), "{code}");
            let line = format!("evoke: each instance loads main.mjs anew: {why} when it is loaded");
            let told = outcome.lines(LogStream::Stderr).contains(&line.as_str());
            assert_eq!(told, nth == 0, "{code}: {:?}", outcome.logs);
        }
    }
}

#[tokio::test]
async fn ends_of_forked_node_instances_are_named_as_of_any_process() {
    let host = Host::start().await;
    let spec = host.prepare(&[("main.mjs", PROBE)]).await.unwrap();
    let failures = [
        ("process.exit(3)", FailureCode::FunctionError, "process.exit(3) was called during the call"),
        ("process.reallyExit(3)", FailureCode::Crashed, "the process exited with status 3"),
        ("process.kill(process.pid, 'SIGSEGV')", FailureCode::Crashed, "the process was killed by SIGSEGV"),
        ("process.abort()", FailureCode::Crashed, "the process was killed by SIGABRT"),
        (
            "setTimeout(() => { throw new Error('late') }); await new Promise(() => {})",
            FailureCode::FunctionError,
            "uncaught exception: late",
        ),
        (
            "process.removeAllListeners(); setTimeout(() => { throw new Error('late') }); await new Promise(() => {})",
            FailureCode::Crashed,
            "the process exited with status 1",
        ),
    ];
    for (code, expected, message) in failures {
        let mut guest = host.start_spec(spec.clone()).await.unwrap();
        let outcome = guest.request(post("/", code)).await;
        let failure = outcome.failure();
        assert_eq!(failure.code, expected, "{code}: {failure:?}");
        assert!(failure.message.contains(message), "{code}: {failure:?}");
        guest.instance.gone().await;
    }
    let mut guest = host.start_spec(spec.clone()).await.unwrap();
    let outcome = guest.request(post("/", "const all = []; for (;;) all.push(new Array(1e5).fill(0))")).await;
    assert_eq!(outcome.failure().code, FailureCode::OutOfMemory);
    let mut guest = host.start_spec(spec).await.unwrap();
    let input = Input::Request(post("/", "for (;;);"));
    assert_eq!(guest.run(input, Duration::from_millis(300), no_platform()).await.ended, Ended::TimedOut);
    guest.instance.gone().await;
}

#[tokio::test]
async fn where_node_cannot_be_forked_a_process_is_started_ahead() {
    let host = Host::start().await;
    std::fs::write(host.dir.path().join("workers/shims/node/fork.node"), "not a library").unwrap();
    let why = host.runtime.forks(RuntimeKind::Node).await.unwrap_err();
    assert!(why.contains("fork.node"), "{why}");
    let spec = host.prepare(&[("main.mjs", PROBE)]).await.unwrap();
    let mut known = BTreeSet::new();
    for nth in 0..3 {
        let before = crate::orphans::descendants_of_launcher();
        let mut guest = host.start_spec(spec.clone()).await.unwrap();
        let value = probe(&mut guest, "return process.title").await;
        assert!(!forked(&value));
        let inside = value["pid"].as_i64().unwrap() as i32;
        let pid = crate::orphans::outside(value["namespace"].as_str().unwrap(), &[inside])[0];
        assert!(known.insert(pid));
        // The first one was wanted before anybody could think of it.
        assert_eq!(before.contains(&pid), nth > 0, "{pid} of {before:?}");
    }
    let mut alone = spec.clone();
    alone.preload = Preload::None;
    let before = crate::orphans::descendants_of_launcher();
    drop(host.start_spec(alone).await.unwrap());
    until(|| crate::orphans::descendants_of_launcher().is_subset(&before)).await;
}

#[tokio::test]
async fn a_process_that_was_started_ahead_goes_when_nobody_wants_it() {
    let limits = Limits { zygote_idle: Duration::from_millis(50), ..Limits::default() };
    let host = Host::with_limits(limits).await;
    std::fs::write(host.dir.path().join("workers/shims/node/fork.node"), "not a library").unwrap();
    let guest = host.guest(&[("main.mjs", PROBE)]).await;
    drop(guest);
    until(|| crate::orphans::descendants_of_launcher().is_empty()).await;
}

#[tokio::test]
async fn what_node_has_loaded_is_shared_by_twenty_instances() {
    const DATA: u64 = 200 << 20;
    let host = Host::start().await;
    let source = format!("const data = Buffer.alloc({DATA}, 'x');\n{PROBE}");
    let read = "const sum = () => { let sum = 0; for (let at = 0; at < data.length; at += 4096) sum += data[at]; return sum * 4096 / data.length; };";
    let source =
        format!("{read}\n{}", source.replace("body ? await", "body === 'read' ? sum() : body ? await"));
    let mut spec = host.prepare(&[("main.mjs", &source)]).await.unwrap();
    spec.memory_bytes = 512 << 20;
    let (mut guests, mut pids) = (Vec::new(), BTreeSet::new());
    for _ in 0..20 {
        let mut guest = host.start_spec(spec.clone()).await.unwrap();
        let value = probe(&mut guest, "read").await;
        assert!(forked(&value) && value["did"] == 120, "{}", value["did"]);
        let inside = ["pid", "loaded_by"].map(|name| value[name].as_i64().unwrap() as i32);
        pids.extend(crate::orphans::outside(value["namespace"].as_str().unwrap(), &inside));
        guests.push(guest);
    }
    assert_eq!(pids.len(), 21);
    let kib = pids.iter().map(|pid| {
        let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
        line.split_ascii_whitespace().next().unwrap().parse::<u64>().unwrap()
    });
    let all = kib.sum::<u64>() << 10;
    println!("{} MiB", all >> 20);
    assert!((DATA..2 * DATA).contains(&all), "{} MiB", all >> 20);
}

/// `npm` gets it from the registry, as at a deploy. Without either there is nothing to test, which is told.
#[tokio::test]
async fn express_answers_from_forked_instances() {
    let dir = tempfile::tempdir().unwrap();
    let install = std::process::Command::new("npm")
        .args(["install", "--silent", "--ignore-scripts", "--prefix"])
        .arg(dir.path())
        .arg("express@4")
        .output();
    if !install.as_ref().is_ok_and(|done| done.status.success()) {
        eprintln!("NOT RUN: npm cannot install express: {install:?}");
        return;
    }
    let mut files = vec![(
        "main.mjs".to_owned(),
        "import express from 'express';
import { once } from 'node:events';
const loadedBy = process.pid, app = express();
app.get('/hello/:name', (request, response) => response.json({ hello: request.params.name, forked: loadedBy !== process.pid }));
export const handler = async () => {
  const server = app.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const answer = await fetch(`http://127.0.0.1:${server.address().port}/hello/world`);
  server.close();
  return await answer.json();
};"
        .to_owned(),
    )];
    collect(dir.path(), std::path::Path::new(""), &mut files);
    let host = Host::start().await;
    let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let spec = host.prepare(&files).await.unwrap();
    for _ in 0..3 {
        let mut guest = host.start_spec(spec.clone()).await.unwrap();
        for _ in 0..2 {
            assert_eq!(guest.get("/").await.answer().json(), json!({ "hello": "world", "forked": true }));
        }
    }
}

/// The text files below a folder.
fn collect(folder: &std::path::Path, into: &std::path::Path, files: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let (path, name) = (entry.path(), into.join(entry.file_name()));
        if path.is_dir() {
            collect(&path, &name, files);
        } else if let Ok(text) = std::fs::read_to_string(&path)
            && !entry.file_type().unwrap().is_symlink()
        {
            files.push((name.to_str().unwrap().to_owned(), text));
        }
    }
}

/// `EVOKE_SOAK=300` for a long one.
#[tokio::test]
async fn many_forks_in_a_row_and_at_once_all_do_their_work() {
    let forks: usize = std::env::var("EVOKE_SOAK").map_or(40, |text| text.parse().unwrap());
    let host = Host::start().await;
    let spec = host.prepare(&[("main.mjs", PROBE)]).await.unwrap();
    let work = "
const fs = require('fs').promises, { Worker } = require('worker_threads');
let kept = []; for (let n = 0; n < 2e5; n++) kept.push({ n }); kept = null;
await Promise.all([...Array(8)].map(async (_, n) => { const at = `${process.env.HOME}/${n}`; await fs.writeFile(at, 'x'.repeat(9999)); await fs.readFile(at); }));
await new Promise((next) => setTimeout(next, 3));
await new Promise((done, failed) => new Worker('let a = []; for (let n = 0; n < 1e5; n++) a.push({ n })', { eval: true }).on('exit', done).on('error', failed));
require('child_process').execFileSync('/bin/true');
let sum = 0; for (let n = 0; n < 1e6; n++) sum += Math.sqrt(n);
return sum > 0";
    let mut zygotes = BTreeSet::new();
    for _ in 0..forks.div_ceil(4) {
        let works = (0..4).map(|_| async {
            let mut guest = host.start_spec(spec.clone()).await.unwrap();
            probe(&mut guest, work).await
        });
        for value in futures_util::future::join_all(works).await {
            assert!(forked(&value) && value["did"] == true, "{}", value["did"]);
            zygotes.insert(value["loaded_by"].to_string());
        }
    }
    assert_eq!(zygotes.len(), 1);
}

//! Instances that are forked from a process that has loaded their function.

use std::collections::BTreeSet;
use std::time::Duration;

use evoke_core::limits::Limits;
use evoke_core::manifest::Preload;
use evoke_core::outcome::FailureCode;
use evoke_core::record::LogStream;
use evoke_core::runtime::Input;
use rustix::process::{Pid, Signal};
use serde_json::Value;

use crate::support::*;

/// Tells who it is, and does what the body says.
const PROBE: &str = "
import os, random, sys, tempfile, uuid
loaded_by, calls = os.getpid(), 0
def handler(event, context):
    global calls
    calls += 1
    if event.get('body'): exec(event['body'])
    return {'namespace': os.readlink('/proc/self/ns/pid'), 'pid': os.getpid(), 'parent': os.getppid(), 'loaded_by': loaded_by, 'calls': calls,
            'random': random.random(), 'uuid': str(uuid.uuid4()), 'tmp': tempfile.gettempdir(), 'home': os.environ['HOME']}
";

async fn probe(guest: &mut Guest) -> Value {
    told(&guest.get("/").await)
}

/// With process ids as they are outside of its namespace.
fn told(outcome: &Outcome) -> Value {
    let mut value = outcome.answer().json();
    let names = ["pid", "parent", "loaded_by"];
    // Without a pid namespace a process that was not forked here has the launcher as parent, in which all agree.
    let inside = names.map(|name| number(&value, name));
    let namespace = value["namespace"].as_str().unwrap().to_owned();
    for (name, inside) in names.into_iter().zip(inside) {
        value[name] = crate::orphans::outside(&namespace, &[inside])[0].into();
    }
    value
}

fn number(value: &Value, name: &str) -> i32 {
    value[name].as_i64().unwrap() as i32
}

fn kill(pid: i32) {
    rustix::process::kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

fn exists(pid: i32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

fn children(of: i32) -> Vec<i32> {
    let list = std::fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap_or_default();
    list.split_ascii_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

#[tokio::test]
async fn a_function_is_loaded_once_and_instances_have_state_of_their_own() {
    let host = Host::start().await;
    let spec = host.prepare(&[("main.py", PROBE)]).await.unwrap();
    let (mut one, mut two) =
        (host.start_spec(spec.clone()).await.unwrap(), host.start_spec(spec).await.unwrap());
    let (first, second) = (probe(&mut one).await, probe(&mut two).await);
    let zygote = number(&first, "parent");
    for value in [&first, &second] {
        assert_eq!((number(value, "loaded_by"), number(value, "parent")), (zygote, zygote));
        assert_eq!(value["calls"], 1);
        assert_eq!(value["tmp"], value["home"]);
    }
    for name in ["pid", "random", "uuid", "tmp"] {
        assert_ne!(first[name], second[name], "{name}");
    }
    assert_eq!(probe(&mut one).await["calls"], 2);
    assert_eq!(probe(&mut two).await["calls"], 2);
}

#[tokio::test]
async fn without_preload_each_instance_loads_the_function() {
    let host = Host::start().await;
    let mut spec = host.prepare(&[("main.py", PROBE)]).await.unwrap();
    spec.preload = Preload::None;
    for _ in 0..2 {
        let mut guest = host.start_spec(spec.clone()).await.unwrap();
        let value = probe(&mut guest).await;
        assert_eq!(value["loaded_by"], value["pid"]);
    }
}

#[tokio::test]
async fn hooks_run_in_each_instance_before_its_first_call() {
    let host = Host::start().await;
    let source = "
import os, evoke
ran = []
@evoke.after_fork
def connect(): ran.append(('marked', os.getpid()))
def after_fork(): ran.append(('named', os.getpid()))
def handler(event, context): return {'ran': ran, 'pid': os.getpid()}
";
    let spec = host.prepare(&[("main.py", source)]).await.unwrap();
    for preload in [Preload::Module, Preload::Module, Preload::None] {
        let spec = evoke_core::runtime::InstanceSpec { preload, ..spec.clone() };
        let mut guest = host.start_spec(spec).await.unwrap();
        let value = guest.get("/").await.answer().json();
        let pid = &value["pid"];
        assert_eq!(value["ran"], serde_json::json!([["marked", pid], ["named", pid]]));
    }
}

#[tokio::test]
async fn a_hook_that_raises_refuses_the_instance() {
    let host = Host::start().await;
    let source = "def after_fork(): raise LookupError('no such host')\ndef handler(event, context): pass\n";
    let failure = host.refused(&[("main.py", source)]).await;
    assert_eq!(failure.code, FailureCode::InitError);
    assert!(failure.message.ends_with("main.py:1: LookupError: no such host"), "{}", failure.message);
}

#[tokio::test]
async fn what_a_fork_would_break_is_loaded_by_each_instance_and_told() {
    const SOCKET: &str = "it opens a socket, a pipe or an event loop";
    let cases = [
        (
            "import threading, time\nthreading.Thread(target=time.sleep, args=[1000], daemon=True, name='ticker').start()",
            "it starts threads (ticker)",
        ),
        ("import socket\nheld = socket.socket()", SOCKET),
        ("import asyncio\nloop = asyncio.new_event_loop()", SOCKET),
        ("import tempfile\nheld = tempfile.TemporaryFile()", "it opens a file to write to it"),
        ("import os\nheld = os.pipe()", SOCKET),
        ("import subprocess\nheld = subprocess.Popen(['/bin/sleep', '1000'])", "it starts a process"),
    ];
    let host = Host::start().await;
    for (code, why) in cases {
        let source = format!("{code}\n{PROBE}");
        let spec = host.prepare(&[("main.py", &source)]).await.unwrap();
        for nth in 0..2 {
            let mut guest = host.start_spec(spec.clone()).await.unwrap();
            let outcome = guest.get("/").await;
            let value = told(&outcome);
            assert_eq!(value["loaded_by"], value["pid"], "{code}");
            let line = format!("evoke: each instance loads main.py anew: {why} when it is imported");
            let told = outcome.lines(LogStream::Stderr).contains(&line.as_str());
            assert_eq!(told, nth == 0, "{code}: {:?}", outcome.logs);
        }
    }
}

#[tokio::test]
async fn ends_are_named_as_of_any_process() {
    let host = Host::start().await;
    let spec = host.prepare(&[("main.py", PROBE)]).await.unwrap();
    for (code, message) in [
        ("os._exit(3)", "the process exited with status 3"),
        ("import signal; os.kill(os.getpid(), signal.SIGSEGV)", "the process was killed by SIGSEGV"),
        (
            "os.kill(os.getpid(), 9)",
            "the process was killed by SIGKILL, by somebody else or because the machine ran out of memory",
        ),
    ] {
        let mut guest = host.start_spec(spec.clone()).await.unwrap();
        let outcome = guest.request(post("/", code)).await;
        let failure = outcome.failure();
        assert_eq!((failure.code, failure.message.as_str()), (FailureCode::Crashed, message));
        guest.instance.gone().await;
    }
    let mut guest = host.start_spec(spec.clone()).await.unwrap();
    let outcome = guest.request(post("/", "x = bytearray(1 << 30)")).await;
    assert_eq!(outcome.failure().code, FailureCode::OutOfMemory);
    let mut guest = host.start_spec(spec).await.unwrap();
    let input = Input::Request(post("/", "\nwhile True: pass"));
    let outcome = guest.run(input, Duration::from_millis(300), no_platform()).await;
    assert_eq!(outcome.ended, evoke_core::runtime::Ended::TimedOut);
    guest.instance.gone().await;
}

#[tokio::test]
async fn the_memory_limit_is_each_instances_own() {
    let host = Host::start().await;
    let mut spec = host.prepare(&[("main.py", PROBE)]).await.unwrap();
    spec.memory_bytes = 128 << 20;
    let mut guests = Vec::new();
    for _ in 0..3 {
        let mut guest = host.start_spec(spec.clone()).await.unwrap();
        let outcome = guest.request(post("/", "global held; held = b'x' * (80 << 20)")).await;
        assert_eq!(outcome.answer().status, 200);
        guests.push(guest);
    }
    let outcome = guests[0].request(post("/", "more = b'x' * (80 << 20)")).await;
    assert_eq!(outcome.failure().code, FailureCode::OutOfMemory);
    for guest in &mut guests[1..] {
        assert_eq!(probe(guest).await["calls"], 2);
    }
}

#[tokio::test]
async fn temporary_files_do_not_outlive_the_last_instance() {
    let host = Host::start().await;
    let source = "
import os, tempfile
def handler(event, context):
    folder = os.path.dirname(tempfile.gettempdir())
    # The interpreter of these tests may lie below /tmp as well.
    names = sorted(name for name in os.listdir(folder) if name.isdigit() or name in ('beside', 'file'))
    os.makedirs(folder + '/beside/inner', exist_ok=True)
    open(folder + '/beside/inner/a', 'w').close()
    open(folder + '/file', 'w').close()
    if event.get('body'): os._exit(0)
    return names
";
    let spec = host.prepare(&[("main.py", source)]).await.unwrap();
    let mut guest = host.start_spec(spec.clone()).await.unwrap();
    assert_eq!(guest.get("/").await.answer().text(), r#"["1"]"#);
    assert_eq!(guest.request(post("/", "end")).await.failure().code, FailureCode::Crashed);
    guest.instance.gone().await;
    let mut guest = host.start_spec(spec).await.unwrap();
    assert_eq!(guest.get("/").await.answer().text(), r#"["2"]"#);
}

#[tokio::test]
async fn a_zygote_that_dies_takes_its_instances_along_and_another_takes_its_place() {
    let host = Host::start().await;
    let spec = host.prepare(&[("main.py", PROBE)]).await.unwrap();
    let mut guest = host.start_spec(spec.clone()).await.unwrap();
    let before = probe(&mut guest).await;
    let busy = guest.request(post("/", "import time; time.sleep(1000)"));
    let (outcome, ()) = tokio::join!(busy, async { kill(number(&before, "parent")) });
    assert_eq!(outcome.failure().code, FailureCode::Crashed);
    until(|| !exists(number(&before, "pid")) && !exists(number(&before, "parent"))).await;
    let mut guest = host.start_spec(spec).await.unwrap();
    let after = probe(&mut guest).await;
    assert_eq!(after["loaded_by"], after["parent"]);
    assert_ne!(after["parent"], before["parent"]);
}

#[tokio::test]
async fn zygotes_that_keep_dying_are_done_without() {
    let host = Host::start().await;
    let spec = host.prepare(&[("main.py", PROBE)]).await.unwrap();
    let mut forked = 0;
    loop {
        let mut guest = host.start_spec(spec.clone()).await.unwrap();
        let value = probe(&mut guest).await;
        if value["loaded_by"] == value["pid"] {
            break;
        }
        forked += 1;
        kill(number(&value, "parent"));
        guest.instance.gone().await;
    }
    assert_eq!(forked, Limits::default().crash_loop);
}

#[tokio::test]
async fn a_zygote_without_instances_ends_after_a_while() {
    let host =
        Host::with_limits(Limits { zygote_idle: Duration::from_millis(50), ..Limits::default() }).await;
    let spec = host.prepare(&[("main.py", PROBE)]).await.unwrap();
    let mut guest = host.start_spec(spec.clone()).await.unwrap();
    let zygote = number(&probe(&mut guest).await, "parent");
    assert!(exists(zygote), "it has an instance");
    drop(guest);
    until(|| !exists(zygote)).await;
    let mut guest = host.start_spec(spec).await.unwrap();
    assert_ne!(number(&probe(&mut guest).await, "parent"), zygote);
}

#[tokio::test]
async fn the_next_instance_is_forked_ahead_and_handed_over() {
    let host = Host::exactly(Limits::default()).await;
    let spec = host.prepare(&[("main.py", PROBE)]).await.unwrap();
    let mut first = host.start_spec(spec.clone()).await.unwrap();
    let zygote = number(&probe(&mut first).await, "parent");
    // The first, and the one that nobody has asked for.
    until(|| children(zygote).len() == 2).await;
    let both = children(zygote);
    let mut second = host.start_spec(spec.clone()).await.unwrap();
    let pid = number(&probe(&mut second).await, "pid");
    assert!(both.contains(&pid), "{pid} is one of {both:?}");
    // Another is forked; if it dies, one takes its place.
    until(|| children(zygote).len() == 3).await;
    let ahead = children(zygote).into_iter().find(|child| !both.contains(child)).unwrap();
    kill(ahead);
    until(|| children(zygote).len() == 3 && !children(zygote).contains(&ahead)).await;
    drop((first, second));
    until(|| children(zygote).len() == 1).await;
}

#[tokio::test]
async fn a_zygote_with_nothing_but_an_instance_ahead_ends_after_a_while() {
    let limits = Limits { zygote_idle: Duration::from_millis(50), ..Limits::default() };
    let host = Host::exactly(limits).await;
    let spec = host.prepare(&[("main.py", PROBE)]).await.unwrap();
    let mut guest = host.start_spec(spec).await.unwrap();
    let zygote = number(&probe(&mut guest).await, "parent");
    drop(guest);
    until(|| !exists(zygote)).await;
}

#[tokio::test]
async fn the_least_recently_used_zygote_without_instances_gives_way() {
    let host = Host::with_limits(Limits { zygotes: 2, ..Limits::default() }).await;
    let mut zygotes = Vec::new();
    let mut kept = None;
    for nth in 0..4 {
        let source = format!("number = {nth}\n{PROBE}");
        let spec = host.prepare(&[("main.py", &source)]).await.unwrap();
        let mut guest = host.start_spec(spec).await.unwrap();
        let value = probe(&mut guest).await;
        assert_eq!(value["loaded_by"], value["parent"]);
        zygotes.push(number(&value, "parent"));
        if nth == 0 {
            kept = Some(guest);
        } else {
            drop(guest);
            let parent = number(&value, "parent");
            until(|| children(parent).is_empty()).await;
        }
    }
    until(|| !exists(zygotes[1]) && !exists(zygotes[2])).await;
    assert!(exists(zygotes[0]) && exists(zygotes[3]));
    // No zygote has to go for a function that has one, and none can go while all have instances.
    let mut kept = kept.unwrap();
    assert_eq!(number(&probe(&mut kept).await, "parent"), zygotes[0]);
}

#[tokio::test]
async fn what_is_loaded_is_shared() {
    const DATA: u64 = 200 << 20;
    let host = Host::start().await;
    let source = format!("data = bytearray(b'x') * {DATA}\n{PROBE}");
    let mut spec = host.prepare(&[("main.py", &source)]).await.unwrap();
    spec.memory_bytes = 512 << 20;
    let mut guests = Vec::new();
    let mut pids = BTreeSet::new();
    for _ in 0..8 {
        let mut guest = host.start_spec(spec.clone()).await.unwrap();
        let outcome = guest.request(post("/", "sum(data[::4096])")).await;
        let value = told(&outcome);
        pids.extend([number(&value, "pid"), number(&value, "parent")]);
        guests.push(guest);
    }
    assert_eq!(pids.len(), 9);
    let kib = pids.iter().map(|pid| {
        let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
        line.split_ascii_whitespace().next().unwrap().parse::<u64>().unwrap()
    });
    let all = kib.sum::<u64>() << 10;
    assert!((DATA..DATA + DATA / 2).contains(&all), "{} MiB", all >> 20);
}

#[tokio::test]
async fn a_thousand_instances_leave_no_zombie() {
    let host = Host::start().await;
    // Each leaves an orphan.
    let source = "
import os, time
def handler(event, context):
    if os.fork() == 0:
        if os.fork() == 0: time.sleep(1000)
        os._exit(0)
    os.wait()
    return [os.readlink('/proc/self/ns/pid'), os.getpid(), os.getppid()]
";
    let spec = host.prepare(&[("main.py", source)]).await.unwrap();
    let mut zygotes = BTreeSet::new();
    for nth in 0..1_000 {
        let mut guest = host.start_spec(spec.clone()).await.unwrap();
        if nth % 10 == 0 {
            let answer = guest.get("/").await.answer().json();
            let (namespace, _, zygote): (String, i32, i32) = serde_json::from_value(answer).unwrap();
            zygotes.insert(crate::orphans::outside(&namespace, &[zygote])[0]);
        }
    }
    assert_eq!(zygotes.len(), 1);
    until(|| zygotes.iter().all(|&zygote| children(zygote).is_empty())).await;
}

#[tokio::test]
async fn a_burst_loads_the_function_once() {
    let host = Host::start().await;
    let spec = host.prepare(&[("main.py", PROBE)]).await.unwrap();
    let starts = (0..20).map(|_| host.start_spec(spec.clone()));
    let mut guests = futures_util::future::try_join_all(starts).await.unwrap();
    let mut parents = BTreeSet::new();
    for guest in &mut guests {
        parents.insert(number(&probe(guest).await, "parent"));
    }
    assert_eq!(parents.len(), 1);
}

/// The rest is in `tests/cases/hostile`: signals to others, and their memory.
#[tokio::test]
async fn instances_of_one_function_cannot_touch_each_other() {
    let host = Host::start().await;
    let machine = host.runtime.machine().unwrap();
    assert!(
        machine.layers.iter().any(|layer| layer.name == "landlock" && layer.enforced),
        "this test needs Landlock"
    );
    let attack = |pid: i32| {
        format!(
            "
global did
did = []
for step in ('os.kill({pid}, 9)', 'os.kill({pid}, 0)', 'os.kill(os.getppid(), 9)', 'open(\"/proc/{pid}/environ\").read()', 'open(\"/proc/{pid}/mem\", \"rb\")',
             'os.readlink(\"/proc/{pid}/fd/3\")', 'os.listdir(\"/proc/{pid}/cwd/\")'):
    try: exec(step)
    except OSError as error: continue
    did.append(step)
if did: raise SystemError(repr(did))
"
        )
    };
    let python = host.prepare(&[("main.py", PROBE)]).await.unwrap();
    let node = host
        .prepare(&[(
            "main.mjs",
            "import fs from 'node:fs'; import { execFileSync } from 'node:child_process';
export const handler = async (event) => {
  const did = [];
  for (const step of event.body ? [() => process.kill(Number(event.body), 'SIGKILL'), () => process.kill(process.ppid, 'SIGKILL'),
    () => fs.readFileSync(`/proc/${event.body}/environ`), () => fs.openSync(`/proc/${event.body}/mem`, 'r'), () => fs.readlinkSync(`/proc/${event.body}/fd/3`)] : []) {
    try { step(); did.push(String(step)); } catch (error) { if (error.code !== 'EPERM' && error.code !== 'EACCES') did.push(`${step}: ${error}`); }
  }
  if (did.length > 0) throw new Error(did.join());
  return { pid: process.pid };
};",
        )])
        .await
        .unwrap();
    for (spec, attack) in [(python, &attack as &dyn Fn(i32) -> String), (node, &|pid: i32| pid.to_string())] {
        let (mut one, mut two) =
            (host.start_spec(spec.clone()).await.unwrap(), host.start_spec(spec).await.unwrap());
        let inside = number(&one.get("/").await.answer().json(), "pid");
        let outcome = two.request(post("/", &attack(inside))).await;
        assert_eq!(outcome.answer().status, 200, "{outcome:?}");
        assert_eq!(number(&one.get("/").await.answer().json(), "pid"), inside);
    }
}

//! Every way in which a process can end, or refuse to, has a name; and after it the next call is answered.

use std::time::Duration;

use evoke_core::manifest::Preload;
use evoke_core::outcome::FailureCode;
use evoke_core::runtime::{Ended, Input};

use crate::support::*;

/// What it does, the file, its source, and how that is told: a code, and a part of the message.
type Case = (&'static str, &'static str, FailureCode, &'static str);

const CRASHES: &[Case] = &[
    (
        "exits_in_a_thread.py",
        "import os, threading, time\ndef handler(e, c):\n    threading.Thread(target=os._exit, args=[7]).start()\n    time.sleep(100)\n",
        FailureCode::Crashed,
        "the process exited with status 7",
    ),
    (
        "becomes_another_program.py",
        "import os\ndef handler(e, c): os.execv('/bin/sh', ['sh', '-c', 'echo not me >&2; exit 9'])\n",
        FailureCode::Crashed,
        "the process exited with status 9: not me",
    ),
    (
        "becomes_another_program.mjs",
        "export const handler = () => { process.kill(process.pid, 'SIGTERM'); return new Promise(() => {}); };",
        FailureCode::Crashed,
        "the process was killed by SIGTERM",
    ),
    (
        "aborts.mjs",
        "export const handler = () => { process.abort(); };",
        FailureCode::Crashed,
        "the process was killed by SIGABRT",
    ),
    (
        "last_words.py",
        "import ctypes, os, sys\ndef handler(e, c):\n    print('one', file=sys.stderr)\n    os.write(2, b'two\\nthree')\n    ctypes.string_at(0)\n",
        FailureCode::Crashed,
        "the process was killed by SIGSEGV: one | two | three",
    ),
    (
        "closes_all_it_has.py",
        "import os, time\ndef handler(e, c):\n    os.closerange(0, 1000)\n    time.sleep(100)\n",
        FailureCode::ProtocolViolation,
        "closed its socket during a call",
    ),
    (
        "ends_its_own_group.py",
        "import os, signal, time\ndef handler(e, c):\n    os.killpg(0, signal.SIGKILL)\n    time.sleep(100)\n",
        FailureCode::Crashed,
        "SIGKILL",
    ),
];

#[tokio::test]
async fn crashes_are_named_whether_forked_or_not() {
    let host = Host::start().await;
    for preload in [Preload::Module, Preload::None] {
        for &(file, source, code, words) in CRASHES {
            let mut spec = host.prepare(&[(file, source)]).await.unwrap();
            spec.preload = preload;
            let mut guest = host.start_spec(spec).await.unwrap();
            let outcome = guest.get("/").await;
            let failure = outcome.failure();
            assert_eq!(failure.code, code, "{file}, {preload:?}: {failure:?}");
            assert!(failure.message.contains(words), "{file}, {preload:?}: {failure:?}");
            assert!(!guest.instance.is_usable(), "{file}, {preload:?}");
            guest.instance.gone().await;
        }
    }
}

#[tokio::test]
async fn one_that_stops_itself_is_out_of_time() {
    let host = Host::start().await;
    let cases = [
        ("main.py", "import os, signal\ndef handler(e, c): os.kill(os.getpid(), signal.SIGSTOP)\n"),
        (
            "main.mjs",
            "export const handler = () => { process.kill(process.pid, 'SIGSTOP'); return new Promise(() => {}); };",
        ),
    ];
    for case in cases {
        for preload in [Preload::Module, Preload::None] {
            let mut spec = host.prepare(&[case]).await.unwrap();
            spec.preload = preload;
            let mut guest = host.start_spec(spec).await.unwrap();
            let limit = Duration::from_millis(300);
            let outcome = guest.run(Input::Request(post("/", "")), limit, no_platform()).await;
            assert_eq!(outcome.ended, Ended::TimedOut, "{}, {preload:?}", case.0);
            guest.instance.gone().await;
        }
    }
}

#[tokio::test]
async fn an_answer_cut_by_a_crash_says_so_to_its_reader() {
    let host = Host::start().await;
    let source = "import os
async def app(scope, receive, send):
    if scope['type'] != 'http': return
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})
    await send({'type': 'http.response.body', 'body': b'half', 'more_body': True})
    os._exit(5)
";
    let outcome = host.guest(&[("main.py", source)]).await.get("/").await;
    assert_eq!(outcome.failure().message, "the process exited with status 5");
    assert_eq!(outcome.answer().body, Err("body ended early: the process exited with status 5".to_owned()));
}

#[tokio::test]
async fn one_whose_zygote_dies_is_named_with_the_reason() {
    let host = Host::start().await;
    let source = "import os, time
def handler(e, c):
    if e['rawPath'] == '/wait': time.sleep(1000)
    return [os.readlink('/proc/self/ns/pid'), os.getppid()]
";
    let spec = host.prepare(&[("main.py", source)]).await.unwrap();
    let mut guest = host.start_spec(spec.clone()).await.unwrap();
    let (namespace, inside) = serde_json::from_value(guest.get("/").await.answer().json()).unwrap();
    let namespace: String = namespace;
    let zygote = crate::orphans::outside(&namespace, &[inside])[0];
    let kill = async {
        let pid = rustix::process::Pid::from_raw(zygote).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    };
    let (outcome, ()) = tokio::join!(guest.get("/wait"), kill);
    let failure = outcome.failure();
    assert_eq!(failure.code, FailureCode::Crashed, "{failure:?}");
    assert!(
        failure.message.starts_with("the process it was forked from was killed by SIGKILL"),
        "{failure:?}"
    );
    guest.instance.gone().await;
    host.start_spec(spec).await.unwrap().get("/").await.answer();
}

/// File descriptors of this process and of the launcher, and processes below this one.
fn held(launcher: i32) -> (usize, usize, usize) {
    let fds = |pid: &str| std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let below = crate::orphans::descendants(std::process::id() as i32).len();
    (fds("self"), fds(&launcher.to_string()), below)
}

/// Five ways to end, over and over. `EVOKE_TEST_ENDS=10000` is for the night.
#[tokio::test]
async fn ends_leave_nothing_behind() {
    let host = Host::start().await;
    host.runtime.interpreters().await;
    let runs: usize = std::env::var("EVOKE_TEST_ENDS").map_or(100, |runs| runs.parse().unwrap());
    let source = "import os, subprocess, time
def handler(e, c):
    open(os.path.join(os.environ['TMPDIR'], 'left'), 'w').write('x' * 1000)
    what = e['rawPath']
    if what == '/exit': os._exit(1)
    if what == '/late': time.sleep(1000)
    if what == '/close': os.close(3); time.sleep(1000)
    if what == '/brood': subprocess.Popen(['sleep', '1000'], start_new_session=True)
    return 1
";
    let spec = host.prepare(&[("main.py", source)]).await.unwrap();
    let launcher = crate::orphans::descendants(std::process::id() as i32)
        .into_iter()
        .find(|&pid| crate::orphans::parent(pid) == Some(std::process::id() as i32))
        .unwrap();
    let mut before = None;
    for nth in 0..runs {
        let mut guest = host.start_spec(spec.clone()).await.unwrap();
        let what = ["/exit", "/late", "/close", "/brood", "/"][nth % 5];
        let limit = Duration::from_millis(if what == "/late" { 50 } else { 20_000 });
        let outcome = guest.run(Input::Request(post(what, "")), limit, no_platform()).await;
        match what {
            "/late" => assert_eq!(outcome.ended, Ended::TimedOut),
            "/exit" => assert_eq!(outcome.failure().code, FailureCode::Crashed),
            "/close" => assert_eq!(outcome.failure().code, FailureCode::ProtocolViolation),
            _ => assert_eq!(outcome.answer().text(), "1"),
        }
        drop(guest);
        // What is there after the first round is what may be there after the last.
        if nth == 9 {
            let mut settled = held(launcher);
            until(|| {
                let now = held(launcher);
                let done = now.2 <= 3;
                settled = now;
                done
            })
            .await;
            before = Some(settled);
        }
    }
    let before = before.unwrap();
    until(|| {
        let now = held(launcher);
        now.0 <= before.0 && now.1 <= before.1 && now.2 <= before.2
    })
    .await;
}

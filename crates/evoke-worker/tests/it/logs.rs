//! Lines: through the shim, past it, cut, cleaned, attributed.

use evoke_core::limits::Limits;
use evoke_core::record::LogStream::{Stderr, Stdout};

use crate::support::*;

#[tokio::test]
async fn both_streams_are_reported_in_order() {
    let host = Host::start().await;
    let cases = [
        (
            "main.mjs",
            "export const handler = () => { console.log('one'); console.error('bad'); process.stdout.write('two\\nth'); process.stdout.write('ree'); return 1; };",
        ),
        (
            "main.py",
            "import sys\ndef handler(e, c):\n    print('one')\n    print('bad', file=sys.stderr)\n    sys.stdout.write('two\\nth')\n    sys.stdout.buffer.write(b'ree')\n    return 1\n",
        ),
    ];
    for case in cases {
        let outcome = host.guest(&[case]).await.get("/").await;
        assert_eq!(outcome.lines(Stdout), ["one", "two", "three"], "{}", case.0);
        assert_eq!(outcome.lines(Stderr), ["bad"], "{}", case.0);
    }
}

#[tokio::test]
async fn what_goes_past_the_shim_belongs_to_the_call() {
    let host = Host::start().await;
    let cases = [
        ("main.mjs", "import { spawnSync } from 'node:child_process'; import { writeSync } from 'node:fs';
            export const handler = () => { spawnSync('/bin/sh', ['-c', 'echo sub; echo err >&2'], { stdio: 'inherit' }); writeSync(1, 'raw\\nrest'); return 1; };"),
        ("main.py", "import os, subprocess\ndef handler(e, c):\n    subprocess.run(['/bin/sh', '-c', 'echo sub; echo err >&2'])\n    os.write(1, b'raw\\nrest')\n    return 1\n"),
    ];
    for case in cases {
        let mut guest = host.guest(&[case]).await;
        for _ in 0..3 {
            let outcome = guest.get("/").await;
            assert_eq!(outcome.lines(Stdout), ["sub", "raw", "rest"], "{}", case.0);
            assert_eq!(outcome.lines(Stderr), ["err"], "{}", case.0);
        }
    }
}

#[tokio::test]
async fn lines_written_while_loading_come_with_the_first_call() {
    let host = Host::start().await;
    for case in [
        ("main.mjs", "console.log('loading'); export const handler = () => 1;"),
        ("main.py", "print('loading')\ndef handler(e, c): return 1\n"),
    ] {
        let mut guest = host.guest(&[case]).await;
        assert_eq!(guest.get("/").await.lines(Stdout), ["loading"], "{}", case.0);
        assert_eq!(guest.get("/").await.lines(Stdout), [""; 0], "{}", case.0);
    }
}

#[tokio::test]
async fn long_lines_are_cut_and_broken_text_is_replaced() {
    let host = Host::with_limits(Limits { log_line_bytes: 16, ..Limits::default() }).await;
    let cases = [
        ("main.mjs", "import { writeSync } from 'node:fs';
            export const handler = () => { console.log('é'.repeat(100)); writeSync(2, Buffer.from('a\\xffb\\n', 'latin1')); writeSync(2, 'x'.repeat(100) + '\\n'); return 1; };"),
        ("main.py", "import os\ndef handler(e, c):\n    print('é' * 100)\n    os.write(2, b'a\\xffb\\n')\n    os.write(2, b'x' * 100 + b'\\n')\n    return 1\n"),
    ];
    for case in cases {
        let outcome = host.guest(&[case]).await.get("/").await;
        assert_eq!(outcome.lines(Stdout), ["é".repeat(8)], "{}", case.0);
        assert_eq!(outcome.lines(Stderr), ["a\u{fffd}b".to_owned(), "x".repeat(16)], "{}", case.0);
    }
}

#[tokio::test]
async fn a_cut_line_says_how_much_is_missing_whichever_way_it_came() {
    let host = Host::start().await;
    let cases = [
        (
            "main.mjs",
            "import { writeSync } from 'node:fs';
            export const handler = () => {
                for (let i = 0; i < 1000; i++) process.stdout.write('é'.repeat(1000));
                process.stdout.write('\\r\\nnext\\r\\nrest');
                const part = Buffer.alloc(1000, 'x'); for (let i = 0; i < 1000; i++) writeSync(2, part);
                return 1; };",
        ),
        (
            "main.py",
            "import os, sys\ndef handler(e, c):\n    for i in range(1000): sys.stdout.write('é' * 1000)\n    sys.stdout.write('\\r\\nnext\\r\\nrest')\n    for i in range(1000): os.write(2, b'x' * 1000)\n    return 1\n",
        ),
    ];
    for case in cases {
        let outcome = host.guest(&[case]).await.get("/").await;
        let cut = format!("{} … 1991841 more bytes", "é".repeat(4080));
        assert_eq!(outcome.lines(Stdout), [cut.as_str(), "next", "rest"], "{}", case.0);
        let cut = format!("{} … 991840 more bytes", "x".repeat(8160));
        assert_eq!(outcome.lines(Stderr), [cut], "{}", case.0);
    }
}

#[tokio::test]
async fn a_flood_while_loading_is_told_with_the_first_call() {
    let host = Host::start().await;
    for case in [
        ("main.mjs", "for (let i = 0; i < 300; i++) console.log(i); export const handler = () => 1;"),
        ("main.py", "for i in range(300): print(i)\ndef handler(e, c): return 1\n"),
    ] {
        let outcome = host.guest(&[case]).await.get("/").await;
        assert_eq!(outcome.lines(Stdout).len(), 200, "{}", case.0);
        let told = "further lines were dropped: a function may write 200 lines while it is loaded";
        assert_eq!(outcome.lines(evoke_core::record::LogStream::Platform), [told], "{}", case.0);
    }
}

#[tokio::test]
async fn a_flood_of_lines_slows_the_function_down_and_loses_none() {
    let host = Host::start().await;
    let cases = [
        (
            "main.mjs",
            "export const handler = () => { for (let i = 0; i < 5000; i++) console.log(i); return 1; };",
        ),
        ("main.py", "def handler(e, c):\n    for i in range(5000): print(i)\n    return 1\n"),
        (
            "raw.py",
            "import os\ndef handler(e, c):\n    for i in range(5000): os.write(1, b'%d\\n' % i)\n    return 1\n",
        ),
    ];
    for case in cases {
        let outcome = host.guest(&[case]).await.get("/").await;
        let lines = outcome.lines(Stdout);
        assert_eq!((lines.len(), lines[4999]), (5000, "4999"), "{}", case.0);
    }
}

#[tokio::test]
async fn processes_that_python_forks_write_to_the_same_log() {
    let host = Host::start().await;
    let source = "import multiprocessing, evoke
def work(n):
    print('child', n)
    try: evoke.kv.get('a')
    except RuntimeError as error: print(error)
    return n * 2
def handler(e, c):
    print('parent')
    with multiprocessing.get_context('fork').Pool(2) as pool:
        return pool.map(work, [1, 2])
";
    let mut guest = host.guest(&[("main.py", source)]).await;
    for _ in 0..2 {
        let outcome = guest.get("/").await;
        assert_eq!(outcome.answer().text(), "[2,4]");
        let mut lines = outcome.lines(Stdout);
        lines.sort_unstable();
        let none = "the platform can only be asked while a call runs, not while the module is loaded";
        assert_eq!(lines, ["child 1", "child 2", "parent", none, none]);
    }
}

#[tokio::test]
async fn threads_may_write_at_once() {
    let host = Host::start().await;
    let source = "import sys
from concurrent.futures import ThreadPoolExecutor
def handler(e, c):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: sys.stdout.write(f'line {n}\\n'), range(2000)))
    return 1
";
    let mut guest = host.guest(&[("main.py", source)]).await;
    for _ in 0..3 {
        let outcome = guest.get("/").await;
        let lines: std::collections::BTreeSet<_> = outcome.lines(Stdout).into_iter().collect();
        assert_eq!(lines.len(), 2000);
    }
}

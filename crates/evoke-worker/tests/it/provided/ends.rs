//! How calls and starts end that do not end well: each is named.

use std::time::Duration;

use evoke_core::body::Body;
use evoke_core::manifest::RuntimeKind;
use evoke_core::outcome::FailureCode;
use evoke_core::record::LogStream;
use evoke_core::runtime::{Ended, Input, PrepareError};

use super::*;

#[tokio::test]
async fn an_init_error_that_was_posted_is_told_in_its_own_words() {
    let host = Host::start().await;
    let source = "
print('before', file=sys.stderr)
status, _, _ = call('POST', RUNTIME + '/init/error', json.dumps({'errorType': 'ImportError', 'errorMessage': 'no module named x', 'stackTrace': ['line 1']}))
assert status == 202
";
    let failure = refused(&host, source).await;
    assert_eq!(
        (failure.code, failure.message.as_str()),
        (FailureCode::InitError, "ImportError: no module named x")
    );
    assert_eq!(failure.stack.as_deref(), Some("line 1"));
}

#[tokio::test]
async fn an_exit_before_the_first_invocation_is_an_init_error() {
    let host = Host::start().await;
    let failure = refused(&host, "print('no database', file=sys.stderr)\nsys.exit(3)").await;
    assert_eq!(failure.code, FailureCode::InitError);
    assert_eq!(
        failure.message,
        "bootstrap: before it asked for an invocation, the process exited with status 3: no database"
    );
}

#[tokio::test]
async fn a_bootstrap_that_asks_for_nothing_is_ended() {
    let host = Host::start().await;
    let mut spec = prepare(&host, "time.sleep(60)").await;
    spec.start_timeout = Duration::from_millis(200);
    let Err(failure) = host.start_spec(spec).await else { panic!("it started") };
    assert_eq!(failure.code, FailureCode::InitError);
    assert_eq!(failure.message, "bootstrap: it did not ask for an invocation within the limit of 200 ms");
}

#[tokio::test]
async fn what_cannot_be_executed_is_refused_at_deploy() {
    let host = Host::start().await;
    let mut told = Vec::new();
    for files in [
        &[("bootstrap", "echo hello")][..],
        &[("bootstrap", "#!/bin/sh\r\necho\r\n")],
        &[("fn/README", "nothing")],
    ] {
        let source = files[0].0.split('/').next().unwrap();
        told.push(host.prepare_as(RuntimeKind::Provided, source, files).await.unwrap_err().to_string());
    }
    assert_eq!(
        told,
        [
            "bootstrap:1:1: it is neither an ELF program nor a script that starts with #!",
            "bootstrap:1:1: its first line ends in CR LF, which the kernel takes for a part of the interpreter's name",
            "source \"fn/bootstrap\" is not among the app's files",
        ]
    );
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(10);
    header.set_mode(0o644);
    tar.append_data(&mut header, "bootstrap", &b"#!/bin/sh\n"[..]).unwrap();
    let tar = tar.into_inner().unwrap().into();
    let refused: PrepareError = host.prepare_tar(RuntimeKind::Provided, "bootstrap", tar).await.unwrap_err();
    assert_eq!(refused.to_string(), "bootstrap:1:1: it is not executable: chmod +x it");
}

#[tokio::test]
async fn an_interpreter_that_is_not_there_is_named() {
    let host = Host::start().await;
    let files = [("bootstrap", "#!/usr/bin/no-such-language\n")];
    let spec = host.prepare_as(RuntimeKind::Provided, "bootstrap", &files).await.unwrap();
    let Err(failure) = host.start_spec(spec).await else { panic!("it started") };
    assert_eq!(failure.code, FailureCode::InitError);
    assert!(
        failure.message.ends_with("the first line of bootstrap asks for \"/usr/bin/no-such-language\""),
        "{}",
        failure.message
    );
}

#[tokio::test]
async fn an_invocation_that_is_never_answered_times_out() {
    let host = Host::start().await;
    let mut guest = guest(&host, "next_invocation()\nprint('begun', flush=True)\ntime.sleep(60)").await;
    let input = Input::Request(request("GET", "/", &[], Body::empty()));
    let outcome = guest.run(input, ENOUGH, no_platform()).await;
    assert_eq!(outcome.ended, Ended::TimedOut);
    assert_eq!(outcome.lines(LogStream::Stdout), ["begun"]);
    assert!(!guest.instance.is_usable());
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_is_ended() {
    let host = Host::start().await;
    let mut guest = guest(&host, "next_invocation()\ntime.sleep(60)").await;
    let (call, _reports) = call(Input::Request(request("GET", "/", &[], Body::empty())), PATIENCE);
    call.cancel.cancel();
    assert_eq!(guest.instance.call(call).await, Ended::Cancelled);
}

#[tokio::test]
async fn asking_for_the_next_without_an_answer_is_a_violation() {
    let host = Host::start().await;
    let mut guest = guest(&host, "next_invocation()\nnext_invocation()").await;
    let outcome = guest.get("/").await;
    let failure = outcome.failure();
    assert_eq!(failure.code, FailureCode::ProtocolViolation);
    assert_eq!(failure.message, "asked for the next invocation without having answered run_01");
}

#[tokio::test]
async fn crashes_tell_status_or_signal_and_the_last_lines() {
    let host = Host::start().await;
    let source = "
next_invocation()
print('one\\ntwo', file=sys.stderr, flush=True)
os._exit(7)
";
    let outcome = guest(&host, source).await.get("/").await;
    let failure = outcome.failure();
    assert_eq!(failure.code, FailureCode::Crashed);
    assert_eq!(failure.message, "the process exited with status 7: one | two");
    let outcome = guest(&host, "next_invocation()\nos.kill(os.getpid(), 11)").await.get("/").await;
    assert_eq!(outcome.failure().message, "the process was killed by SIGSEGV");
}

#[tokio::test]
async fn a_bootstrap_may_answer_once_and_end() {
    let host = Host::start().await;
    let source = "
id, _, _ = next_invocation()
respond(id, {'statusCode': 201})
sys.exit(int(os.environ.get('STATUS', '0')))
";
    let mut spec = prepare(&host, source).await;
    let mut guest = host.start_spec(spec.clone()).await.unwrap();
    let outcome = guest.get("/").await;
    assert_eq!(outcome.answer().status, 201);
    assert!(outcome.events().is_empty());
    assert!(!guest.instance.is_usable());
    spec.env.push(("STATUS".to_owned(), "5".to_owned()));
    let outcome = host.start_spec(spec).await.unwrap().get("/").await;
    assert_eq!(outcome.failure().message, "the process exited with status 5");
}

#[tokio::test]
async fn memory_that_is_not_there_is_named() {
    let host = Host::start().await;
    let source = "
id, _, _ = next_invocation()
try:
    data = bytearray(1 << 30)
    for at in range(0, len(data), 4096):
        data[at] = 1
except MemoryError:
    fail(id, {'errorType': 'MemoryError', 'errorMessage': ''})
next_invocation()
";
    let mut spec = prepare(&host, source).await;
    spec.memory_bytes = 64 << 20;
    let mut guest = host.start_spec(spec).await.unwrap();
    let outcome = guest.get("/").await;
    assert_eq!(outcome.failure().code, FailureCode::OutOfMemory, "{outcome:#?}");
    assert!(!guest.instance.is_usable());
}

#[tokio::test]
async fn an_answer_above_the_limit_is_refused() {
    let host = Host::start().await;
    let source = "
while True:
    id, _, payload = next_invocation()
    if payload['rawPath'] == '/large':
        try:
            print(respond(id, b'7' * (7 << 20))[0], flush=True)
        except OSError as error:
            print(413, flush=True)
    else:
        respond(id, 7)
";
    let mut guest = guest(&host, source).await;
    let outcome = guest.get("/large").await;
    assert_eq!(outcome.failure().message, "the answer is larger than the limit of 6291456 bytes");
    assert_eq!(outcome.lines(LogStream::Stdout), ["413"]);
    assert_eq!(guest.get("/").await.answer().text(), "7");
}

//! What clients are told, and what becomes of what they post.

use bytes::Bytes;
use evoke_core::outcome::FailureCode;
use evoke_core::record::LogStream;

use super::*;

#[tokio::test]
async fn requests_have_the_shape_of_payload_2() {
    let host = Host::start().await;
    let mut guest = guest(&host, "serve(lambda payload, fields: payload)").await;
    let mut call = request(
        "POST",
        "/a%20b/c?x=1&x=2&y=%26",
        &[
            ("cookie", "a=1; b=2"),
            ("x-many", "1"),
            ("x-many", "2"),
            ("content-type", "text/plain; charset=utf-8"),
            ("user-agent", "test"),
        ],
        Bytes::from_static("héllo".as_bytes()),
    );
    call.params = vec![("id".to_owned(), "7".to_owned())];
    let mut told = guest.request(call).await.answer().json();
    assert!(told["requestContext"]["timeEpoch"].take().as_u64().unwrap() > 1_700_000_000_000);
    let time = told["requestContext"]["time"].take();
    assert_eq!(time.as_str().unwrap().len(), "21/Nov/2026:01:42:00 +0000".len(), "{time}");
    insta::with_settings!({ snapshot_path => "../snapshots", prepend_module_to_snapshot => false }, {
        insta::assert_json_snapshot!("it__lambda__payload", told);
    });
}

#[tokio::test]
async fn invocations_have_the_header_fields_of_lambda() {
    let host = Host::start().await;
    let mut guest = guest(&host, "serve(lambda payload, fields: fields)").await;
    let told = guest.get("/").await.answer().json();
    let text = |name: &str| told[name].as_str().unwrap().to_owned();
    assert_eq!(text("lambda-runtime-aws-request-id"), "run_01");
    assert_eq!(text("lambda-runtime-invoked-function-arn"), "arn:evoke:lambda:local:shop:function:sample");
    assert_eq!(
        text("lambda-runtime-trace-id"),
        "Root=1-0af76519-16cd43dd8448eb211c80319c;Parent=b7ad6b7169203331;Sampled=1"
    );
    assert_eq!(text("traceparent"), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    assert_eq!(
        (text("evoke-attempt"), text("content-type")),
        ("1".to_owned(), "application/json".to_owned())
    );
    assert!(text("lambda-runtime-deadline-ms").parse::<u64>().unwrap() > 1_700_000_000_000);
}

#[tokio::test]
async fn an_instance_serves_one_call_after_the_other() {
    let host = Host::start().await;
    let source = "
count = 0
def handler(payload, fields):
    global count
    count += 1
    print('call', count, flush=True)
    return {'count': count}
print('loaded', flush=True)
serve(handler)
";
    let mut guest = guest(&host, source).await;
    for count in 1..=3 {
        let outcome = guest.get("/").await;
        assert_eq!(outcome.answer().json()["count"], count, "{outcome:#?}");
        let lines = outcome.lines(LogStream::Stdout);
        let own = format!("call {count}");
        let expected: &[&str] = if count == 1 { &["loaded", &own] } else { &[&own] };
        assert_eq!(lines, expected);
        assert!(guest.instance.is_usable());
    }
}

#[tokio::test]
async fn an_error_that_was_posted_fails_the_call_and_not_the_instance() {
    let host = Host::start().await;
    let source = "
while True:
    id, fields, payload = next_invocation()
    if payload['rawPath'] == '/fail':
        status, _, _ = fail(id, {'errorType': 'KeyError', 'errorMessage': 'no such order', 'stackTrace': ['a', 'b']})
        assert status == 202, status
    else:
        respond(id, 'fine')
";
    let mut guest = guest(&host, source).await;
    let outcome = guest.get("/fail").await;
    let failure = outcome.failure();
    assert_eq!(
        (failure.code, failure.message.as_str()),
        (FailureCode::FunctionError, "KeyError: no such order")
    );
    assert_eq!(failure.stack.as_deref(), Some("a\nb"));
    let outcome = guest.get("/").await;
    assert!(outcome.failure().message.contains("no JSON"), "{outcome:#?}");
    assert!(guest.instance.is_usable());
}

//! Endpoints that are slow, busy, elsewhere or not there: each costs a bounded time, and the failure says what it was.

use std::sync::atomic::Ordering;
use std::time::Duration;

use evoke_core::outcome::FailureCode;
use evoke_core::runtime::Ended;
use evoke_core::secret::SecretValue;
use evoke_core::webhook::standard;
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::endpoint::{DRIPPING_BODY, DRIPPING_HEAD, Endpoint};
use crate::hook::{LONG, RETURNED, deliver, failure, hook, runtime, signed_with};

const HERE: &[&str] = &["127.0.0.1", "::1"];

#[tokio::test]
async fn an_answer_whose_head_drips_in_is_waited_for_until_the_deadline_in_all() {
    let endpoint = Endpoint::answering(DRIPPING_HEAD).await;
    let runtime = runtime(Some(endpoint.ca.path()), HERE);
    let mut instance = hook(&runtime, &endpoint.url).await;
    let (statuses, ended) = deliver(&mut *instance, Duration::from_millis(200)).await;
    assert_eq!((statuses, ended), (Vec::new(), Ended::TimedOut));
}

#[tokio::test]
async fn of_a_body_that_drips_in_no_more_than_a_second_is_read() {
    let endpoint = Endpoint::answering(DRIPPING_BODY).await;
    let runtime = runtime(Some(endpoint.ca.path()), HERE);
    let mut instance = hook(&runtime, &endpoint.url).await;
    let begun = Instant::now();
    assert_eq!(deliver(&mut *instance, LONG).await, (vec![200], RETURNED));
    assert!(begun.elapsed() < LONG / 2, "the whole body takes five minutes");
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_named() {
    let endpoint = Endpoint::answering(
        "HTTP/1.1 307 Temporary Redirect\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n",
    )
    .await;
    let runtime = runtime(Some(endpoint.ca.path()), HERE);
    let (statuses, ended) = deliver(&mut *hook(&runtime, &endpoint.url).await, LONG).await;
    let (code, words) = failure(ended);
    assert_eq!((statuses, code), (Vec::new(), FailureCode::BadStatus));
    assert!(words.contains("redirects are not followed") && words.contains("/elsewhere"), "{words}");
    let got = endpoint.got.lock().unwrap().clone();
    assert_eq!((got.matches("POST /in").count(), got.matches("/elsewhere").count()), (1, 0));
}

#[tokio::test]
async fn an_endpoint_that_is_busy_says_when_to_come_back() {
    let endpoint = Endpoint::answering(
        "HTTP/1.1 429 Too Many Requests\r\nretry-after: 120\r\ncontent-length: 4\r\n\r\nbusy",
    )
    .await;
    let runtime = runtime(Some(endpoint.ca.path()), HERE);
    let (_, ended) = deliver(&mut *hook(&runtime, &endpoint.url).await, LONG).await;
    let Ended::Failed(failure) = ended else { panic!("{ended:?}") };
    assert_eq!((failure.code, failure.retry_after_ms), (FailureCode::BadStatus, Some(120_000)));
    assert!(failure.message.contains("429") && failure.message.contains("busy"), "{failure}");
}

#[tokio::test]
async fn an_endpoint_where_nobody_listens_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/in", listener.local_addr().unwrap());
    drop(listener);
    let (_, ended) = deliver(&mut *hook(&runtime(None, HERE), &url).await, LONG).await;
    let (code, words) = failure(ended);
    assert_eq!(code, FailureCode::Unreachable);
    assert!(words.contains("refused"), "{words}");
}

#[tokio::test]
async fn a_name_that_nobody_has_is_unreachable_and_named() {
    // No name below `invalid` exists (RFC 6761).
    let (_, ended) =
        deliver(&mut *hook(&runtime(None, HERE), "https://partner.invalid/in").await, LONG).await;
    let (code, words) = failure(ended);
    assert_eq!(code, FailureCode::Unreachable);
    assert!(words.contains("partner.invalid"), "{words}");
}

#[tokio::test]
async fn while_a_secret_is_replaced_deliveries_are_signed_with_both() {
    let endpoint = Endpoint::answering("HTTP/1.1 204 No Content\r\n\r\n").await;
    let runtime = runtime(Some(endpoint.ca.path()), HERE);
    let keys = [
        ("NEW", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"),
        ("OLD", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
    ];
    let mut instance = signed_with(&runtime, &endpoint.url, &keys).await;
    assert_eq!(deliver(&mut *instance, LONG).await, (vec![204], RETURNED));
    assert_eq!(endpoint.connections.load(Ordering::SeqCst), 1);
    let got = endpoint.got.lock().unwrap().clone();
    let (head, body) = got.split_once("\r\n\r\n").unwrap();
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(&format!("{name}: "))).unwrap();
    let (id, at, signature) = (field("webhook-id"), field("webhook-timestamp"), field("webhook-signature"));
    let by = |key: &str| {
        let secret = SecretValue::new(key).unwrap();
        standard::sign(&[secret], id, at.parse().unwrap(), body.as_bytes()).unwrap()
    };
    assert_eq!(signature, format!("{} {}", by(keys[0].1), by(keys[1].1)), "the newest first");
}

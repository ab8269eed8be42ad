//! Deliveries over TLS to real endpoints, well-behaved ones and others.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use evoke_core::egress::AddressPolicy;
use evoke_core::event::Event;
use evoke_core::hook::{ContentMode, Hook, HookUrl};
use evoke_core::id::{AppName, Correlation, FunctionName, RevisionId, RunId};
use evoke_core::limits::Limits;
use evoke_core::manifest::{Preload, RuntimeKind};
use evoke_core::outcome::FailureCode;
use evoke_core::record::Cause;
use evoke_core::runtime::{Call, Ended, Input, Instance, InstanceSpec, Report, Runtime, reports};
use evoke_core::secret::SecretName;
use evoke_core::testing::clock::TokioClock;
use evoke_core::time::Timestamp;
use evoke_outbound::{Client, Dial, HookRuntime, Trust};
use evoke_worker::{Dialler, Resolver};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::endpoint::{ENDLESS, Endpoint, SILENT};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nthank";

pub fn runtime(ca: Option<&Path>, opened: &[&str]) -> HookRuntime {
    let limits = Limits::default();
    let policy = AddressPolicy { opened: opened.iter().map(|range| range.parse().unwrap()).collect() };
    let dialler = Dialler::new(policy, Resolver::System, limits.clone());
    let dial: Dial = Arc::new(move |to, reach| {
        let dialler = dialler.clone();
        Box::pin(async move { dialler.dial(&to, reach).await })
    });
    let client = Client::new(dial, &Trust::load(ca).unwrap(), 8);
    let clock = Arc::new(TokioClock::starting(Timestamp::from_millis(1_700_000_000_000)));
    HookRuntime::new(client, clock, &limits)
}

pub async fn hook(runtime: &HookRuntime, url: &str) -> Box<dyn Instance> {
    signed_with(runtime, url, &[("KEY", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]).await
}

/// A hook with these secrets, the newest first.
pub async fn signed_with(runtime: &HookRuntime, url: &str, secrets: &[(&str, &str)]) -> Box<dyn Instance> {
    let hook = Hook {
        url: HookUrl::parse(url).unwrap(),
        secrets: secrets.iter().map(|(name, _)| SecretName::new(name).unwrap()).collect(),
        headers: Default::default(),
        secret_headers: Default::default(),
        mode: ContentMode::Structured,
    };
    let spec = InstanceSpec {
        app: AppName::new("shop").unwrap(),
        function: FunctionName::new("partner").unwrap(),
        revision: RevisionId::from_text("r"),
        runtime: RuntimeKind::Hook,
        bundle: String::new(),
        source: Default::default(),
        handler: None,
        env: secrets.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        egress: Default::default(),
        memory_bytes: 0,
        preload: Preload::None,
        instance_concurrency: 4,
        keeps_instance: false,
        start_timeout: Duration::from_secs(20),
        hook: Some(hook),
    };
    let mut instance = runtime.start(Arc::new(spec)).await.unwrap();
    assert_eq!(instance.lanes().len(), 3);
    instance
}

/// Delivers an event; the statuses that were reported, and the end.
pub async fn deliver(instance: &mut dyn Instance, timeout: Duration) -> (Vec<u16>, Ended) {
    let (up, reports) = reports(8);
    let cause = Cause {
        root: Correlation::from_text("root"),
        parent: None,
        depth: 0,
        chain: evoke_core::chain::Chain::default(),
        version: None,
        trace_id: "0af7651916cd43dd8448eb211c80319c".to_owned(),
        span_id: "b7ad6b7169203331".to_owned(),
        shadow: false,
    };
    let call = Call {
        run: RunId::from_text("run_1"),
        attempt: 1,
        cause,
        deadline: Instant::now() + timeout,
        deadline_at: Timestamp(0),
        timeout,
        input: Input::Event(Event::new("e", "/s", "t")),
        decorates: false,
        hops: None,
        up,
        cancel: CancellationToken::new(),
    };
    let ended = instance.call(call).await;
    let mut statuses = Vec::new();
    while let Some(report) = reports.try_recv() {
        if let Report::Response(response) = report {
            statuses.push(response.status.as_u16());
        }
    }
    (statuses, ended)
}

pub fn failure(ended: Ended) -> (FailureCode, String) {
    match ended {
        Ended::Failed(failure) => (failure.code, failure.message),
        other => panic!("{other:?}"),
    }
}

pub const LONG: Duration = Duration::from_secs(60);
pub const RETURNED: Ended = Ended::Returned { events: Vec::new() };

#[tokio::test]
async fn deliveries_go_over_one_connection_with_a_certificate_of_an_own_authority() {
    let endpoint = Endpoint::answering(OK).await;
    let runtime = runtime(Some(endpoint.ca.path()), &["127.0.0.1", "::1"]);
    let mut instance = hook(&runtime, &endpoint.url).await;
    for _ in 0..5 {
        assert_eq!(deliver(&mut *instance, LONG).await, (vec![200], RETURNED));
        assert!(instance.is_usable());
    }
    assert_eq!(endpoint.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_refused() {
    let endpoint = Endpoint::answering(OK).await;
    let runtime = runtime(None, &["127.0.0.1", "::1"]);
    let (_, ended) = deliver(&mut *hook(&runtime, &endpoint.url).await, LONG).await;
    let (code, words) = failure(ended);
    assert_eq!(code, FailureCode::Unreachable);
    assert!(words.contains("invalid peer certificate") && words.contains("--ca-file"), "{words}");
}

#[tokio::test]
async fn a_name_that_leads_to_this_machine_is_refused_before_anything_is_connected_to() {
    let endpoint = Endpoint::answering(OK).await;
    let runtime = runtime(Some(endpoint.ca.path()), &[]);
    let (_, ended) = deliver(&mut *hook(&runtime, &endpoint.url).await, LONG).await;
    let (code, words) = failure(ended);
    assert_eq!(code, FailureCode::Unreachable);
    assert!(words.contains("localhost:") && words.contains("--egress-allow"), "{words}");
    assert_eq!(endpoint.connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn an_endless_answer_is_delivered_and_loses_its_connection() {
    let endpoint = Endpoint::answering(ENDLESS).await;
    let runtime = runtime(Some(endpoint.ca.path()), &["127.0.0.1", "::1"]);
    let mut instance = hook(&runtime, &endpoint.url).await;
    for expected in 1..=2 {
        assert_eq!(deliver(&mut *instance, LONG).await, (vec![200], RETURNED));
        assert_eq!(endpoint.connections.load(Ordering::SeqCst), expected);
    }
}

#[tokio::test]
async fn an_endpoint_that_does_not_answer_is_waited_for_until_the_deadline() {
    let endpoint = Endpoint::answering(SILENT).await;
    let runtime = runtime(Some(endpoint.ca.path()), &["127.0.0.1", "::1"]);
    let mut instance = hook(&runtime, &endpoint.url).await;
    let (statuses, ended) = deliver(&mut *instance, Duration::from_millis(200)).await;
    assert_eq!((statuses, ended), (Vec::new(), Ended::TimedOut));
    assert!(instance.is_usable());
}

#[tokio::test]
async fn what_is_no_http_is_a_failure() {
    let endpoint = Endpoint::answering("hello\r\n\r\n").await;
    let runtime = runtime(Some(endpoint.ca.path()), &["127.0.0.1", "::1"]);
    let (_, ended) = deliver(&mut *hook(&runtime, &endpoint.url).await, LONG).await;
    assert_eq!(failure(ended).0, FailureCode::Unreachable);
}

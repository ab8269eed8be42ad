//! Renewal as time passes, with an ACME server that only refuses. That certificates are obtained is tried against a real one
//! (`crates/evoke/tests/it/acme.rs`).

use std::path::Path;

use evoke_core::testing::clock::TokioClock;
use evoke_core::time::Timestamp;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use tokio::sync::watch;

use super::*;
use crate::tls::Oldest;

const HOUR: Duration = Duration::from_secs(60 * 60);
/// When the certificate that is there was obtained. It is valid for 90 days.
const BEGUN: &str = "2026-11-21T00:00:00Z";

/// Keeps that certificate.
fn keep(settings: &AcmeSettings) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(settings.domains.clone()).unwrap();
    params.not_before = date_time_ymd(2026, 11, 21);
    params.not_after = date_time_ymd(2027, 2, 19);
    let certificate = params.self_signed(&key).unwrap();
    Folder::open(settings).unwrap().keep(&certificate.pem(), &key.serialize_pem()).unwrap();
}

fn settings(folder: &Path) -> AcmeSettings {
    AcmeSettings {
        directory: "https://acme.example/directory".to_owned(),
        domains: vec!["shop.example.com".to_owned()],
        contacts: Vec::new(),
        over_http: false,
        folder: folder.to_owned(),
    }
}

/// The pauses before each of so many tries, by a server whose answers have these `Retry-After`s, and then none.
async fn pauses(tries: usize, told: &'static [&'static str]) -> Vec<Duration> {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let clock: Arc<dyn Clock> = Arc::new(TokioClock::starting(Timestamp::parse_rfc3339(BEGUN).unwrap()));
    let begun = clock.now();
    keep(&settings);
    let certificates = Certificates::load(Vec::new(), Oldest::Tls12, clock.clone()).unwrap();
    let (asked, mut seen) = watch::channel(Vec::new());
    let fetch: Fetch = {
        let clock = clock.clone();
        Arc::new(move |_| {
            let mut answer = http::Response::builder().status(429);
            if let Some(told) = told.get(asked.borrow().len()) {
                answer = answer.header("retry-after", *told);
            }
            asked.send_modify(|asked| asked.push(clock.now()));
            let body =
                r#"{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many certificates"}"#;
            Box::pin(async move { Ok(answer.body(Bytes::from(body)).unwrap()) })
        })
    };
    let renewal = Renewal::open(settings, certificates.clone(), fetch, clock.clone()).unwrap();
    let times = tokio::select! {
        () = renewal.run() => unreachable!("it runs for ever"),
        seen = seen.wait_for(|asked| asked.len() == tries) => seen.unwrap().clone(),
    };
    assert!(certificates.has_obtained("shop.example.com"), "the old certificate is no longer in use");
    std::iter::once(begun)
        .chain(times.iter().copied())
        .zip(times.iter())
        .map(|(before, at)| at.since(before))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_certificate_is_renewed_after_two_thirds_of_its_time_and_failures_are_further_and_further_apart() {
    let found = pauses(12, &[]).await;
    let seconds: Vec<u64> = found.iter().map(Duration::as_secs).collect();
    assert_eq!(seconds[0], 60 * 24 * 60 * 60, "two thirds of 90 days");
    assert_eq!(seconds[1..], [60, 120, 240, 480, 960, 1920, 3840, 7680, 15_360, 21_600, 21_600]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_when_to_come_again_is_left_alone_until_then_within_a_bound() {
    let found = pauses(5, &["7200", "5", "99999999", "Wed, 01 Jan 2020 00:00:00 GMT"]).await;
    assert_eq!(found[1], 2 * HOUR);
    assert_eq!(found[2], Duration::from_secs(120), "sooner than by itself it does not come");
    assert_eq!(found[3], 48 * HOUR);
    assert_eq!(found[4], Duration::from_secs(480), "a time that is over");
}

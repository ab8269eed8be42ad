//! Heads in both forms: what was written is read, what breaks a rule is refused, and both forms refuse the same.

use bytes::Bytes;
use evoke_core::chain::Chain;
use evoke_core::event::Event;
use evoke_core::id::Correlation;
use evoke_core::record::Cause;
use evoke_core::usage::Usage;
use evoke_worker::frame::compact::{self, Invocation, Invoked};
use evoke_worker::frame::message::{EventsOut, HeaderBounds, HeadersOut, Invoke, InvokeRequest};
use evoke_worker::frame::{Decoder, Encoder, Form, FrameError, Kind};
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

/// With and without what needs escapes in JSON.
const TEXT: &str = r#"[a-z]{0,20}|[a-z"\\\n\x7fé€]{0,6}"#;
const BOUNDS: HeaderBounds = HeaderBounds { fields: 8, bytes: 200 };

/// The payload of the one frame that `write` adds.
fn payload(write: impl FnOnce(&mut Encoder) -> Result<(), FrameError>) -> Bytes {
    let mut encoder = Encoder::default();
    write(&mut encoder).unwrap();
    let mut decoder = Decoder::default();
    decoder.space(encoder.unwritten().len()).extend_from_slice(encoder.unwritten());
    decoder.take().unwrap().unwrap().payload
}

fn cause() -> Cause {
    Cause {
        root: Correlation::from_text("corr_01"),
        parent: None,
        depth: 0,
        chain: Chain::default(),
        version: None,
        trace_id: "0af7651916cd43dd8448eb211c80319c".to_owned(),
        span_id: "b7ad6b7169203331".to_owned(),
        shadow: false,
    }
}

fn invoke<'a>(cause: &'a Cause, request: Option<InvokeRequest<'a>>, event: Option<EventsOut<'a>>) -> Bytes {
    let hops = Some("evoke;depth=1");
    let invoke = Invoke { run: "run_01", attempt: 1, deadline_ms: 7, cause, hops, request, event };
    payload(|to| Form::Compact.invoke(to, 1, &invoke))
}

fn headers() -> impl Strategy<Value = HeaderMap> {
    let plain = prop::collection::vec(0x20..=0x7e_u8, 0..20);
    let value = prop_oneof![plain, prop::collection::vec(prop_oneof![0x20..=0x7e_u8, 0x80..=0xff_u8], 0..20)];
    prop::collection::vec(("x-[a-z]{1,5}", value), 0..8).prop_map(|fields| {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_bytes(&value).unwrap(),
            );
        }
        map
    })
}

fn json_of(status: u16, headers: &HeaderMap, body: bool) -> Bytes {
    let head = serde_json::json!({ "status": status, "headers": HeadersOut(headers), "body": body });
    head.to_string().into()
}

proptest! {
    /// Whatever is right in one form is the same in the other, and what is wrong is wrong in both.
    #[test]
    fn an_answer_is_the_same_in_both_forms(status in 0..700_u16, headers in headers(), body in any::<bool>()) {
        let compact = payload(|to| compact::response(to, 1, status, &headers, body));
        let read = Form::Compact.response(&compact, BOUNDS);
        let same = Form::Json.response(&json_of(status, &headers, body), BOUNDS);
        match (read, same) {
            (Ok(read), Ok(same)) => {
                prop_assert_eq!(&read.headers, &headers);
                prop_assert_eq!((read.status, read.headers, read.body), (same.status, same.headers, same.body));
            }
            (Err(read), Err(same)) => prop_assert_eq!(read, same),
            (read, same) => prop_assert!(false, "{:?} and {:?}", read, same),
        }
    }

    #[test]
    fn an_answer_that_is_cut_short_or_goes_on_is_refused(headers in headers(), cut in any::<prop::sample::Index>(), more in 1..9_usize) {
        let whole = payload(|to| compact::response(to, 1, 200, &headers, true));
        prop_assert!(Form::Compact.response(&whole.slice(..cut.index(whole.len())), BOUNDS).is_err());
        let longer = [&whole[..], &vec![0; more]].concat();
        prop_assert!(Form::Compact.response(&longer.into(), BOUNDS).is_err());
    }

    #[test]
    fn what_a_call_used_comes_over(cpu_us in any::<Option<u64>>(), peak_memory_bytes in any::<Option<u64>>()) {
        let usage = Usage { cpu_us, peak_memory_bytes, ..Usage::default() };
        let done = Form::Compact.done(&payload(|to| compact::done(to, 1, &[], usage))).unwrap();
        prop_assert_eq!((done.usage, done.events), (usage, Vec::new()));
    }

    #[test]
    fn a_request_is_read_as_it_was_written(headers in headers(), body in any::<bool>(), path in "/[a-z/]{0,30}") {
        let (uri, cause) = (format!("http://shop.example{path}?a=1"), cause());
        let request = InvokeRequest {
            method: "PROPFIND", uri: &uri, headers: HeadersOut(&headers), params: &[], client: None, body, next: false,
        };
        let read = Invoked::read(invoke(&cause, Some(request), None), BOUNDS).unwrap();
        prop_assert_eq!(read.deadline_ms, 7);
        let marks = read.marks.unwrap();
        prop_assert_eq!((&*marks.trace_id, &*marks.span_id), (cause.trace_id.as_bytes(), cause.span_id.as_bytes()));
        prop_assert_eq!(&*marks.hops, b"evoke;depth=1");
        let Invocation::Request { head, body: has_body } = read.input else { panic!("it was a request") };
        prop_assert_eq!((head.method.as_str(), head.uri.to_string(), head.headers, has_body), ("PROPFIND", uri, headers, body));
    }
}

proptest! {
    /// What needs escapes and what does not, in any place.
    #[test]
    fn an_interpreter_is_told_the_same_in_json(
        headers in headers(), uri in TEXT, client in prop::option::of(TEXT), hops in prop::option::of(TEXT),
        params in prop::collection::vec((TEXT, TEXT), 0..3), body in any::<bool>(), next in any::<bool>(),
    ) {
        let (cause, client) = (cause(), client.as_deref());
        let fields = HeadersOut(&headers);
        let request = InvokeRequest { method: "GET", uri: &uri, headers: fields, params: &params, client, body, next };
        let (request, hops) = (Some(request), hops.as_deref());
        let invoke = Invoke { run: "run_01", attempt: 2, deadline_ms: 7, cause: &cause, hops, request, event: None };
        let payload = payload(|to| Form::Json.invoke(to, 1, &invoke));
        let mut expected = serde_json::json!({
            "run": "run_01", "attempt": 2, "deadline_ms": 7, "cause": cause,
            "request": { "method": "GET", "uri": uri, "headers": fields, "params": params, "client": client, "body": body },
        });
        if let Some(hops) = hops {
            expected["hops"] = hops.into();
        }
        if next {
            expected["request"]["next"] = true.into();
        }
        prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(&payload).unwrap(), expected);
    }
}

#[test]
fn an_event_is_read_as_it_was_written() {
    let (event, cause) = (Event::new("evt_1", "/shop", "purchase_complete"), cause());
    let read = Invoked::read(invoke(&cause, None, Some(EventsOut::One(&event))), BOUNDS).unwrap();
    let Invocation::Event(json) = read.input else { panic!("it was an event") };
    assert_eq!(json, serde_json::to_vec(&event).unwrap());

    let (hops, event) = (None, Some(EventsOut::One(&event)));
    let invoke = Invoke { run: "r", attempt: 1, deadline_ms: 7, cause: &cause, hops, request: None, event };
    let payload = payload(|to| Form::Json.invoke(to, 1, &invoke));
    let expected =
        serde_json::json!({ "run": "r", "attempt": 1, "deadline_ms": 7, "cause": cause, "event": event });
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&payload).unwrap(), expected);
}

#[test]
fn returned_events_come_over() {
    let events = [serde_json::json!({ "type": "a" }), serde_json::json!({ "type": "b" })];
    let done = Form::Compact.done(&payload(|to| compact::done(to, 1, &events, Usage::default()))).unwrap();
    assert_eq!(done.events, events);
}

/// A count or a length is a claim: it is held against what there is, and against the bounds, before anything is made for it.
#[test]
fn claims_of_a_broken_worker_are_refused() {
    let head = |rest: &[u8]| Bytes::from([&200_u16.to_le_bytes()[..], &[0], rest].concat());
    let refused = |rest: &[u8]| Form::Compact.response(&head(rest), BOUNDS).unwrap_err().to_string();
    assert_eq!(
        refused(&u16::MAX.to_le_bytes()),
        "Response frame is malformed: 65535 header fields are above the limit of 8"
    );
    assert_eq!(refused(&8_u16.to_le_bytes()), "Response frame is malformed: it is cut short");
    let field = |name: &[u8], value: &[u8]| {
        let text = |bytes: &[u8]| [&(bytes.len() as u32).to_le_bytes()[..], bytes].concat();
        [&1_u16.to_le_bytes()[..], &text(name), &text(value)].concat()
    };
    let four_gigabytes = [&1_u16.to_le_bytes()[..], &u32::MAX.to_le_bytes(), b"a"].concat();
    assert_eq!(refused(&four_gigabytes), "Response frame is malformed: it is cut short");
    assert_eq!(
        refused(&field(b"a b", b"")),
        "Response frame is malformed: \"a b\" is not the name of a header field"
    );
    let splits = "Response frame is malformed: header field a has a value that HTTP does not allow";
    assert_eq!(refused(&field(b"a", b"b\r\nc: d")), splits);
    let large = refused(&field(b"a", &[b'x'; 200]));
    assert_eq!(large, "Response frame is malformed: 201 bytes of header fields are above the limit of 200");
    let kept = Form::Compact.response(&head(&field(b"Connection", b"close")), BOUNDS).unwrap();
    assert!(kept.headers.is_empty());
    let done = Form::Compact.done(&Bytes::from_static(&[0; 16])).unwrap_err();
    assert_eq!(done, FrameError::Malformed { kind: Kind::Done, message: "it is cut short".to_owned() });
}

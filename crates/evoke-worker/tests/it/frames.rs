//! The codec: what goes in comes out, in whatever pieces it arrives; any bytes at all are an answer and not a panic.

use bytes::{BufMut, Bytes};
use evoke_worker::frame::compact::Invoked;
use evoke_worker::frame::message::{self, HeaderBounds, Platform};
use evoke_worker::frame::{Decoder, Encoder, Form, Frame, FrameError, HEADER_BYTES, Kind};
use proptest::prelude::*;

fn kinds() -> impl Strategy<Value = Kind> {
    prop::sample::select(Kind::ALL.to_vec())
}

fn frames() -> impl Strategy<Value = Vec<Frame>> {
    let frame = (kinds(), any::<u32>(), prop::collection::vec(any::<u8>(), 0..2000)).prop_map(
        |(kind, call, mut payload)| {
            payload.truncate(kind.payload_max());
            Frame { kind, call, payload: Bytes::from(payload) }
        },
    );
    prop::collection::vec(frame, 0..20)
}

/// Feeds bytes in pieces and takes frames as they become whole.
fn decode(bytes: &[u8], pieces: &[usize]) -> Result<Vec<Frame>, FrameError> {
    let mut decoder = Decoder::default();
    let (mut frames, mut rest, mut sizes) = (Vec::new(), bytes, pieces.iter().cycle());
    while !rest.is_empty() {
        let size = sizes.next().map_or(rest.len(), |&size| size.clamp(1, rest.len()));
        decoder.space(64 << 10).put_slice(&rest[..size]);
        rest = &rest[size..];
        while let Some(frame) = decoder.take()? {
            frames.push(frame);
        }
    }
    Ok(frames)
}

proptest! {
    #[test]
    fn frames_survive_any_cutting(frames in frames(), pieces in prop::collection::vec(1usize..3000, 1..10)) {
        let mut encoder = Encoder::default();
        for frame in &frames {
            encoder.frame(frame.kind, frame.call, &frame.payload);
        }
        let decoded = decode(encoder.unwritten(), &pieces);
        prop_assert_eq!(decoded, Ok(frames));
    }

    #[test]
    fn any_bytes_are_frames_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..4000), pieces in prop::collection::vec(1usize..500, 1..5)) {
        let _ = decode(&bytes, &pieces);
    }

    #[test]
    fn any_payload_is_a_message_or_an_error(kind in kinds(), payload in prop::collection::vec(any::<u8>(), 0..300)) {
        let bounds = HeaderBounds { fields: 4, bytes: 100 };
        let _ = message::credit(&payload);
        let _ = message::log(&payload);
        let payload = Bytes::from(payload);
        for form in [Form::Json, Form::Compact] {
            let _ = form.response(&payload, bounds);
            let _ = form.done(&payload);
        }
        let _ = Invoked::read(payload.clone(), bounds);
        let _ = message::numbered(kind, &payload);
        let _ = Platform::parse(payload);
    }

    #[test]
    fn any_header_text_is_a_map_or_an_error(fields in prop::collection::vec((".{0,20}", ".{0,20}"), 0..6)) {
        let head = serde_json::json!({ "status": 200, "headers": fields, "body": false }).to_string();
        let head = Form::Json.response(&head.into(), HeaderBounds { fields: 4, bytes: 100 });
        prop_assert!(head.is_err() || head.is_ok_and(|head| head.headers.len() <= 4));
    }
}

#[test]
fn header_values_are_bytes_both_ways() {
    let bytes = [0xe9, b' ', 0xff, b'a'];
    let mut map = http::HeaderMap::new();
    map.insert("x-latin", http::HeaderValue::from_bytes(&bytes).unwrap());
    let text =
        serde_json::json!({ "status": 200, "headers": message::HeadersOut(&map), "body": false }).to_string();
    let head = Form::Json.response(&text.into(), HeaderBounds { fields: 4, bytes: 100 }).unwrap();
    assert_eq!(head.headers, map);
}

#[test]
fn fields_of_the_connection_are_dropped() {
    let text = r#"{ "status": 200, "body": false, "headers": [["Connection", "close"], ["transfer-encoding", "chunked"], ["x-a", "b"]] }"#;
    let head = Form::Json.response(&text.into(), HeaderBounds { fields: 4, bytes: 100 }).unwrap();
    assert_eq!(head.headers.len(), 1);
}

#[test]
fn a_length_above_the_bound_is_refused_before_it_is_read() {
    for kind in Kind::ALL {
        let mut bytes = Vec::new();
        bytes.put_u32_le(kind.payload_max() as u32 + 1);
        bytes.put_u32_le(1);
        bytes.put_u8(kind as u8);
        assert_eq!(bytes.len(), HEADER_BYTES);
        let limit = kind.payload_max();
        assert_eq!(decode(&bytes, &[]), Err(FrameError::TooLarge { kind, bytes: limit + 1 }));
    }
}

#[test]
fn json_that_is_too_large_leaves_no_half_frame() {
    let mut encoder = Encoder::default();
    encoder.frame(Kind::Stop, 0, &[]);
    let before = encoder.unwritten().len();
    assert!(encoder.json(Kind::Cancel, 1, &"x".repeat(2000)).is_err());
    assert_eq!(encoder.unwritten().len(), before);
}

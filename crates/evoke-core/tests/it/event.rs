//! The attribute rules. The formats are in the modules below, each as cases and as round trips of arbitrary events.

mod http;
mod json;
mod oracle;
mod strategy;

use evoke_core::event::{Attribute, Data, Event, json as format};

fn event() -> Event {
    Event::new("evt_1", "/shop", "purchase_complete")
}

#[track_caller]
fn refused(event: Event, message: &str) {
    assert_eq!(event.check().unwrap_err().to_string(), message);
}

#[test]
fn required_attributes_must_not_be_empty() {
    refused(Event::new("", "/shop", "t"), "attribute id is empty");
    refused(Event::new("1", "", "t"), "attribute source is empty");
    refused(Event::new("1", "/shop", ""), "attribute type is empty");
    refused(event().with_subject(""), "attribute subject is empty");
}

#[test]
fn source_is_a_uri_reference() {
    let right = [
        "/shop",
        "shop/checkout",
        "https://github.com/cloudevents",
        "mailto:cncf-wg-serverless@lists.cncf.io",
        "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66",
        "/sensors/tn-1234567/alerts",
        "1-555-123-4567",
        "//host:8080/path?query=a:b/c?d#frag/ment?",
        "https://user:pass@[2001:db8::7]:443/",
        "?q",
        "#f",
        "a/b:c",
        "/%C3%A9",
    ];
    for source in right {
        assert_eq!(Event::new("1", source, "t").check(), Ok(()), "{source}");
    }
    let wrong = [
        "a b",
        "é",
        "1:x",
        ":x",
        "/a%2",
        "/a%zz",
        "http://[::1/",
        "http://[nope]/",
        "http://h:80x/",
        "a#b#c",
        "<x>",
        "a[b]",
    ];
    for source in wrong {
        refused(
            Event::new("1", source, "t"),
            &format!("attribute source: {source:?} is no URI-reference (RFC 3986)"),
        );
    }
}

#[test]
fn dataschema_is_an_absolute_uri() {
    assert_eq!(event().with_data_schema("https://example.com/schema#order").check(), Ok(()));
    refused(
        event().with_data_schema("/schema"),
        "attribute dataschema: \"/schema\" is no absolute URI (RFC 3986)",
    );
}

#[test]
fn time_is_rfc_3339() {
    let right = [
        "2018-04-05T17:31:00Z",
        "2018-04-05t17:31:00.123456789z",
        "2018-04-05T17:31:00+02:00",
        "2020-02-29T00:00:00-23:59",
        "2016-12-31T23:59:60Z",
    ];
    for time in right {
        assert_eq!(event().with_time(time).check(), Ok(()), "{time}");
    }
    let wrong = [
        "2018-04-05",
        "2018-04-05 17:31:00Z",
        "2018-04-05T17:31:00",
        "2018-04-05T17:31Z",
        "2018-13-05T17:31:00Z",
        "2019-02-29T17:31:00Z",
        "2018-04-05T24:00:00Z",
        "2018-04-05T17:31:00.Z",
        "2018-04-05T17:31:00+0200",
        "2018-04-05T17:31:00+24:00",
        "2018-04-05T17:31:0éZ",
        "+2018-4-05T17:31:00Z",
    ];
    for time in wrong {
        let rule = "is no RFC 3339 timestamp such as 2026-11-21T01:42:00Z";
        refused(event().with_time(time), &format!("attribute time: {time:?} {rule}"));
    }
}

#[test]
fn datacontenttype_is_a_media_type() {
    let typed = |ty: &str| event().with_data(Data::Bytes("x".into()), Some(ty.to_owned()));
    for ty in
        ["text/plain", "Text/XML; charset=utf-8", "a/b;c=\"d;\\\"e\" ; f=g", "application/vnd.a+json", "a/b;"]
    {
        assert_eq!(typed(ty).check(), Ok(()), "{ty}");
    }
    for ty in [
        "text",
        "text/",
        "/plain",
        "text plain",
        "a/b;c",
        "a/b;c=",
        "a/b;c=\"d",
        "a/b;c=d e",
        "a/b/c",
        "a/b; =x",
    ] {
        let rule = "is no media type such as application/json";
        refused(typed(ty), &format!("attribute datacontenttype: {ty:?} {rule}"));
    }
}

#[test]
fn extension_names_are_lower_case_alphanumerics_and_not_reserved() {
    let named = |name: &str| event().with_extension(name, Attribute::Integer(1));
    assert_eq!(named("traceparent").check(), Ok(()));
    assert_eq!(named(&"x".repeat(64)).check(), Ok(()));
    for name in ["", "camelCase", "with-dash", "data_base64", "é"] {
        refused(
            named(name),
            &format!("extension attribute {name:?} may only have the characters a-z and 0-9 in its name"),
        );
    }
    let long = "x".repeat(65);
    refused(named(&long), &format!("extension attribute {long:?} has more than 64 characters in its name"));
    for name in ["data", "id", "specversion", "datacontenttype"] {
        refused(
            named(name),
            &format!("extension attribute {name:?} has a name that the specification reserves"),
        );
    }
}

#[test]
fn number_of_extensions_is_bounded() {
    let many = |n: usize| {
        (0..n).fold(event(), |event, i| event.with_extension(format!("x{i}"), Attribute::Boolean(true)))
    };
    assert_eq!(many(64).check(), Ok(()));
    refused(many(65), "65 extension attributes are more than 64");
    let added = ["correlationid", "causationid", "traceparent"];
    let accepted = added.into_iter().fold(many(64), |event, name| event.with_extension(name, "x".into()));
    assert_eq!(accepted.check(), Ok(()), "what Evoke adds does not count");
}

#[test]
fn strings_have_no_control_or_noncharacters() {
    assert_eq!(event().with_subject("Größe 🚀 \u{fdcf}\u{fdf0}\u{fffd}").check(), Ok(()));
    for (bad, code) in [
        ('\0', "0000"),
        ('\u{1f}', "001F"),
        ('\u{7f}', "007F"),
        ('\u{9f}', "009F"),
        ('\u{fdd0}', "FDD0"),
        ('\u{ffff}', "FFFF"),
        ('\u{10fffe}', "10FFFE"),
    ] {
        let message = |name| format!("attribute {name} has the character U+{code}, which is not allowed");
        refused(event().with_subject(format!("a{bad}b")), &message("subject"));
        refused(event().with_extension("x", format!("{bad}").into()), &message("x"));
    }
}

#[test]
fn data_and_content_type_agree() {
    let with = |data, ty: Option<&str>| event().with_data(data, ty.map(str::to_owned));
    let json = || Data::Json(serde_json::json!(1));
    let text = || Data::Text("1".to_owned());
    assert_eq!(with(json(), None).check(), Ok(()));
    assert_eq!(with(json(), Some("application/Order+JSON; v=1")).check(), Ok(()));
    assert_eq!(with(text(), Some("text/plain")).check(), Ok(()));
    assert_eq!(with(Data::Bytes("x".into()), None).check(), Ok(()));
    refused(
        with(json(), Some("text/plain")),
        "attribute datacontenttype: \"text/plain\" is not JSON, but the data is a JSON value",
    );
    refused(
        with(text(), Some("text/json")),
        "attribute datacontenttype: \"text/json\" is JSON, but the data is text",
    );
    refused(with(text(), None), "data is text but there is no datacontenttype");
}

#[test]
fn size_in_json_format_is_limited_by_the_caller() {
    let event = event().with_json(serde_json::json!({ "name": "x".repeat(100) }));
    let bytes = format::to_vec(&event).len() as u64;
    assert_eq!(event.check_size(bytes), Ok(()));
    assert_eq!(
        event.check_size(bytes - 1).unwrap_err().to_string(),
        format!("event \"evt_1\" has {bytes} bytes in JSON format, the limit is {}", bytes - 1)
    );
}

#[test]
fn long_values_are_shortened_in_messages() {
    let message = Event::new("1", " ".repeat(1_000_000), "t").check().unwrap_err().to_string();
    assert!(message.len() < 200, "{message}");
}

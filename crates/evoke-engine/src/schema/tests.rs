//! What schemas may ask for, and what they may not.

use serde_json::json;

use super::*;

fn check(schema: &Value, value: &Value) -> Result<Vec<Complaint>, CheckError> {
    Schema::compile(schema).unwrap().check(value, value.to_string().len())
}

#[test]
fn complaints_name_their_place_and_not_the_value() {
    let schema = json!({
        "type": "object", "required": ["id"],
        "properties": { "items": { "type": "array", "items": { "type": "integer" } } },
    });
    assert_eq!(check(&schema, &json!({ "id": 1, "items": [1] })), Ok(vec![]));
    let complaints = check(&schema, &json!({ "items": [1, "secret"] })).unwrap();
    let pointers: Vec<&str> = complaints.iter().map(|complaint| complaint.pointer.as_str()).collect();
    assert_eq!(pointers.len(), 2, "{complaints:?}");
    assert!(pointers.contains(&"") && pointers.contains(&"/items/1"), "{complaints:?}");
    assert!(!format!("{complaints:?}").contains("secret"), "{complaints:?}");
}

#[test]
fn what_the_meter_adds_is_not_seen_in_values() {
    let closed = json!({ "properties": { "a": true }, "additionalProperties": false });
    assert_eq!(check(&closed, &json!({ "a": 1 })), Ok(vec![]));
    assert_eq!(check(&closed, &json!({ "$evoke-step": true })).unwrap().len(), 1);
    let exact = json!({ "const": { "items": { "a": 1 } } });
    assert_eq!(check(&exact, &json!({ "items": { "a": 1 } })), Ok(vec![]));
    let named = json!({ "properties": { "$ref": { "type": "integer" }, "items": { "type": "string" } } });
    assert_eq!(check(&named, &json!({ "$ref": 1, "items": "x" })), Ok(vec![]));
    assert_eq!(check(&named, &json!({ "$ref": "x" })).unwrap().len(), 1);
}

#[test]
fn schemas_elsewhere_are_not_looked_up() {
    for uri in ["http://127.0.0.1:9/x.json", "file:///etc/passwd", "other.json", "urn:x:y"] {
        let error = Schema::compile(&json!({ "$ref": uri })).unwrap_err();
        assert!(error.contains("not looked up") && error.contains(uri), "{error}");
    }
    let error = Schema::compile(&json!({ "$schema": "http://127.0.0.1:9/meta.json" })).unwrap_err();
    assert!(error.contains("127.0.0.1:9"), "{error}");
}

#[test]
fn a_schema_that_is_none_is_refused() {
    for schema in [
        json!({ "type": "nothing" }),
        json!({ "pattern": "(" }),
        json!({ "pattern": r"\w{500}{500}" }),
        json!({ "$ref": "#/$defs/gone" }),
        json!({ "$ref": "#/const", "const": { "allOf": [] } }),
        json!({ "x": {}, "$ref": "#/x" }),
        json!({ "properties": { "a": { "$id": "http://example.com/a" } } }),
        json!({ "$evoke-step": true }),
        json!({ "allOf": vec![json!({ "pattern": "a" }); 300] }),
    ] {
        assert!(Schema::compile(&schema).is_err(), "{schema}");
    }
}

#[test]
fn references_within_the_document_are_followed() {
    let schema = json!({
        "$id": "https://example.com/tree",
        "$defs": { "a/b": { "$anchor": "leaf", "type": "integer" } },
        "properties": { "x": { "$ref": "#/$defs/a~1b" }, "y": { "$ref": "#leaf" }, "z": { "$ref": "#" } },
    });
    assert_eq!(check(&schema, &json!({ "x": 1, "y": 2, "z": { "x": 1 } })), Ok(vec![]));
    assert_eq!(check(&schema, &json!({ "z": { "z": { "y": "no" } } })).unwrap()[0].pointer, "/z/z/y");
}

/// Each part asks twice for the next.
fn doubling(levels: usize) -> Value {
    let part = |i: usize| json!({ "$ref": format!("#/$defs/a{}", i + 1) });
    let defs = (0..levels).map(|i| (format!("a{i}"), json!({ "allOf": [part(i), part(i)] })));
    let last = (format!("a{levels}"), json!({ "type": "integer" }));
    json!({ "$ref": "#/$defs/a0", "$defs": defs.chain([last]).collect::<Map<_, _>>() })
}

#[test]
fn a_schema_that_asks_for_too_much_is_stopped() {
    assert!(matches!(check(&doubling(60), &json!(1)), Err(CheckError::Steps { limit: 50_002 })));
    assert_eq!(check(&doubling(4), &json!(1)), Ok(vec![]));
    // It is wrong at once, and would be wrong in more ways than can be told.
    assert_eq!(check(&doubling(60), &json!("x")).unwrap().len(), 1);
}

/// Each part leads to the next, in a form that is counted.
fn chain(parts: usize, last: &Value) -> Value {
    let next = |i: usize| json!({ "allOf": [{ "$ref": format!("#/$defs/a{}", i + 1) }] });
    let defs = (0..parts).map(|i| (format!("a{i}"), next(i)));
    let last = (format!("a{parts}"), last.clone());
    json!({ "$ref": "#/$defs/a0", "$defs": defs.chain([last]).collect::<Map<_, _>>() })
}

#[test]
fn a_schema_that_refers_too_deeply_is_stopped() {
    let schema = chain(1_400, &json!({ "type": "integer" }));
    assert!(schema.to_string().len() <= evoke_core::manifest::bounds::SCHEMA_BYTES_MAX);
    let outcome = check(&schema, &json!(1));
    assert!(matches!(outcome, Ok(_) | Err(CheckError::Depth)), "{outcome:?}");
    // A hundred more for each level of the value.
    let again = chain(100, &json!({ "properties": { "a": { "$ref": "#" } } }));
    let deep = |levels: usize| (0..levels).fold(json!(1), |value, _| json!({ "a": value }));
    assert_eq!(check(&again, &deep(1)), Ok(vec![]));
    assert_eq!(check(&again, &deep(100)), Err(CheckError::Depth));
}

#[test]
fn references_to_references_end() {
    for meta in ["http://json-schema.org/draft-07/schema#", "https://json-schema.org/draft/2020-12/schema"] {
        let defs = (0..40).map(|i| (format!("a{i}"), json!({ "$ref": format!("#/$defs/a{}", i + 1) })));
        let defs: Map<_, _> = defs.chain([("a40".to_owned(), json!({ "type": "integer" }))]).collect();
        let schema = json!({ "$schema": meta, "$ref": "#/$defs/a0", "$defs": defs });
        let error = Schema::compile(&schema).unwrap_err();
        assert!(error.contains("more than 32 references"), "{error}");
        let circle =
            json!({ "$schema": meta, "$ref": "#/$defs/a", "$defs": { "a": { "$ref": "#/$defs/a" } } });
        assert!(Schema::compile(&circle).is_err());
    }
}

#[test]
fn comparing_whole_values_counts_as_what_it_is() {
    let rows: Value = (0..2_000).map(|_| json!([1, 2, 3, 4])).collect();
    let ask = json!({ "uniqueItems": false });
    let schema = json!({ "anyOf": vec![ask; 100] });
    assert_eq!(check(&schema, &rows), Ok(vec![]));
    let schema = json!({ "allOf": vec![json!({ "uniqueItems": false }); 100] });
    assert!(matches!(check(&schema, &rows), Err(CheckError::Steps { .. })));
}

//! The parts of a schema that are schemas themselves, each of which is given the counting keyword.

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::meter::KEYWORD;

/// Keywords whose value is a schema, or an array of them.
const SCHEMAS: &[&str] = &[
    "additionalItems",
    "additionalProperties",
    "allOf",
    "anyOf",
    "contains",
    "contentSchema",
    "else",
    "if",
    "items",
    "not",
    "oneOf",
    "prefixItems",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
];
/// Keywords whose value has schemas by name.
const NAMED: &[&str] =
    &["$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties", "properties"];
/// Keywords that refer to another part.
const REFERENCES: &[&str] = &["$ref", "$dynamicRef", "$recursiveRef"];
/// References that may lead to one another before there is anything else: older drafts see nothing beside a reference, so
/// these are not counted.
const HOPS_MAX: usize = 32;
/// Regular expressions of a schema.
const PATTERNS_MAX: usize = 256;

/// Puts the counting keyword into each part, and refuses what would go around it.
pub(super) fn meter(schema: &mut Value) -> Result<(), String> {
    let mut patterns = 0;
    put(schema, true, &mut patterns)?;
    if patterns > PATTERNS_MAX {
        return Err(format!("it has {patterns} regular expressions, the limit is {PATTERNS_MAX}"));
    }
    references(schema, schema)
}

fn put(part: &mut Value, is_root: bool, patterns: &mut usize) -> Result<(), String> {
    let Value::Object(members) = part else { return Ok(()) };
    if members.contains_key(KEYWORD) {
        return Err(format!("{KEYWORD} is the platform's own; leave it out"));
    }
    let has_id = members.contains_key("$id") || members.get("id").is_some_and(Value::is_string);
    if has_id && !is_root {
        return Err("only its top may have an $id; refer to parts as #/$defs/NAME".to_owned());
    }
    *patterns += usize::from(members.contains_key("pattern"));
    for (keyword, value) in members.iter_mut() {
        match value {
            Value::Array(parts) if SCHEMAS.contains(&keyword.as_str()) => {
                for part in parts {
                    put(part, false, patterns)?;
                }
            }
            Value::Object(_) if SCHEMAS.contains(&keyword.as_str()) => put(value, false, patterns)?,
            Value::Object(parts) if NAMED.contains(&keyword.as_str()) => {
                *patterns += if keyword == "patternProperties" { parts.len() } else { 0 };
                for part in parts.values_mut() {
                    put(part, false, patterns)?;
                }
            }
            _ => {}
        }
    }
    members.insert(KEYWORD.to_owned(), Value::Bool(true));
    Ok(())
}

/// Refuses references that lead out of the document, or to what is no part of the schema.
fn references(part: &Value, root: &Value) -> Result<(), String> {
    match part {
        Value::Object(members) => {
            for keyword in REFERENCES {
                if let Some(Value::String(reference)) = members.get(*keyword) {
                    reference_within(members, reference, root)?;
                }
            }
            members.values().try_for_each(|part| references(part, root))
        }
        Value::Array(parts) => parts.iter().try_for_each(|part| references(part, root)),
        _ => Ok(()),
    }
}

fn reference_within(members: &Map<String, Value>, reference: &str, root: &Value) -> Result<(), String> {
    // A property may be called $ref; only where the keyword was put is this a reference.
    if !members.contains_key(KEYWORD) {
        return Ok(());
    }
    let Some(fragment) = reference.strip_prefix('#') else {
        return Err(format!(
            "{reference} is outside of the schema, and is not looked up; put it under $defs"
        ));
    };
    let mut target = at(root, fragment, reference)?;
    for _ in 0..HOPS_MAX {
        let Some(next) = target.and_then(|part| part.get("$ref")).and_then(Value::as_str) else {
            return Ok(());
        };
        target = at(root, next.trim_start_matches('#'), next)?;
    }
    Err(format!("{reference} leads through more than {HOPS_MAX} references; refer to the last"))
}

/// The part that a fragment leads to. `None`: the top, or a name that a part gives itself with `$anchor`.
fn at<'s>(root: &'s Value, fragment: &str, reference: &str) -> Result<Option<&'s Value>, String> {
    if !fragment.starts_with('/') {
        return Ok(None);
    }
    let pointer = percent_decode_str(fragment).decode_utf8_lossy();
    match root.pointer(&pointer) {
        Some(part @ Value::Object(found)) if found.contains_key(KEYWORD) => Ok(Some(part)),
        Some(part @ Value::Bool(_)) => Ok(Some(part)),
        Some(_) => Err(format!("{reference} leads to what is no schema; put it under $defs")),
        None => Err(format!("{reference} leads to nothing")),
    }
}

//! The JSON Schema and the reader say the same.

use std::path::Path;

use evoke_core::manifest::{Function, schema, units};
use evoke_core::retry::RetryPolicy;
use serde_json::{Value, json};

use super::{assert_expected, cases, read};

#[test]
fn committed_schema_is_that_of_the_code() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/evoke.schema.json");
    let text = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
    assert_expected(&file, &text, "committed_schema");
}

#[test]
fn defaults_are_those_of_the_code() {
    let schema = schema();
    let default = |ty: &str, key: &str| schema["$defs"][ty]["properties"][key]["default"].clone();
    let retry = RetryPolicy::default();
    assert_eq!(default("Function", "timeout"), units::format_duration(Function::TIMEOUT_DEFAULT));
    assert_eq!(default("Function", "memory"), units::format_bytes(Function::MEMORY_DEFAULT));
    assert_eq!(default("Function", "concurrency"), Function::CONCURRENCY_DEFAULT);
    assert_eq!(default("Retry", "attempts"), retry.attempts);
    assert_eq!(default("Retry", "backoff"), json!(retry.backoff));
    assert_eq!(default("Retry", "initial"), units::format_duration(retry.initial));
    assert_eq!(default("Retry", "max"), units::format_duration(retry.max));
}

/// Every key of the schema is one the reader asks for, and the other way round: an unknown key makes it list them.
#[test]
fn keys_are_those_the_reader_knows() {
    let schema = schema();
    let top = schema["properties"].clone();
    let tables = [
        ("zzzzzzzzzz = 1", top.clone()),
        ("[app]\nzzzzzzzzzz = 1", top["app"]["properties"].clone()),
        ("[functions.a]\nzzzzzzzzzz = 1", schema["$defs"]["Function"]["properties"].clone()),
        ("[install]\nzzzzzzzzzz = 1", schema["$defs"]["Install"]["properties"].clone()),
        ("[[functions.a.on]]\nzzzzzzzzzz = 1", schema["$defs"]["Subscription"]["properties"].clone()),
        ("[functions.a.retry]\nzzzzzzzzzz = 1", schema["$defs"]["Retry"]["properties"].clone()),
        ("[schedules.a]\nzzzzzzzzzz = 1", schema["$defs"]["Schedule"]["properties"].clone()),
        ("[[routes]]\nzzzzzzzzzz = 1", schema["$defs"]["Route"]["properties"].clone()),
        (
            "[[functions.a.on]]\n[functions.a.on.batch]\nzzzzzzzzzz = 1",
            schema["$defs"]["Batch"]["properties"].clone(),
        ),
        ("[queues.a]\nzzzzzzzzzz = 1", schema["$defs"]["Queue"]["properties"].clone()),
        ("[[webhooks]]\nzzzzzzzzzz = 1", schema["$defs"]["Webhook"]["properties"].clone()),
        ("[hooks.a]\nzzzzzzzzzz = 1", schema["$defs"]["Hook"]["properties"].clone()),
        ("[decorators.a]\nzzzzzzzzzz = 1", schema["$defs"]["Decorator"]["properties"].clone()),
        ("[[beacons]]\nzzzzzzzzzz = 1", schema["$defs"]["Beacon"]["properties"].clone()),
    ];
    for (text, properties) in tables {
        let errors = read(text).unwrap_err();
        let unknown = errors.problems().iter().find(|problem| problem.code == "unknown_key").unwrap();
        let help = unknown.help.as_ref().unwrap().strip_prefix("known are ").unwrap();
        let mut known: Vec<&str> = help.split(", ").collect();
        known.sort_unstable();
        let keys: Vec<&str> = properties.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(known, keys, "{text}");
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Object(_) => "object",
        Value::Bool(_) => "boolean",
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Number(number) if number.is_i64() => "integer",
        _ => "another",
    }
}

/// Not a validator: it knows the keywords our schema uses, and fails on any other.
fn valid(schema: &Value, root: &Value, value: &Value) -> Result<(), String> {
    for (keyword, rule) in schema.as_object().unwrap() {
        let ok = match keyword.as_str() {
            "$defs" | "$schema" | "title" | "description" | "default" | "examples" | "pattern" => true,
            "$ref" => {
                let name = rule.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                valid(&root["$defs"][name], root, value)?;
                true
            }
            "anyOf" => rule.as_array().unwrap().iter().any(|one| valid(one, root, value).is_ok()),
            "type" => match rule {
                Value::Array(types) => types.iter().any(|ty| ty == type_name(value)),
                ty => ty == type_name(value),
            },
            "const" => value == rule,
            "enum" => rule.as_array().unwrap().contains(value),
            // The others say something about values of the right type only.
            _ if schema.get("type").is_some_and(|ty| ty.is_string() && ty != type_name(value)) => true,
            "minimum" => value.as_i64() >= rule.as_i64(),
            "maximum" => value.as_i64() <= rule.as_i64(),
            "minItems" => value.as_array().unwrap().len() as u64 >= rule.as_u64().unwrap(),
            "maxItems" => value.as_array().unwrap().len() as u64 <= rule.as_u64().unwrap(),
            "required" => {
                rule.as_array().unwrap().iter().all(|key| value.get(key.as_str().unwrap()).is_some())
            }
            "propertyNames" => true,
            "items" => {
                value.as_array().unwrap().iter().try_for_each(|item| valid(rule, root, item))?;
                true
            }
            "properties" => {
                for (key, value) in value.as_object().unwrap() {
                    if let Some(rule) = rule.get(key) {
                        valid(rule, root, value)?;
                    }
                }
                true
            }
            "additionalProperties" => {
                let known =
                    |key: &String| schema.get("properties").is_some_and(|known| known.get(key).is_some());
                for (key, value) in value.as_object().unwrap().iter().filter(|(key, _)| !known(key)) {
                    match rule {
                        Value::Bool(false) => return Err(format!("unknown key {key}")),
                        Value::Bool(true) => {}
                        rule => valid(rule, root, value)?,
                    }
                }
                true
            }
            other => return Err(format!("keyword {other}")),
        };
        if !ok {
            return Err(format!("{value} breaks {keyword} {rule}"));
        }
    }
    Ok(())
}

#[test]
fn accepted_files_are_valid_by_the_schema() {
    let schema = schema();
    for case in cases().into_iter().filter(|case| case.join("expected.json").exists()) {
        let value: Value =
            toml::from_str(&std::fs::read_to_string(case.join("evoke.toml")).unwrap()).unwrap();
        assert_eq!(valid(&schema, &schema, &value), Ok(()), "{}", case.display());
    }
}

#[test]
fn structurally_wrong_files_are_invalid_by_the_schema() {
    let schema = schema();
    let codes = ["unknown_key", "unsupported_key", "wrong_type", "missing_key"];
    for case in cases() {
        let text = std::fs::read_to_string(case.join("evoke.toml")).unwrap();
        let Err(errors) = read(&text) else { continue };
        if errors.problems().iter().any(|problem| codes.contains(&&*problem.code)) {
            let value: Value = toml::from_str(&text).unwrap();
            assert!(valid(&schema, &schema, &value).is_err(), "{}", case.display());
        }
    }
}

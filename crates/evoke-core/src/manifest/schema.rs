//! The JSON Schema of `evoke.toml`, made from [`raw`](super::raw), for editors.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::raw;

/// The schema, draft 2020-12. Committed as `docs/reference/evoke.schema.json`.
pub fn schema() -> Value {
    let generator = SchemaSettings::draft2020_12().for_deserialize().into_generator();
    let mut schema = generator.into_root_schema_for::<raw::File>().to_value();
    tidy(&mut schema);
    schema
}

/// TOML has no null: a key that may be left out is not one that may be null. Nor does a whole number need a width.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if let Some(Value::Array(types)) = members.get_mut("type") {
                types.retain(|ty| ty != "null");
                if let [only] = &**types {
                    let only = only.clone();
                    members.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(branches)) = members.get_mut("anyOf") {
                branches.retain(|branch| branch["type"] != "null");
                if let [Value::Object(only)] = &**branches {
                    let only = only.clone();
                    members.remove("anyOf");
                    members.extend(only);
                }
            }
            if members.get("format").is_some_and(|format| format == "int64") {
                members.remove("format");
            }
            members.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

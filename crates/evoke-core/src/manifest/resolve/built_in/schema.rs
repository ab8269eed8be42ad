//! JSON Schemas: a file of the app, or a table.

use std::path::{Component, Path};
use std::sync::Arc;

use serde_json::Value;

use crate::decorator::Schema;
use crate::manifest::FileKind;
use crate::manifest::bounds::SCHEMA_BYTES_MAX;
use crate::manifest::resolve::Resolver;
use crate::manifest::table::Located;

impl Resolver<'_, '_> {
    /// What it says is for the engine to try: only that can compile it.
    pub(super) fn schema(&mut self, place: &str, raw: &Located) -> Option<Schema> {
        let reason = match &raw.value {
            Value::String(path) => {
                let path = Path::new(path);
                let is_inside =
                    path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
                if is_inside && (self.files)(path) == Some(FileKind::File) {
                    return Some(Schema { file: Some(path.to_owned()), schema: Arc::default() });
                }
                format!("{} is no file of the app", path.display())
            }
            Value::Object(_) if raw.value.to_string().len() <= SCHEMA_BYTES_MAX => {
                return Some(Schema { file: None, schema: Arc::new(raw.value.clone()) });
            }
            Value::Object(_) => format!("it has more than {SCHEMA_BYTES_MAX} bytes"),
            _ => "it is neither a file nor a table".to_owned(),
        };
        let found =
            self.problems.add("invalid_value", raw.place.span.clone(), format!("{place}: schema: {reason}"));
        found.help("write schema = \"order.schema.json\", a file beside evoke.toml, or a small table");
        None
    }
}

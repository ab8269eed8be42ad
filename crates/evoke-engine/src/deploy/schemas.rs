//! The JSON Schemas of decorators: read from the bundle into the deployment, and tried.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use evoke_core::decorator::BuiltIn;
use evoke_core::manifest::Manifest;
use evoke_core::manifest::bounds::{SCHEMA_BYTES_MAX, SCHEMAS_BYTES_MAX};
use serde_json::Value;

use super::DeployError;
use super::contents::{MANIFEST, inside};
use crate::schema::Schema;

/// Puts what schemas in files say into the manifest, and refuses those that cannot be used.
pub(super) fn read(manifest: &mut Manifest, bundle: &[u8]) -> Result<(), DeployError> {
    let mut total = 0;
    for (name, rule) in &mut manifest.decorators {
        let BuiltIn::Schema(declared) = rule else { continue };
        let file = declared.file.clone();
        let refused = |reason: String| DeployError::Schema {
            decorator: name.clone(),
            file: file.clone().unwrap_or_else(|| MANIFEST.into()),
            reason,
        };
        if let Some(file) = &declared.file {
            declared.schema = Arc::new(parsed(bundle, file).map_err(refused)?);
        }
        total += declared.schema.to_string().len();
        if total > SCHEMAS_BYTES_MAX {
            let reason = format!("with it, the app's schemas have more than {SCHEMAS_BYTES_MAX} bytes");
            return Err(refused(reason));
        }
        Schema::compile(&declared.schema).map_err(refused)?;
    }
    Ok(())
}

fn parsed(bundle: &[u8], wanted: &Path) -> Result<Value, String> {
    let unreadable = |error: std::io::Error| format!("it cannot be read: {error}");
    let wanted = inside(wanted);
    for entry in tar::Archive::new(bundle).entries().map_err(unreadable)? {
        let mut entry = entry.map_err(unreadable)?;
        if inside(&entry.path().map_err(unreadable)?) != wanted {
            continue;
        }
        let bytes = entry.size();
        if bytes > SCHEMA_BYTES_MAX as u64 {
            return Err(format!("it has {bytes} bytes, the limit is {SCHEMA_BYTES_MAX}"));
        }
        let mut text = Vec::new();
        entry.read_to_end(&mut text).map_err(unreadable)?;
        return serde_json::from_slice(&text).map_err(|error| format!("it is no JSON: {error}"));
    }
    Err("it is not there".to_owned())
}

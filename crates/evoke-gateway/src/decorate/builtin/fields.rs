//! Header fields that are removed and set.

use evoke_core::decorator::FieldChanges;
use http::{HeaderMap, HeaderName, HeaderValue};

/// What does not parse was refused when it was deployed.
pub(super) fn change(changes: &FieldChanges, headers: &mut HeaderMap) {
    for name in &changes.remove {
        headers.remove(name.as_str());
    }
    for (name, value) in &changes.set {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
            headers.insert(name, value);
        }
    }
}

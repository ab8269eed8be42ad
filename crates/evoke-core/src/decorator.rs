//! Decorators that need no code: what the manifest says of them. What they do with requests is the gateway's.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::manifest::units;
use crate::secret::SecretName;

/// A decorator that Evoke brings along.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BuiltIn {
    /// Header fields are set and removed.
    Headers {
        /// Of requests.
        request: FieldChanges,
        /// Of answers.
        response: FieldChanges,
    },
    /// Members that a JSON object lacks are added, with these values.
    Defaults(Map<String, Value>),
    /// A JSON body has to be valid by a schema.
    Schema(Schema),
    /// Bytes that a body may have.
    MaxBody(u64),
    /// Only those who are known pass.
    Check(Check),
    /// Only so many pass in a time.
    Rate(Rate),
    /// Answers are kept in so many bytes of memory, and given again as long as they say (RFC 9111).
    Cache(u64),
}

/// A JSON Schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// The file of the app that it is in, when it does not stand in the manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// The schema itself; null until its file has been read, which deploying does.
    pub schema: Arc<Value>,
}

/// Changes of header fields: first those that are removed, then those that are set.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FieldChanges {
    /// By lower-case name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, String>,
    /// Lower-case names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
}

/// Who passes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// `Authorization: Basic`: users and their passwords.
    Basic(BTreeMap<String, Credential>),
    /// `Authorization: Bearer`: any of these tokens.
    Bearer(Vec<Credential>),
    /// A field of its own: any of these keys.
    ApiKey {
        /// The field's lower-case name.
        header: String,
        /// The keys.
        keys: Vec<Credential>,
    },
}

impl Check {
    /// The secrets it needs.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretName> {
        let (users, list) = match self {
            Self::Basic(users) => (Some(users), &[][..]),
            Self::Bearer(list) | Self::ApiKey { keys: list, .. } => (None, list.as_slice()),
        };
        users.into_iter().flat_map(BTreeMap::values).chain(list).filter_map(|credential| match credential {
            Credential::Secret(name) => Some(name),
            Credential::Sha256(_) => None,
        })
    }
}

/// What somebody has to present.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Credential {
    /// The value of this secret of the app.
    Secret(SecretName),
    /// Something with this SHA-256, in lower-case hex.
    Sha256(String),
}

/// How many requests pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// So many, also at once.
    pub requests: u32,
    /// In this time.
    #[serde(with = "units::duration_text")]
    pub per: Duration,
    /// Who counts as one.
    pub by: RateBy,
}

/// Who counts as one for a rate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RateBy {
    /// An address, or a network /64.
    Client,
    /// All together.
    All,
    /// A value of this field, by its lower-case name. Requests without it count as one.
    Header(String),
}

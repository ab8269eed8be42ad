//! Secrets, without their values.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Time;

/// The secrets of an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SecretList {
    /// By name.
    pub secrets: Vec<Secret>,
}

/// A secret. Nobody gets to see its value but the functions that name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Secret {
    /// Its name, that of the environment variable too.
    pub name: String,
    /// When it was set last.
    pub set_at: Time,
    /// The server's key is not the one it was sealed with; it must be set again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unreadable: bool,
}

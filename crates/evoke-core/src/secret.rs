//! Secrets: values that functions and webhooks need and nobody else may see.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Characters of a secret's name.
const NAME_CHARS_MAX: usize = 64;

/// The name of a secret, which is also that of the environment variable a function gets it in: a letter or `_`, then
/// letters, digits and `_`, 64 at most.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct SecretName(String);

/// Why a text is no name of a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("secret name {0:?} is not a letter or _, followed by letters, digits and _, {NAME_CHARS_MAX} in all")]
pub struct SecretNameError(pub String);

impl SecretName {
    /// Checks the rule above.
    pub fn new(text: &str) -> Result<Self, SecretNameError> {
        let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if starts
            && text.len() <= NAME_CHARS_MAX
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        {
            return Ok(Self(text.to_owned()));
        }
        Err(SecretNameError(text.chars().take(80).collect()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl<'de> Deserialize<'de> for SecretName {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

/// The value of a secret: UTF-8, since it becomes an environment variable. Its `Debug` form hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(String);

impl SecretValue {
    /// Takes a text without NUL, which no environment can hold.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        (!text.contains('\0')).then_some(Self(text))
    }

    /// The value itself: for a signature, an environment, or sealing; never for a log.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(…)")
    }
}

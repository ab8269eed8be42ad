//! Names people choose and ids Evoke makes.
//!
//! A name is lower case, starts with a letter, and has at most 63 characters of `a-z 0-9 - _`, so that it can stand
//! in a path, a file name, an environment variable or a DNS label without escaping. Ids are ULIDs
//! (<https://github.com/ulid/spec>) behind a prefix that says of what: sorted as text, they are sorted by time.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} name {value:?} {reason}")]
pub struct NameError {
    /// What was to be named: `app`, `function`.
    pub kind: &'static str,
    /// The text as given.
    pub value: String,
    /// What is wrong, and what is allowed.
    pub reason: &'static str,
}

fn check_name(kind: &'static str, text: &str) -> Result<(), NameError> {
    let wrong = |reason| Err(NameError { kind, value: text.chars().take(80).collect(), reason });
    if text.is_empty() {
        return wrong("is empty");
    }
    if text.len() > 63 {
        return wrong("is longer than 63 characters");
    }
    if !text.starts_with(|c: char| c.is_ascii_lowercase()) {
        return wrong("must start with a lower-case letter");
    }
    if !text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_') {
        return wrong("may only have lower-case letters, digits, - and _");
    }
    Ok(())
}

macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        text_type!($(#[$doc])* $name);

        impl $name {
            /// Checks the rules of the module page.
            pub fn new(text: &str) -> Result<Self, NameError> {
                check_name($kind, text)?;
                Ok(Self(text.into()))
            }
        }
        impl std::str::FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = String::deserialize(from)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        text_type!($(#[$doc])* $name);

        impl $name {
            /// Takes a text as it is; ids are looked up, not interpreted.
            pub fn from_text(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                Ok(Self(String::deserialize(from)?.into()))
            }
        }
    };
}

name_type!(
    /// The namespace and isolation boundary of functions, routes and state.
    AppName, "app"
);
name_type!(
    /// A function's name, unique in its app.
    FunctionName, "function"
);
name_type!(
    /// A schedule's name, unique in its app.
    ScheduleName, "schedule"
);
name_type!(
    /// What a route is called, unique in its app.
    RouteName, "route"
);
name_type!(
    /// One of the ways on of an experiment.
    VariantName, "variant"
);
id_type!(
    /// What tells the subscriptions of a function apart: what the manifest calls one, or else its event pattern. As text,
    /// looked up and not interpreted.
    SubscriptionName
);
id_type!(
    /// One invocation, and the record kept of it: `run_` and a ULID.
    RunId
);
id_type!(
    /// Events of the log that are delivered again: `rpl_` and a ULID.
    ReplayId
);
id_type!(
    /// An immutable source with its settings: the first 16 hex digits of a SHA-256.
    RevisionId
);
id_type!(
    /// One wait of a run for an event: the run's id, `.w` and a number.
    WaitId
);
id_type!(
    /// What all runs and events of one cause share; the `correlationid` of the CloudEvents correlation extension.
    Correlation
);

impl From<&RunId> for Correlation {
    /// What goes back to nothing but this run.
    fn from(run: &RunId) -> Self {
        Self(run.0.clone())
    }
}

/// Makes ids from a time and random bits, both handed in.
#[derive(Debug)]
pub struct IdSource {
    random: fastrand::Rng,
}

impl IdSource {
    /// The same seed gives the same ids for the same times.
    pub fn seeded(seed: u64) -> Self {
        Self { random: fastrand::Rng::with_seed(seed) }
    }

    /// A fresh run id.
    pub fn run(&mut self, now: Timestamp) -> RunId {
        RunId(self.tagged("run", now))
    }

    /// A fresh id of a replay.
    pub fn replay(&mut self, now: Timestamp) -> ReplayId {
        ReplayId(self.tagged("rpl", now))
    }

    /// A fresh event id, for events whose sender gave none.
    pub fn event(&mut self, now: Timestamp) -> String {
        self.tagged("evt", now).as_ref().to_owned()
    }

    /// A W3C trace id: 16 random bytes as lower-case hex, never all zero.
    pub fn trace(&mut self) -> String {
        hex(&self.random.u128(1..).to_be_bytes())
    }

    /// A W3C span id: 8 random bytes as lower-case hex, never all zero.
    pub fn span(&mut self) -> String {
        hex(&self.random.u64(1..).to_be_bytes())
    }

    /// `tag`, three letters, before a fresh ULID in lower case.
    fn tagged(&mut self, tag: &str, now: Timestamp) -> Arc<str> {
        let ulid = ulid::Ulid::from_parts(now.as_millis(), self.random.u128(..));
        let mut text = [b'_'; 4 + ulid::ULID_LEN];
        text[..3].copy_from_slice(tag.as_bytes());
        let mut digits = [0; ulid::ULID_LEN];
        text[4..].copy_from_slice(ulid.array_to_str(&mut digits).as_bytes());
        text.make_ascii_lowercase();
        std::str::from_utf8(&text).expect("tags and ULIDs are ASCII").into()
    }
}

/// Lower-case hex, two digits a byte.
fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = vec![0; 2 * bytes.len()];
    for (digits, byte) in text.chunks_exact_mut(2).zip(bytes) {
        digits.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    String::from_utf8(text).expect("digits are ASCII")
}

//! Experiments: several ways on at one place of a route, and which of them a request takes.
//!
//! An experiment stands where a decorator stands, or is what a route leads to. Variants with a weight answer clients; which of them
//! a request takes is [`crate::weights`]'s choice, by what sticks to the client ([`Sticky`]) or else by chance. Variants that are
//! [`Share::Shadow`] get copies of requests, and what they answer is compared ([`compare`]) and dropped.

pub mod compare;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{FunctionName, VariantName};
use crate::manifest::units;
use crate::weights::{Point, Weights, WeightsError};
use compare::Compare;

/// Several ways on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Experiment {
    /// What a client keeps its variant by; by chance for each request where there is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky: Option<Sticky>,
    /// The ways, by name. At least one has a weight above 0.
    pub variants: Vec<Variant>,
    /// How answers to copies are compared.
    #[serde(default, skip_serializing_if = "Compare::is_default")]
    pub compare: Compare,
    /// Bounds of copies.
    #[serde(default, skip_serializing_if = "Copies::is_default")]
    pub copies: Copies,
}

/// One of the ways.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variant {
    /// Its name.
    pub name: VariantName,
    /// Which requests it gets.
    pub share: Share,
    /// What a request passes there, where the experiment stands among decorators; none where it is what the route leads to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decorators: Option<Vec<FunctionName>>,
}

/// Which requests a variant gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Share {
    /// Those of clients, by this weight among all.
    Weight(u32),
    /// Copies of so many percent of them.
    Shadow(u8),
}

impl Share {
    /// 0 for one that only gets copies.
    pub fn weight(self) -> u32 {
        match self {
            Self::Weight(weight) => weight,
            Self::Shadow(_) => 0,
        }
    }
}

/// What a client keeps its variant by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sticky {
    /// A header field that clients send, by its lower-case name.
    Header(String),
    /// A cookie that clients have from elsewhere.
    Cookie(String),
    /// A cookie that Evoke gives them.
    OwnCookie,
}

/// Bounds of the copies of an experiment's requests. What is over one is left out, and counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copies {
    /// Requests whose copies are under way.
    pub concurrency: u32,
    /// Bytes of the body of a request that is copied, and of answers that are compared.
    pub max_body: u64,
    /// How long the request's body may take to arrive, and then how long the answer may take.
    #[serde(with = "units::duration_text")]
    pub timeout: Duration,
}

impl Default for Copies {
    fn default() -> Self {
        Self { concurrency: 10, max_body: 256 << 10, timeout: Duration::from_secs(10) }
    }
}

impl Copies {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Marks a request as a copy, in its extensions, so that what counts clients does not count it, and no client waits for a
/// connection that it has.
#[derive(Debug, Clone, Copy)]
pub struct Copied;

impl Experiment {
    /// The weights of its variants, by position.
    pub fn weights(&self) -> Result<Weights, WeightsError> {
        Weights::new(self.variants.iter().map(|variant| (variant.name.as_str(), variant.share.weight())))
    }

    /// The position of a variant.
    pub fn position(&self, name: &VariantName) -> Option<usize> {
        self.variants.iter().position(|variant| variant.name == *name)
    }

    /// Where the client that `key` stands for is among the variants of experiment `name` of `app`.
    pub fn point(app: &str, name: &str, key: &[u8]) -> Point {
        Point::of(&format!("{app}/{name}"), key)
    }
}

/// The cookie by which clients stick to their variant of an experiment: [`Sticky::OwnCookie`].
pub fn own_cookie(experiment: &FunctionName) -> String {
    format!("evoke-{experiment}")
}

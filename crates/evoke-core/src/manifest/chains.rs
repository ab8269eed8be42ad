//! What an app says of its chains: how long they may be, and what is made of circles.

use serde::{Deserialize, Serialize};

use crate::chain::ChainLimits;

/// What holds for all chains of an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Chains {
    /// Their bounds.
    #[serde(flatten)]
    pub bounds: ChainBounds,
    /// What becomes of circles that can be seen in the manifest.
    #[serde(default)]
    pub loops: Loops,
}

/// The bounds of chains that are set; what is not is left to the next larger unit: function, app, node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ChainBounds {
    /// Invocations that may lie before one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depth: Option<u32>,
    /// How often a chain may come back to the same function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reentries: Option<u32>,
    /// Invocations that one start may cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invocations: Option<u64>,
    /// Invocations from outside of the same function by the same event type, or by requests, within a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u32>,
}

/// What becomes of a deployment whose functions can call each other in a circle, as far as its manifest tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loops {
    /// It is made, and the circle told.
    #[default]
    Warn,
    /// It is refused.
    Deny,
    /// It is made.
    Allow,
}

impl Chains {
    /// What was deployed before there was a choice stays as it was.
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl ChainBounds {
    /// A function that sets none keeps its revision.
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// These where they are set, and `otherwise` where not.
    pub fn or(self, otherwise: ChainLimits) -> ChainLimits {
        ChainLimits {
            depth: self.depth.unwrap_or(otherwise.depth),
            reentries: self.reentries.unwrap_or(otherwise.reentries),
            invocations: self.invocations.unwrap_or(otherwise.invocations),
        }
    }
}

//! Which of several variants something is for, by their weights: of an experiment, of an alias.
//!
//! **The choice** is weighted rendezvous hashing (Thaler and Ravishankar 1998; with weights as by Schindelhauer and
//! Schomaker 2005). A client's [`Point`] is mixed with each variant's name to a number `u` in (0, 1], and the variant with the least
//! `-ln(u) / weight` has it. Those are exponentially distributed with rate `weight`, and the least of such numbers is each one's
//! with exactly the probability `weight / sum`.
//!
//! **What moves.** A variant's number depends on its own name and weight alone. So whoever raises one weight moves
//! clients to that variant only, never between two others, and only as many as its share grew by; lowering it again moves
//! the same ones back. A new variant takes from each other one, one that goes gives to each. Neither the order of the list nor
//! a factor common to all weights matters. Slices of a line, the usual way, keep none of this: there one weight moves all bounds behind it.
//!
//! **Who is who.** A point of a key is the same in every process and version of Evoke, and is mixed with a scope, so that the same
//! clients do not land on the new side of every experiment. `ln` may differ in the last bit between two platforms; two of them
//! would disagree about one key in about 10¹⁵.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

/// Variants there may be.
pub const VARIANTS_MAX: usize = 16;
/// What a weight may be at most: a share as small as one in a million can be told.
pub const WEIGHT_MAX: u32 = 1_000_000;

/// Variants by their weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights(Vec<Weighed>);

#[derive(Debug, Clone, PartialEq)]
struct Weighed {
    /// Of its name.
    seed: u64,
    weight: u32,
}

impl Weights {
    /// Of names and weights. Positions in the list are what [`Weights::choose`] gives.
    pub fn new<'a>(variants: impl IntoIterator<Item = (&'a str, u32)>) -> Result<Self, WeightsError> {
        let (mut names, mut weighed) = (BTreeSet::new(), Vec::new());
        for (name, weight) in variants {
            if weight > WEIGHT_MAX {
                return Err(WeightsError::TooHeavy { name: name.to_owned(), weight });
            }
            if !names.insert(name) {
                return Err(WeightsError::Twice { name: name.to_owned() });
            }
            if weighed.len() == VARIANTS_MAX {
                return Err(WeightsError::TooMany);
            }
            weighed.push(Weighed { seed: first_eight(Sha256::new().chain_update(name)), weight });
        }
        match weighed.iter().any(|one| one.weight > 0) {
            true => Ok(Self(weighed)),
            false => Err(WeightsError::NoWeight),
        }
    }

    /// The position of the variant that has `point`. One without weight never has.
    pub fn choose(&self, point: Point) -> usize {
        let score = |one: &Weighed| -unit(mix(mix(point.0) ^ one.seed)).ln() / f64::from(one.weight);
        let weighed = self.0.iter().enumerate().filter(|(_, one)| one.weight > 0);
        let scored = weighed.map(|(at, one)| (score(one), one.seed, at));
        let least = scored.min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        least.map_or(0, |(_, _, at)| at)
    }

    /// The part of all points that each variant has, in the order of the list; together 1.
    pub fn shares(&self) -> Vec<f64> {
        let sum: f64 = self.0.iter().map(|one| f64::from(one.weight)).sum();
        self.0.iter().map(|one| f64::from(one.weight) / sum).collect()
    }
}

/// What decides between variants: the same point has the same variant as long as weights stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point(pub u64);

impl Point {
    /// Of whoever `key` stands for, within `scope`: `shop/new-greeting`.
    pub fn of(scope: &str, key: &[u8]) -> Self {
        Self(first_eight(Sha256::new().chain_update(scope).chain_update([0]).chain_update(key)))
    }
}

/// Why there is no choice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WeightsError {
    /// Nothing would ever be chosen.
    #[error("no variant has a weight above 0, so that none could be chosen")]
    NoWeight,
    /// Two have the same name.
    #[error("variant {name} is there twice")]
    Twice {
        /// The name.
        name: String,
    },
    /// More than [`VARIANTS_MAX`].
    #[error("there are more variants than the limit of {VARIANTS_MAX}")]
    TooMany,
    /// More than [`WEIGHT_MAX`].
    #[error(
        "variant {name}: weight {weight} is above the limit of {WEIGHT_MAX}; what counts is how weights compare"
    )]
    TooHeavy {
        /// The variant.
        name: String,
        /// Its weight.
        weight: u32,
    },
}

/// In (0, 1], in steps of 2⁻⁵³, so that its logarithm is finite.
fn unit(bits: u64) -> f64 {
    const STEP: f64 = 1.0 / (1_u64 << 53) as f64;
    ((bits >> 11) + 1) as f64 * STEP
}

/// Each bit of the input changes about half of the output's: the finaliser of SplitMix64 (Steele, Lea and Flood 2014).
fn mix(bits: u64) -> u64 {
    let bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

fn first_eight(digest: Sha256) -> u64 {
    digest.finalize().iter().take(8).fold(0, |bits, byte| bits << 8 | u64::from(*byte))
}

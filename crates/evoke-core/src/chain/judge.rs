//! Whether an invocation may follow those before it: a pure decision.

use std::fmt;

use super::{Chain, Link, path};

/// The bounds of a chain, as they hold for one function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainLimits {
    /// Invocations that may lie before one.
    pub depth: u32,
    /// How often a chain may come back to the same function.
    pub reentries: u32,
    /// Invocations that what came from outside once may cause in all, itself not counted.
    pub invocations: u64,
}

/// It may follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Passed {
    /// There is nothing to say about it.
    Straight,
    /// The chain comes back to a function for the first time.
    FirstReentry {
        /// From that function to itself: `a → b → a`.
        cycle: String,
    },
}

/// It may not follow: the chain has reached a bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoopStopped {
    /// All of the chain, this invocation last: `a → b → c → a`.
    pub path: String,
    /// The part of it that goes round, when one does.
    pub cycle: Option<String>,
    /// What led to this invocation, in words: `event order_placed of c`.
    pub edge: String,
    /// The bound: `depth`, `reentries`, `invocations` or `rate`.
    pub limit: &'static str,
    /// Its value.
    pub allowed: u64,
}

/// Judges `next`, which follows `chain`. `depth` is how many invocations lie before it, which can be more than the chain
/// names; `caused` how many were caused by the same start, this one included.
///
/// # Errors
/// When one of the bounds is passed.
pub fn judge(
    chain: &Chain,
    depth: u32,
    next: &Link,
    caused: u64,
    limits: ChainLimits,
) -> Result<Passed, Box<LoopStopped>> {
    let visits = chain.visits(&next.app, &next.function) as u64;
    let (limit, allowed) = if visits > u64::from(limits.reentries) {
        ("reentries", u64::from(limits.reentries))
    } else if depth > limits.depth {
        ("depth", u64::from(limits.depth))
    } else if caused > limits.invocations {
        ("invocations", limits.invocations)
    } else if visits == 1 && !chain.has_reentry() {
        return Ok(Passed::FirstReentry { cycle: cycle(chain, next).unwrap_or_default() });
    } else {
        return Ok(Passed::Straight);
    };
    let from = chain.links().last().map_or_else(String::new, |last| format!(" of {}", last.function));
    Err(Box::new(LoopStopped {
        path: path(chain, next),
        cycle: cycle(chain, next),
        edge: format!("{}{from}", next.by),
        limit,
        allowed,
    }))
}

/// From the last time the chain was at `next` to `next`.
fn cycle(chain: &Chain, next: &Link) -> Option<String> {
    let links = chain.links();
    let last = links.iter().rposition(|link| link.is_of(&next.app, &next.function))?;
    Some(path(&links[last..].iter().cloned().collect(), next))
}

impl fmt::Display for LoopStopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, cycle, edge, limit, allowed } = self;
        match *limit {
            "depth" => write!(f, "a chain may have {allowed} invocations before one")?,
            "reentries" => write!(f, "a chain may come back to this function {allowed} times")?,
            "rate" => write!(f, "{allowed} invocations a minute may come from outside in the same way")?,
            _ => write!(f, "one start may cause {allowed} invocations")?,
        }
        write!(f, ", and it would be one more by the {edge}: {path}")?;
        if let Some(cycle) = cycle.as_ref().filter(|cycle| *cycle != path) {
            write!(f, "; it goes round: {cycle}")?;
        }
        write!(f, " (chain = {{ {limit} = N }} in evoke.toml)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::Edge;
    use crate::id::{AppName, FunctionName};
    use proptest::prelude::*;

    const LIMITS: ChainLimits = ChainLimits { depth: 16, reentries: 8, invocations: 100_000 };

    fn link(function: &str) -> Link {
        let event = Edge::Event { ty: "tick".to_owned() };
        Link { app: AppName::new("shop").unwrap(), function: FunctionName::new(function).unwrap(), by: event }
    }

    fn verdict(before: &[&str], next: &str, caused: u64) -> Result<Passed, Box<LoopStopped>> {
        let chain: Chain = before.iter().map(|name| link(name)).collect();
        judge(&chain, before.len() as u32, &link(next), caused, LIMITS)
    }

    #[test]
    fn the_first_return_is_told_with_its_cycle_and_later_ones_are_not_told_again() {
        let first = Passed::FirstReentry { cycle: "b → c → b".to_owned() };
        assert_eq!(verdict(&["a", "b", "c"], "b", 0), Ok(first));
        assert_eq!(verdict(&["a", "b", "c", "b"], "c", 0), Ok(Passed::Straight));
        assert_eq!(verdict(&["a", "b", "c"], "d", 0), Ok(Passed::Straight));
    }

    #[test]
    fn what_is_stopped_names_path_cycle_edge_and_limit() {
        let nine = ["a"; 9];
        let stopped = verdict(&nine, "a", 0).unwrap_err();
        assert_eq!((stopped.limit, stopped.allowed), ("reentries", 8));
        assert_eq!(stopped.cycle.as_deref(), Some("a → a"));
        let steps: Vec<String> = (0..17).map(|step| format!("f{step}")).collect();
        let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
        let stopped = verdict(&steps, "last", 0).unwrap_err();
        assert_eq!((stopped.limit, stopped.cycle.clone()), ("depth", None));
        assert_eq!(stopped.edge, "event tick of f16");
        assert!(stopped.path.starts_with("f0 → f1 → ") && stopped.path.ends_with("f16 → last"));
        assert_eq!(verdict(&["a"], "b", 100_001).unwrap_err().limit, "invocations");
    }

    proptest! {
        #[test]
        fn whatever_goes_round_is_stopped_within_one_more_than_the_depth(period in 1_usize..20, start in 0_usize..20) {
            let names: Vec<String> = (0..start + period).map(|n| format!("f{n}")).collect();
            let at = |step: usize| {
                let name = if step < start { step } else { start + (step - start) % period };
                names[name].as_str()
            };
            let mut chain = Chain::default();
            let mut runs = 0_u32;
            while judge(&chain, runs, &link(at(runs as usize)), 0, LIMITS).is_ok() {
                chain = chain.and(link(at(runs as usize)));
                runs += 1;
                prop_assert!(runs <= LIMITS.depth + 1);
            }
        }

        #[test]
        fn no_straight_pipeline_within_the_depth_is_stopped_or_told(steps in 1_usize..=17) {
            let names: Vec<String> = (0..steps).map(|n| format!("f{n}")).collect();
            let mut chain = Chain::default();
            for (depth, name) in names.iter().enumerate() {
                prop_assert_eq!(judge(&chain, depth as u32, &link(name), 1_000, LIMITS), Ok(Passed::Straight));
                chain = chain.and(link(name));
            }
        }
    }
}

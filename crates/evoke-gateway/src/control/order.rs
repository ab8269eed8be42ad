//! Orders about many runs, such as cancelling or redriving them: those they name, or all, which their other members narrow
//! down.
//!
//! The bodies are types of their own (`api::CancelRuns`, `api::DeadLetterOrder`): a shared part that is flattened into both
//! would no longer refuse members it does not know in its schema, as `additionalProperties` does not see through `allOf`.

use evoke_core::id::RunId;
use evoke_engine::Engine;

use super::extract::invalid;
use crate::problem::Refusal;

/// Bytes of a body: 1,000 run ids.
pub(super) const ORDER_BYTES: u64 = 64 << 10;
/// Runs that one request takes of all.
const ORDER_MAX: usize = 10_000;

/// Whether all are meant, and not those that are named.
pub(super) fn is_all(runs: &[RunId], all: bool) -> Result<bool, Refusal> {
    if runs.is_empty() == all {
        return Ok(all);
    }
    Err(invalid("body: wants either runs, a list of run ids, or all, which is true"))
}

/// The runs that are named, if they are no more than a page.
pub(super) fn page(runs: Vec<RunId>, engine: &Engine) -> Result<Vec<RunId>, Refusal> {
    let (count, most) = (runs.len(), engine.limits().page);
    if count > most {
        let detail = format!("body: runs names {count}, at most {most} at a time");
        return Err(invalid(detail).limit("page", most as u64));
    }
    Ok(runs)
}

/// How many of all at most.
pub(super) fn most(limit: Option<usize>) -> Result<usize, Refusal> {
    let limit = limit.unwrap_or(ORDER_MAX);
    if !(1..=ORDER_MAX).contains(&limit) {
        return Err(invalid(format!("body: limit: {limit} is not between 1 and {ORDER_MAX}")));
    }
    Ok(limit)
}

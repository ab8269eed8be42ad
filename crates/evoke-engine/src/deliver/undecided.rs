//! Deliveries that were queued before it was known whether their subscription takes the event, since the filters that came
//! first had used up what those of one publish may take. They are decided here, one at a time, so that expensive
//! filters have one processor at most, and that in turns.

use std::pin::pin;

use evoke_core::filter::Filtered;
use evoke_core::outcome::{Failure, FailureCode, Outcome};
use evoke_core::store::{Leased, StoredInput};

use super::{keep_leases, settle_one};
use crate::attempt::Taken;
use crate::engine::Inner;
use crate::route::Target;

/// Leaves of `leased` what `target` is to be called with, and settles what its subscription does not take.
pub(super) async fn decide(inner: &Inner, target: &Target, leased: Vec<Leased>) -> Vec<Leased> {
    if !leased.iter().any(|one| one.run.undecided) {
        return leased;
    }
    let reasons = {
        let mut lease_lost = pin!(keep_leases(inner, &leased));
        tokio::select! {
            biased;
            // Somebody else has it.
            () = &mut lease_lost => return Vec::new(),
            reasons = reasons(inner, target, &leased) => reasons,
        }
    };
    let mut left = Vec::with_capacity(leased.len());
    for (one, filtered) in leased.into_iter().zip(reasons) {
        let Some(Filtered { clause, reason, .. }) = filtered else {
            left.push(one);
            continue;
        };
        let outcome = Outcome::Rejected(Failure::new(FailureCode::Filtered, format!("{clause} {reason}")));
        let record = Taken::now(inner).unstarted(inner, one.attempt, None, outcome);
        settle_one(inner, &one, Some(record), &target.settings.retry).await;
    }
    left
}

/// Why each is not for its subscription; `None` for what is.
async fn reasons(inner: &Inner, target: &Target, leased: &[Leased]) -> Vec<Option<Filtered>> {
    let mut found = Vec::with_capacity(leased.len());
    for one in leased {
        // The semaphore is never closed.
        let turn = inner.deciding.acquire().await;
        found.push(reason(target, one));
        drop(turn);
        tokio::task::yield_now().await;
    }
    found
}

fn reason(target: &Target, leased: &Leased) -> Option<Filtered> {
    let StoredInput::Event(event) = &leased.input else { return None };
    let name = leased.run.subscription.as_ref().filter(|_| leased.run.undecided)?;
    target.subscription(name)?.explain(event)
}

//! Which events of the log are taken, found out in portions: the filters of one portion share what those of one publish may
//! take, so that a log full of events with expensive filters holds nobody up.

use evoke_core::event::Event;
use evoke_core::filter::{Allowance, Decision};
use evoke_core::manifest::{Subscription, TypePattern};

use super::Take;
use crate::engine::Inner;

/// Decides about the events of a portion, at least the first.
pub(super) struct Sieve<'a> {
    inner: &'a Inner,
    on: &'a Subscription,
    take: &'a Take,
    allowance: Allowance,
    decided: u64,
}

impl<'a> Sieve<'a> {
    /// For the next portion.
    pub fn new(inner: &'a Inner, on: &'a Subscription, take: &'a Take) -> Self {
        Self { inner, on, take, allowance: inner.allowance(), decided: 0 }
    }

    /// Whether the event is taken; `None` when that is for the next portion to find out.
    pub async fn takes(&mut self, event: &Event) -> Option<bool> {
        let mut decision = decide(self.on, self.take, event, &mut self.allowance);
        if decision == Decision::Open && self.decided == 0 {
            // More than a whole portion: in turn with everybody else's expensive filters. The semaphore is never closed.
            let turn = self.inner.deciding.acquire().await;
            decision = decide(self.on, self.take, event, &mut Allowance::unlimited());
            drop(turn);
            tokio::task::yield_now().await;
        }
        if decision == Decision::Open {
            return None;
        }
        self.decided += 1;
        Some(decision == Decision::Takes)
    }
}

fn decide(on: &Subscription, take: &Take, event: &Event, allowance: &mut Allowance) -> Decision {
    let fits = |types: &TypePattern| types.matches(event.ty());
    if !fits(&on.event) || !take.types.as_ref().is_none_or(fits) {
        return Decision::Leaves;
    }
    let chosen = take.filter.as_ref().map_or(Decision::Takes, |filter| filter.decide(event, allowance));
    chosen.and(|| on.decide(event, allowance))
}

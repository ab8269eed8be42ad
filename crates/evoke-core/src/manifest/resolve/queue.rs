//! Queues, each a subscription of the one function that takes its messages; and batches.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Resolver;
use crate::id::FunctionName;
use crate::manifest::bounds::*;
use crate::manifest::table::At;
use crate::manifest::{Batch, Destinations, Function, QUEUE_PREFIX, Start, Subscription, TypePattern, raw};
use crate::retry::{Backoff, RetryPolicy};

const VISIBILITY: Duration = Duration::from_secs(30);
const MAX_RECEIVES: u32 = 5;
const WINDOW: Duration = Duration::from_secs(1);

impl Resolver<'_, '_> {
    /// Adds to each function the queues it takes messages of.
    pub(super) fn queues(
        &mut self,
        raw: &[(At<String>, raw::Queue)],
        functions: &mut BTreeMap<FunctionName, Function>,
        declared: &[&str],
    ) {
        if let Some((name, _)) = raw.get(QUEUES_MAX) {
            let message = format!("{} queues are more than the limit of {QUEUES_MAX}", raw.len());
            self.problems.add("out_of_range", name.span.clone(), message);
        }
        for (name, queue) in raw.iter().take(QUEUES_MAX) {
            let place = format!("queue {}", name.value);
            // The same rule as for functions.
            if let Err(mut error) = FunctionName::new(&name.value) {
                error.kind = "queue";
                self.invalid_name(name, error.to_string());
                continue;
            }
            let to = queue.to.as_ref().and_then(|to| self.target(&place, to, declared));
            let range = TIMEOUT_MIN..=TIMEOUT_MAX;
            let visibility = self.duration(&place, "visibility", queue.visibility.as_ref(), range);
            let receives = self.count(&place, "max_receives", queue.max_receives.as_ref(), ATTEMPTS_MAX);
            let concurrency = self.count(&place, "concurrency", queue.concurrency.as_ref(), CONCURRENCY_MAX);
            let batch = queue.batch.as_ref().and_then(|batch| self.batch(&place, batch));
            let Some(function) = to.and_then(|to| functions.get_mut(&to)) else { continue };
            let visibility = visibility.unwrap_or(VISIBILITY);
            function.on.push(Subscription {
                event: TypePattern(format!("{QUEUE_PREFIX}{}", name.value)),
                filter: None,
                pattern: None,
                // Not seen by anybody for as long as the one who got it had.
                retry: RetryPolicy {
                    attempts: receives.unwrap_or(MAX_RECEIVES),
                    backoff: Backoff::Fixed,
                    initial: visibility,
                    max: visibility,
                },
                timeout: Some(visibility),
                named: None,
                concurrency,
                order: None,
                batch,
                from: Start::Now,
                destinations: Destinations::default(),
            });
        }
    }

    /// `batch`.
    pub(super) fn batch(&mut self, place: &str, raw: &raw::Batch) -> Option<Batch> {
        let place = format!("{place}: batch");
        let size = self.count(&place, "size", raw.size.as_ref(), BATCH_MAX);
        let window = self.duration(&place, "window", raw.window.as_ref(), WINDOW_MIN..=WINDOW_MAX);
        Some(Batch { size: size?, window: window.unwrap_or(WINDOW) })
    }
}

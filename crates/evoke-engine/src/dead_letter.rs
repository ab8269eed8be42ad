//! What was given up: chosen among all that is, tried again or let go.

use evoke_core::dead_letter::Selection;
use evoke_core::id::{AppName, RunId};
use evoke_core::store::{DeadLetter, DeadLetterQuery, StoreError};

use crate::Engine;
use crate::queue;

/// Dead letters of one page of the store; each comes with its input.
const PAGE: usize = 100;

/// Dead letters that were chosen.
#[derive(Debug)]
pub struct Chosen {
    /// They, newest first.
    pub letters: Vec<DeadLetter>,
    /// There may be more: go on before this one.
    pub next: Option<RunId>,
}

impl Engine {
    /// Dead letters of `app` that `selection` takes, newest first: those before `before`, at most `limit`, of at most `looks`
    /// that are looked at.
    pub async fn dead_letters(
        &self,
        app: &AppName,
        selection: &Selection,
        before: Option<RunId>,
        limit: usize,
        looks: usize,
    ) -> Result<Chosen, StoreError> {
        let mut chosen = Chosen { letters: Vec::new(), next: None };
        let (mut before, mut looked) = (before, 0);
        loop {
            let query = DeadLetterQuery {
                app: Some(app.clone()),
                function: selection.function.clone(),
                run: None,
                before: before.clone(),
                limit: PAGE.min(looks - looked),
            };
            let page = self.0.store.dead_letters(&query).await?;
            looked += page.len();
            let is_last = page.len() < query.limit;
            let mut last = before;
            for letter in page {
                if chosen.letters.len() == limit {
                    chosen.next = last;
                    return Ok(chosen);
                }
                last = Some(letter.run.id.clone());
                if selection.takes(&letter) {
                    chosen.letters.push(letter);
                }
            }
            if is_last {
                return Ok(chosen);
            }
            if looked >= looks {
                chosen.next = last;
                return Ok(chosen);
            }
            before = last;
        }
    }

    /// Puts dead letters of `app` back in their queues; returns those that were there.
    pub async fn redrive(&self, app: &AppName, runs: &[RunId]) -> Result<Vec<RunId>, StoreError> {
        let redriven = self.0.store.redrive(app, runs, self.now()).await?;
        if !redriven.is_empty()
            && let Err(error) = queue::refresh(&self.0).await
        {
            // They are in their queues all the same, and found there a little later.
            tracing::warn!(%error, "the store does not say what is due");
        }
        Ok(redriven)
    }

    /// Lets dead letters of `app` go; returns those that were there.
    pub async fn purge(&self, app: &AppName, runs: &[RunId]) -> Result<Vec<RunId>, StoreError> {
        self.0.store.purge(app, runs, self.now()).await
    }
}

//! What was given up: chosen among all that is, tried again or let go.

use evoke_core::dead_letter::Selection;
use evoke_core::id::{AppName, RunId};
use evoke_core::store::{DeadLetter, DeadLetterQuery, StoreError};

use crate::choose::{Bounds, choose};
use crate::{Engine, queue};

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
        let read = |before, limit| {
            let (app, function) = (Some(app.clone()), selection.function.clone());
            let query = DeadLetterQuery { app, function, run: None, before, limit };
            async move { self.store().dead_letters(&query).await }
        };
        let (place, takes) =
            (|letter: &DeadLetter| letter.run.id.clone(), |letter: &DeadLetter| selection.takes(letter));
        let bounds = Bounds { limit, looks, page: PAGE };
        let (letters, next) = choose(bounds, before, read, place, takes).await?;
        Ok(Chosen { letters, next })
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

//! Where what a process asks arrives, and who of it waits for an invocation.

use std::collections::VecDeque;

use http::StatusCode;
use tokio::sync::mpsc;
use tokio_util::sync::DropGuard;

use super::ask::{Ask, Invocation, Poll};
use super::reply::Reply;
use crate::instance::problem::problem;

/// The asks of one process. Dropping it closes its listener and connections.
#[derive(Debug)]
pub(super) struct Desk {
    asks: mpsc::Receiver<Ask>,
    /// Those who wait for an invocation, the longest first. As many as there are connections, at most.
    polls: VecDeque<Poll>,
    _ends: DropGuard,
}

impl Desk {
    pub(super) fn new(asks: mpsc::Receiver<Ask>, ends: DropGuard) -> Self {
        Self { asks, polls: VecDeque::new(), _ends: ends }
    }

    /// The next ask. Safe to drop and call again.
    pub(super) async fn next(&mut self) -> Ask {
        match self.asks.recv().await {
            Some(ask) => ask,
            // The listener is gone, which happens at shutdown.
            None => std::future::pending().await,
        }
    }

    /// The next ask, if one is there.
    pub(super) fn waiting(&mut self) -> Option<Ask> {
        self.asks.try_recv().ok()
    }

    /// Lets somebody wait for an invocation.
    pub(super) fn park(&mut self, poll: Poll) {
        // A client that gave up and came back is there once.
        self.polls.retain(|poll| !poll.is_closed());
        self.polls.push_back(poll);
    }

    /// Gives an invocation to the one who has waited longest; gives it back when nobody waits.
    pub(super) fn hand_out(&mut self, mut invocation: Invocation) -> Option<Invocation> {
        while let Some(poll) = self.polls.pop_front() {
            match poll.send(Ok(invocation)) {
                Ok(()) => return None,
                Err(Ok(back)) => invocation = back,
                Err(Err(_)) => unreachable!("what was sent is what comes back"),
            }
        }
        Some(invocation)
    }

    /// Answers what is asked while no invocation is under way.
    pub(super) fn answer_idle(&mut self, ask: Ask) {
        // Nobody may be waiting for the answer any more.
        match ask {
            Ask::Next(poll) => self.park(poll),
            Ask::Response(response) => _ = response.reply.send(Reply::wrong_id(&response.of.request)),
            Ask::Error { of, reply, .. } => _ = reply.send(Reply::wrong_id(&of.request)),
            Ask::InitError { reply, .. } => {
                _ = reply.send(Reply::wrong_state("the function has been initialised already"));
            }
            Ask::Platform { answer, .. } => {
                let detail = "no invocation is under way in whose name the platform could be asked";
                let _ = answer.send(problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail));
            }
            Ask::Tell(line) => tracing::warn!(line, "told outside of any call"),
        }
    }
}

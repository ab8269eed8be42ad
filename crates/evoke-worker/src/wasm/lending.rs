//! Connections that a component asks for: made by the host, handed to the app's process.

use super::worker::Worker;
use crate::egress;

/// Makes connections for one function and hands them to the process it runs in.
#[derive(Debug, Clone)]
pub(crate) struct Lending {
    lender: egress::Lender,
    worker: Worker,
}

impl Lending {
    /// By the rules of `lender`, to `worker`.
    pub(crate) fn new(lender: egress::Lender, worker: Worker) -> Self {
        Self { lender, worker }
    }

    /// Connects to `to` and hands that over as `number`. The answer is a word of the worker protocol, empty if all went well.
    pub(crate) async fn lend(self, number: u64, to: String) -> &'static str {
        let socket = match self.lender.connect(&to).await {
            Ok(socket) => socket,
            Err(word) => return word,
        };
        match self.worker.lend(number, socket).await {
            Ok(()) => "",
            Err(_) => "unreachable",
        }
    }
}

//! What an instance says during a call, on its way to whoever made it.

use std::collections::VecDeque;

use evoke_core::record::LogStream;
use evoke_core::runtime::{Report, ReportSender};

/// Hands reports over while there is room. The others wait here, in their order; who makes them must not make more then.
#[derive(Debug)]
pub(crate) struct Reports {
    up: ReportSender,
    waiting: VecDeque<Report>,
}

impl Reports {
    /// Begins with lines that were written before the call.
    pub(crate) fn new(up: ReportSender, early: Vec<(LogStream, String)>) -> Self {
        let waiting = early.into_iter().map(|(stream, line)| Report::Log { stream, line }).collect();
        Self { up, waiting }
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Hands it over, or keeps it until there is room. A receiver that is gone wants no reports.
    pub(crate) fn push(&mut self, report: Report) {
        if !self.waiting.is_empty() {
            return self.waiting.push_back(report);
        }
        if let Some(report) = self.up.try_send(report) {
            self.waiting.push_back(report);
        }
    }

    /// Hands over what there is room for.
    pub(crate) fn hand_over(&mut self) {
        while let Some(report) = self.waiting.pop_front() {
            if let Some(report) = self.up.try_send(report) {
                return self.waiting.push_front(report);
            }
        }
    }

    /// Waits for room, or until the receiver is gone. Safe to drop and call again.
    pub(crate) async fn room(&self) {
        self.up.room().await;
    }
}

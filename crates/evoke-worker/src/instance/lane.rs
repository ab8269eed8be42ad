//! One of several calls that a process runs at once.

use std::sync::Arc;

use async_trait::async_trait;
use evoke_core::outcome::{Failure, FailureCode};
use evoke_core::record::LogStream;
use evoke_core::runtime::{Call, Ended, Instance};
use evoke_core::usage::Usage;

use super::exchange::{Exchange, Metering, Over};
use super::hub::Hub;
use super::{Parts, ProcessInstance, Terms};
use crate::launcher::Process;
use crate::meter::Meter;

/// The right to one call at a time in a process that runs several. The process ends when the last of its lanes is dropped.
#[derive(Debug)]
pub(super) struct Lane {
    hub: Hub,
    /// Of the current call, if there is one; the process is shared by all lanes.
    parts: Parts,
    function: String,
    source: String,
    terms: Terms,
    early: Vec<(LogStream, String)>,
    /// Not in the middle of a call.
    idle: bool,
    /// Of all lanes.
    meter: Option<Arc<Meter>>,
    /// Of the last call.
    usage: Usage,
    /// Until somebody asks for them.
    others: Vec<Self>,
}

impl Lane {
    /// All lanes of a process: the first, which has the others.
    pub(super) fn first(mut instance: ProcessInstance) -> std::io::Result<Self> {
        let count = instance.concurrency;
        let parts = instance.body.take().ok_or(std::io::ErrorKind::NotConnected)?;
        let shares: Vec<Process> = (0..count).map(|_| parts.process.share()).collect();
        let hub = Hub::start(parts, instance.between.function().to_owned(), &instance.tasks);
        let mut lanes = shares.into_iter().map(|process| Self {
            hub: hub.clone(),
            parts: hub.lane(process),
            function: instance.between.function().to_owned(),
            source: instance.source.clone(),
            terms: instance.terms,
            early: Vec::new(),
            idle: true,
            meter: instance.meter.clone(),
            usage: Usage::default(),
            others: Vec::new(),
        });
        let mut first = lanes.next().ok_or(std::io::ErrorKind::InvalidInput)?;
        first.others = lanes.collect();
        first.early = std::mem::take(&mut instance.early);
        Ok(first)
    }
}

#[async_trait]
impl Instance for Lane {
    async fn call(&mut self, call: Call) -> Ended {
        if !self.is_usable() {
            let message = format!("function {}: its process ended before the call", self.function);
            return Ended::Failed(Failure::new(FailureCode::Crashed, message));
        }
        // Stays false if this future is dropped half-way: then the call goes on in the process, and nobody listens.
        self.idle = false;
        self.usage = Usage::default();
        let entry = self.hub.enter(&mut self.parts);
        let early = std::mem::take(&mut self.early);
        let metering = Metering::of(self.meter.as_deref());
        let exchange =
            Exchange::among(entry, call, &mut self.parts, metering, self.terms, &self.source, early);
        let Over { ended, is_usable, usage } = exchange.run().await;
        (self.idle, self.usage) = (is_usable, usage);
        ended
    }

    fn lanes(&mut self) -> Vec<Box<dyn Instance>> {
        self.others.drain(..).map(|lane| Box::new(lane) as Box<dyn Instance>).collect()
    }

    fn usage(&self) -> Usage {
        self.usage
    }

    fn is_usable(&self) -> bool {
        self.idle && self.hub.is_open() && !self.parts.process.has_exited()
    }

    async fn gone(&mut self) {
        let _ = self.parts.process.exited().await;
    }
}

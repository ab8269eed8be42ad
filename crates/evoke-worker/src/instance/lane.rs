//! One of several calls that a process, or a connection to one, runs at once.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use evoke_core::egress::AllowList;
use evoke_core::outcome::{Failure, FailureCode};
use evoke_core::record::LogStream;
use evoke_core::runtime::{Call, Ended, Instance};
use evoke_core::usage::Usage;
use parking_lot::Mutex;
use tokio::runtime::{Handle, Id};

use super::alarm::Alarm;
use super::exchange::{Exchange, Metering, Over};
use super::hub::Hub;
use super::inbox::Inbox;
use super::link::Link;
use super::output::Output;
use super::{Parts, ProcessInstance, Terms};
use crate::egress::{Common, Egress, Node};
use crate::launcher::Process;
use crate::meter::Meter;
use crate::wasm::{Lending, Worker};

/// What all lanes share. It ends when the last of them is dropped.
#[derive(Debug)]
pub(crate) struct Trunk {
    hub: Hub,
    process: Process,
    function: String,
    source: String,
    terms: Terms,
    meter: Option<Arc<Meter>>,
    /// Of calls that are guests of an app's process.
    guests: Option<Guests>,
    /// What was written before the first call, for that one.
    early: Mutex<Vec<(LogStream, String)>>,
}

/// The app's process, which has no network, and the connections that it is lent: it keeps them for whichever call is next.
#[derive(Debug)]
pub(crate) struct Guests {
    pub worker: Worker,
    pub common: Common,
}

/// The right to one call at a time in a process that runs several.
#[derive(Debug)]
pub(super) struct Lane {
    trunk: Arc<Trunk>,
    /// Of the current call, if there is one; the process is shared by all lanes.
    parts: Parts,
    inbox: Arc<Inbox>,
    /// Whose clock its deadlines are kept by.
    runtime: Option<Id>,
    /// Not in the middle of a call.
    idle: bool,
    /// Of the last call.
    usage: Usage,
    /// Until somebody asks for them.
    others: Vec<Self>,
}

impl Trunk {
    /// Of an instance that was made for it, a component's with `guests`.
    pub(crate) fn new(mut instance: ProcessInstance, guests: Option<Guests>) -> std::io::Result<Self> {
        let parts = instance.body.take().ok_or(std::io::ErrorKind::NotConnected)?;
        let function = instance.between.function().to_owned();
        let process = parts.process.share();
        let hub = Hub::new(parts, function.clone(), guests.is_some(), instance.tasks.clone());
        Ok(Self {
            hub,
            process,
            function,
            source: std::mem::take(&mut instance.source),
            terms: instance.terms,
            meter: instance.meter.take(),
            guests,
            early: Mutex::new(std::mem::take(&mut instance.early)),
        })
    }

    /// Whether calls can be made.
    pub(crate) fn is_open(&self) -> bool {
        self.hub.is_open() && !self.process.has_exited()
    }

    /// One more of a component's lanes. It makes the connections that its calls ask for, by the list `allowed`, and is told what they
    /// are refused.
    pub(crate) fn guest(
        self: &Arc<Self>,
        function: String,
        allowed: AllowList,
        node: &Arc<Node>,
    ) -> std::io::Result<Box<dyn Instance>> {
        let Guests { worker, common } = self.guests.as_ref().ok_or(std::io::ErrorKind::Unsupported)?;
        let (egress, lender) = Egress::without_network(function, allowed, node, common)?;
        let mut lane = Lane::new(Arc::clone(self));
        let lending = Lending::new(lender, worker.clone());
        lane.parts.output = Output::passed_on(Arc::clone(&lane.inbox), None).lending(egress, lending);
        Ok(Box::new(lane))
    }
}

impl Lane {
    fn new(trunk: Arc<Trunk>) -> Self {
        let inbox = Arc::new(Inbox::default());
        let output = Output::passed_on(Arc::clone(&inbox), trunk.hub.present());
        let parts = Parts {
            process: trunk.process.share(),
            link: Link::lane(Arc::clone(&inbox), trunk.hub.shared()),
            output,
            alarm: Alarm::default(),
        };
        Self { trunk, parts, inbox, runtime: None, idle: true, usage: Usage::default(), others: Vec::new() }
    }

    /// All lanes of a process: the first, which has the others.
    pub(super) fn first(instance: ProcessInstance) -> std::io::Result<Self> {
        let count = instance.concurrency;
        let trunk = Arc::new(Trunk::new(instance, None)?);
        let mut lanes = (0..count).map(|_| Self::new(Arc::clone(&trunk)));
        let mut first = lanes.next().ok_or(std::io::ErrorKind::InvalidInput)?;
        first.others = lanes.collect();
        Ok(first)
    }
}

#[async_trait]
impl Instance for Lane {
    async fn call(&mut self, call: Call) -> Ended {
        let Self { trunk, parts, inbox, runtime, .. } = self;
        if !self.idle || !trunk.is_open() {
            let message = format!("function {}: its process ended before the call", trunk.function);
            return Ended::Failed(Failure::new(FailureCode::Crashed, message));
        }
        // Stays false if this future is dropped half-way: then the call goes on in the process, and nobody listens.
        self.idle = false;
        self.usage = Usage::default();
        let here = Some(Handle::current().id());
        if std::mem::replace(runtime, here) != here {
            parts.alarm = Alarm::default();
        }
        parts.link.begin();
        // What it was refused after the end of an earlier call.
        parts.output.drain(|_, _| {});
        parts.output.begin_call();
        let entry = trunk.hub.enter(inbox);
        let early = std::mem::take(&mut *trunk.early.lock());
        let metering = Metering::of(trunk.meter.as_deref());
        let exchange = Exchange::among(entry, call, parts, metering, trunk.terms, &trunk.source, early);
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
        self.idle && self.trunk.is_open()
    }

    async fn gone(&mut self) {
        let _ = self.parts.process.exited().await;
    }

    /// Its trunk listens all the time.
    fn has_stayed_usable(&mut self) -> bool {
        self.is_usable()
    }
}

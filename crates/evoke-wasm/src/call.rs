//! One call: an instance, a request for it, its answer, its end.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use rustix::time::{ClockId, clock_gettime};

use evoke_core::usage::Usage;
use evoke_worker::frame::Kind;
use evoke_worker::frame::compact::{self, Invocation};

use crate::answer::{events, hand_over};
use crate::body::Body;
use crate::eager::Eager;
use crate::failure::Failure;
use crate::function::Function;
use crate::guest::Guest;
use crate::instance::{Instance, Kept};
use crate::meter::{Memory, Metered, Peak};
use crate::outbox::Outbox;
use crate::output::{Output, Stream};
use crate::request::{Asked, request};
use crate::taken::Taken;
use crate::ticker::Ticker;
use crate::tie::Tie;

/// A call to make.
pub(crate) struct Call {
    pub function: Arc<Function>,
    /// Where its connection has an instance between calls.
    pub kept: Arc<Kept>,
    pub outbox: Arc<Outbox>,
    pub tie: Arc<Tie>,
    /// Milliseconds since 1970.
    pub deadline_ms: u64,
}

impl Call {
    /// Makes it, and says how it ended. Returns the processor time it took, in microseconds.
    pub async fn run(self, input: Invocation, body: Body, ticker: Ticker) -> u64 {
        let _ticking = ticker.run();
        let (outbox, number) = (&self.outbox, self.tie.call);
        let kept = self.kept.take();
        let lines = self.function.init.limits.log_line_bytes;
        let fresh = |stream| Output::new(stream, number, Arc::clone(outbox), lines);
        let output =
            kept.as_ref().map_or_else(|| [Stream::Stdout, Stream::Stderr].map(fresh), Instance::output);
        let mut usage = Usage::default();
        let ended = self.make(input, body, kept, output.clone(), &mut usage).await;
        output.iter().for_each(Output::finish);
        self.tie.end();
        let cpu_us = usage.cpu_us.unwrap_or_default();
        let failure = match ended {
            Ok(events) => match outbox.add(|to| compact::done(to, number, &events, usage)) {
                Ok(()) => return cpu_us,
                Err(cause) => Failure::new("Error", format!("its events cannot be sent: {cause}")),
            },
            Err(failure) => failure,
        };
        outbox
            .json(Kind::Error, number, &failure.payload(usage))
            .expect("texts of a failure are cut to the frame's size");
        cpu_us
    }

    async fn make(
        &self,
        input: Invocation,
        body: Body,
        instance: Option<Instance>,
        output: [Output; 2],
        usage: &mut Usage,
    ) -> Result<Vec<serde_json::Value>, Failure> {
        let Self { function, kept, outbox, tie, deadline_ms } = self;
        let (request, asked) = request(&function.init.function, input, body, outbox, tie.call)?;
        let keeps = function.init.reuse;

        let peak = Peak::default();
        let limit = function.init.limits.body_bytes;
        let (to, answer) = futures_channel::oneshot::channel();
        let taken = Taken::default();
        let run = async {
            let mut instance = match instance {
                Some(mut instance) => {
                    instance.begin(Arc::clone(tie), peak.clone());
                    instance
                }
                None => {
                    let memory_bytes = usize::try_from(function.init.memory_mib << 20).unwrap_or(usize::MAX);
                    let guest = Guest::new(
                        &function.init.variables,
                        function.config(),
                        output,
                        Arc::clone(tie),
                        Memory::new(memory_bytes, peak.clone()),
                    );
                    match function.instantiate(guest).await {
                        Ok(instance) => instance,
                        Err(failure) => return Err(failure),
                    }
                }
            };
            let driven = instance.drive(request, to, keeps.then_some(&taken)).await;
            // What holds the other end of its answer's body goes with the instance.
            let instance = Some(instance).filter(|_| keeps && matches!(driven, Ok(true)));
            driven.map(|_| instance)
        };
        let has_failed = AtomicBool::new(false);
        let take = async {
            let _reading = taken.reading();
            let response = match answer.await {
                Ok(Ok(response)) => response,
                Ok(Err(error)) => return Err(Some(Failure::new("Error", error.root_cause().to_string()))),
                // It ended before; that says why.
                Err(_) => return Err(None),
            };
            match asked {
                Asked::Response => hand_over(response, tie, outbox, &has_failed).await.map(|()| Vec::new()),
                Asked::Events => events(response, limit).await,
            }
            .map_err(Some)
        };
        let mut cpu_ns = 0;
        let ended = {
            let both = async {
                let (mut run, mut take) = (pin!(run), pin!(take));
                let (taken, driven) = tokio::select! {
                    biased;
                    // A trap ends the answer, however far it has come.
                    ran = run.as_mut() => match ran {
                        Err(failure) => {
                            // What it had said before is sent all the same.
                            has_failed.store(true, Ordering::Relaxed);
                            let _ = take.as_mut().now_or_never();
                            return Err(failure);
                        }
                        ran => (take.await, ran),
                    },
                    taken = take.as_mut() => (taken, run.await),
                };
                match (driven, taken) {
                    (Err(failure), _) | (Ok(_), Err(Some(failure))) => Err(failure),
                    (Ok(_), Err(None)) => Err(Failure::new("Error", "it returned without an answer")),
                    (Ok(instance), Ok(events)) => {
                        instance.into_iter().for_each(|instance| kept.put(instance));
                        Ok(events)
                    }
                }
            };
            let both = pin!(both);
            let both = pin!(Eager::new(both));
            let metered = Metered { inner: both, cpu_ns: &mut cpu_ns };
            tokio::select! {
                // First: most calls are over before a clock has to be set for them, which wakes the thread that keeps it.
                biased;
                ended = metered => ended,
                () = tie.cancelled.notified() => Err(Failure::cancelled()),
                () = too_late(*deadline_ms) => Err(Failure::cancelled()),
                never = taken.hurry() => match never {},
            }
        };
        usage.cpu_us = Some(cpu_ns / 1000);
        usage.peak_memory_bytes = Some(peak.bytes());
        ended
    }
}

/// The host ends a call at its deadline and says why. This is for one that cannot; earlier it would be taken for the end of
/// the handler.
const LATE: Duration = Duration::from_secs(1);

/// Waits until it is [`LATE`].
async fn too_late(deadline_ms: u64) {
    let now = clock_gettime(ClockId::Realtime);
    let now_ms = now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000;
    tokio::time::sleep(Duration::from_millis(deadline_ms.saturating_sub(now_ms)) + LATE).await;
}

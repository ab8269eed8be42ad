//! One call: an instance, a request for it, its answer, its end.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures_channel::oneshot;
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
use crate::instance::{Answer, Instance, Order};
use crate::kept::Kept;
use crate::meter::{Metered, Peak};
use crate::outbox::Outbox;
use crate::output::{Output, Stream};
use crate::patience::Patience;
use crate::request::{Asked, request};
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

/// A call that has begun.
struct Begun {
    instance: Instance,
    answer: Answer,
    asked: Asked,
}

impl Call {
    /// Makes it, and says how it ended. Returns the processor time it took, in microseconds.
    pub async fn run(self, input: Invocation, body: Body, ticker: Ticker) -> u64 {
        let _ticking = ticker.run();
        let (outbox, number) = (&self.outbox, self.tie.call);
        let kept = self.kept.take();
        let output = kept.as_ref().map_or_else(|| self.output(), Instance::output);
        let peak = Peak::default();
        let mut usage = Usage::default();
        let ended = match self.begin(input, body, kept, &output, &peak) {
            Ok(begun) => self.make(begun, &peak, &mut usage).await,
            Err(failure) => Err(failure),
        };
        output.iter().for_each(Output::finish);
        self.tie.end();
        let cpu_us = usage.cpu_us.unwrap_or_default();
        let failure = match ended {
            Ok((events, instance)) => {
                // Only now: the next call may begin with it at once, elsewhere, and begins its output.
                instance.into_iter().for_each(|instance| self.kept.put(instance));
                match outbox.add(|to| compact::done(to, number, &events, usage)) {
                    Ok(()) => return cpu_us,
                    Err(cause) => Failure::new("Error", format!("its events cannot be sent: {cause}")),
                }
            }
            Err(failure) => failure,
        };
        outbox
            .json(Kind::Error, number, &failure.payload(usage))
            .expect("texts of a failure are cut to the frame's size");
        cpu_us
    }

    /// Standard output and error of a fresh instance.
    fn output(&self) -> [Output; 2] {
        let line_bytes = self.function.init.limits.log_line_bytes;
        [Stream::Stdout, Stream::Stderr]
            .map(|stream| Output::new(stream, self.tie.call, Arc::clone(&self.outbox), line_bytes))
    }

    /// Gives the request to the kept instance, or a fresh one. What is large of a call is behind it then, and in no future.
    fn begin(
        &self,
        input: Invocation,
        body: Body,
        kept: Option<Instance>,
        output: &[Output; 2],
        peak: &Peak,
    ) -> Result<Begun, Failure> {
        let Self { function, kept: _, outbox, tie, deadline_ms: _ } = self;
        let (request, asked) = request(&function.init.function, input, body, outbox, tie.call)?;
        let (to, answer) = oneshot::channel();
        let mut instance = kept.unwrap_or_else(|| Instance::new(Arc::clone(function), output.clone()));
        instance.begin(Order { request, to, tie: Arc::clone(tie), peak: peak.clone() });
        Ok(Begun { instance, answer, asked })
    }

    async fn make(
        &self,
        begun: Begun,
        peak: &Peak,
        usage: &mut Usage,
    ) -> Result<(Vec<serde_json::Value>, Option<Instance>), Failure> {
        let Self { function, kept: _, outbox, tie, deadline_ms } = self;
        let Begun { instance, answer, asked } = begun;
        let has_failed = AtomicBool::new(false);
        let limit = function.init.limits.body_bytes;
        let take = pin!(async {
            let response = match answer.await {
                Ok(Ok(response)) => response,
                Ok(Err(error)) => return Err(Some(Failure::new("Error", error.root_cause().to_string()))),
                // It ended before; that says why.
                Err(_) => return Err(None),
            };
            match asked {
                Asked::Response => hand_over(response, tie, outbox, &has_failed).await.map(|()| Vec::new()),
                Asked::Events => Box::pin(events(response, limit)).await,
            }
            .map_err(Some)
        });
        let patience = Patience::default();
        let keeps = function.init.reuse.then_some(&patience);
        let mut cpu_ns = 0;
        let ended = {
            let both = pin!(both(instance, take, &has_failed, keeps));
            let both = pin!(Eager::new(both));
            let metered = Metered { inner: both, cpu_ns: &mut cpu_ns };
            tokio::select! {
                // First: most calls are over before a clock has to be set for them, which wakes the thread that keeps it.
                biased;
                ended = metered => ended,
                () = tie.cancelled.notified() => Err(Failure::cancelled()),
                () = too_late(*deadline_ms) => Err(Failure::cancelled()),
                never = patience.hurry() => match never {},
            }
        };
        usage.cpu_us = Some(cpu_ns / 1000);
        usage.peak_memory_bytes = Some(peak.bytes());
        ended
    }
}

/// Goes on with the guest and with `take`, who reads its answer, until both are done. Then there is the instance, for the next call,
/// unless it had to wait for the end of its answer's body for too long, or is not to be kept.
async fn both<T>(
    mut instance: Instance,
    mut take: Pin<&mut impl Future<Output = Result<T, Option<Failure>>>>,
    has_failed: &AtomicBool,
    keeps: Option<&Patience>,
) -> Result<(T, Option<Instance>), Failure> {
    let mut taken = None;
    let driven = async {
        let driven = poll_fn(|cx| {
            let driven = instance.poll(cx);
            // A trap ends the answer, however far it has come.
            if taken.is_none() && !matches!(driven, Poll::Ready(Err(_))) {
                taken = ready(take.as_mut().poll(cx));
            }
            driven
        });
        driven.await?;
        let Some(patience) = keeps else { return Ok(()) };
        let read = poll_fn(|cx| {
            if taken.is_none() {
                taken = ready(take.as_mut().poll(cx));
            }
            if taken.is_some() || !patience.lasts() {
                return Poll::Ready(Ok(()));
            }
            // The other end of its body goes on with the instance.
            instance.poll(cx)
        });
        read.await
    };
    if let Err(failure) = driven.await {
        // What it had said before is sent all the same.
        has_failed.store(true, Ordering::Relaxed);
        if taken.is_none() {
            let _ = take.now_or_never();
        }
        return Err(failure);
    }
    let instance = Some(instance).filter(|_| keeps.is_some() && taken.is_some());
    let taken = match taken {
        Some(taken) => taken,
        // What holds the other end of its body has gone with the instance.
        None => take.await,
    };
    match taken {
        Ok(taken) => Ok((taken, instance)),
        Err(failure) => {
            Err(failure.unwrap_or_else(|| Failure::new("Error", "it returned without an answer")))
        }
    }
}

fn ready<T>(polled: Poll<T>) -> Option<T> {
    match polled {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
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

//! A sync call from outside is made by whoever waits for its answer, in the same task: nothing is handed from one to another. Once
//! nobody waits any more, because the answer began or its caller left, what remains goes on as a task of its own.
//!
//! One that a running function makes is such a task from the beginning: a chain of them would be polled one within the other.

use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::thread;

use evoke_core::runtime::Response;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use super::ENDED;
use crate::attempt::NoAnswer;
use crate::engine::Inner;
use crate::under_way::Stop;

/// A call being made. Dropping it ends the call, unless it is to finish: it comes to its end on the tracker either way.
pub(super) struct Making {
    call: Call,
    /// What ends the call when its caller leaves.
    stop: Option<Arc<Stop>>,
    work: TaskTracker,
}

/// Where it is made. What it comes to is whether it panicked.
enum Call {
    Here(BoxFuture<'static, ()>),
    Beside(JoinHandle<thread::Result<()>>),
    Over { panicked: bool },
}

impl Making {
    /// `call`, here or `beside`.
    pub fn new(inner: &Inner, call: BoxFuture<'static, ()>, beside: bool, stop: Option<Arc<Stop>>) -> Self {
        let call = match beside {
            true => Call::Beside(inner.work.spawn(AssertUnwindSafe(call).catch_unwind())),
            false => Call::Here(call),
        };
        Self { call, stop, work: inner.work.clone() }
    }

    /// Goes on with the call until `answer` is there. The error says why there is none.
    pub async fn answered(
        mut self,
        mut answer: oneshot::Receiver<Result<Response, NoAnswer>>,
    ) -> Result<Result<Response, NoAnswer>, &'static str> {
        let answered = poll_fn(|cx| {
            let Call::Here(call) = &mut self.call else {
                return Pin::new(&mut answer).poll(cx).map_err(drop);
            };
            if let Poll::Ready(over) = Pin::new(&mut AssertUnwindSafe(call).catch_unwind()).poll(cx) {
                self.call = Call::Over { panicked: over.is_err() };
            }
            // Only the call gives it, so only the call wakes this task: to wait here would have it run once more for nothing.
            match answer.try_recv() {
                Ok(answered) => Poll::Ready(Ok(answered)),
                Err(TryRecvError::Empty) => Poll::Pending,
                Err(TryRecvError::Closed) => Poll::Ready(Err(())),
            }
        });
        let answered = answered.await;
        // From here on only a dropped body says that nobody wants the rest.
        self.stop = None;
        let Ok(answered) = answered else {
            let panicked = match &mut self.call {
                Call::Here(call) => AssertUnwindSafe(call).catch_unwind().await.is_err(),
                Call::Beside(call) => !matches!(call.await, Ok(Ok(()))),
                Call::Over { panicked } => *panicked,
            };
            self.call = Call::Over { panicked };
            return Err(if panicked { "the attempt panicked" } else { ENDED });
        };
        Ok(answered)
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        if let Some(stop) = &self.stop {
            stop.leave();
        }
        let over = Call::Over { panicked: false };
        if let Call::Here(call) = std::mem::replace(&mut self.call, over)
            // Where there is no runtime any more, nothing goes on.
            && Handle::try_current().is_ok()
        {
            self.work.spawn(AssertUnwindSafe(call).catch_unwind());
        }
    }
}

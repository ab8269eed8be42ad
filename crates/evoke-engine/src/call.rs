//! Synchronous calls: somebody waits for the response.

mod door;
mod entry;
mod error;
mod making;
mod once;
mod repeat;
mod running;

use std::sync::Arc;

use evoke_core::body::Body;
use evoke_core::id::{AppName, FunctionName, RunId};
use evoke_core::manifest::OnDisconnect;
use evoke_core::outcome::Outcome;
use evoke_core::record::{Cause, Trigger};
use evoke_core::runtime::{Request, Response};
use evoke_core::store::{SettleError, StoreError};
use tokio::sync::oneshot;
use tokio::time::Instant;

pub use crate::admission::Bound;
use crate::arrival::Arrival;
use crate::attempt::{NoAnswer, Taken};
use crate::engine::Inner;
use crate::next::{Next, Onward};
use crate::route::App;
use crate::{Engine, chain, ingest};

use entry::{Coming, Found, enter, held_bytes};
use error::{ENDED, no_answer, not_kept, without_answer};
use making::Making;
use running::{Running, end, ended};

pub use error::CallError;
pub(crate) use once::{Keyed, KeysInUse};

/// A call to make now.
#[derive(Debug)]
pub struct CallRequest {
    /// The app.
    pub app: AppName,
    /// The function.
    pub function: FunctionName,
    /// The request it gets.
    pub request: Request,
    /// How it came to be.
    pub trigger: Trigger,
    /// Where it came from.
    pub from: Arrival,
    /// The caller's `Idempotency-Key`: the same key within a day gets the first answer again.
    pub idempotency_key: Option<String>,
}

/// A call that was answered.
#[derive(Debug)]
pub struct Answered {
    /// Its run.
    pub run: RunId,
    /// The answer; its body may still be arriving.
    pub response: Response,
    /// It was answered before, under the same `Idempotency-Key`.
    pub replayed: bool,
}

impl Engine {
    /// Calls a function and waits for the head of its response. Dropping the future, or the response's body, cancels
    /// the run. Effects are durable before this returns.
    pub async fn call(&self, call: CallRequest) -> Result<Answered, CallError> {
        self.call_along(call, None, None).await
    }

    /// [`Engine::call`] on the way along a route: caused by the decorator before (`after`), and with more to come behind it
    /// (`next`), for one that is a decorator itself.
    pub async fn call_along(
        &self,
        call: CallRequest,
        after: Option<Onward>,
        next: Option<Next>,
    ) -> Result<Answered, CallError> {
        let CallRequest { app, function, request, trigger, from, idempotency_key } = call;
        let inner = &self.0;
        let run = inner.new_run_id();
        let (mut cause, of, deadline) = match after {
            Some(Onward { cause, of, deadline }) => (cause, of, Some(deadline)),
            None => (inner.cause_of_run(&run, &from), None, None),
        };
        if cause.parent.is_none() {
            let assigned = inner.directory.snapshot().assign(&app, &from.wish, run.as_str());
            cause.version = assigned.map_err(|error| CallError::no_version(&app, error))?;
        }
        let ask = Ask { app, function, request, trigger, run, cause, of, deadline, next };
        match idempotency_key {
            Some(key) => Box::pin(once::call(inner, ask, key)).await,
            None => make(inner, ask, None).await,
        }
    }
}

/// A call from outside or from another function, ready to be made.
pub(crate) struct Ask {
    pub app: AppName,
    pub function: FunctionName,
    pub request: Request,
    pub trigger: Trigger,
    pub run: RunId,
    pub cause: Cause,
    /// The version of the app that calls, when it does: it calls its own functions, also when it has been replaced since.
    pub of: Option<Arc<App>>,
    /// The caller's own, when it has one: the callee has to be done by then.
    pub deadline: Option<Instant>,
    /// What follows it on its route, when it is a decorator.
    pub next: Option<Next>,
}

/// Makes the call. With a key, its answer is remembered in the same transaction as its effects.
pub(crate) async fn make(inner: &Arc<Inner>, ask: Ask, keyed: Option<Keyed>) -> Result<Answered, CallError> {
    // What a running function calls is part of the work that a drain waits for.
    let _work = match ask.cause.parent {
        Some(_) => inner.work.token(),
        None => inner.begin().ok_or(CallError::Draining)?,
    };
    let Ask { app: app_name, function, request, trigger, run, cause, of, deadline, next } = ask;
    let taken = Taken::now(inner);
    let name = (app_name.clone(), function.clone());
    let record = ingest::queued(run.clone(), app_name, function.clone(), trigger, cause, taken.at);
    let found = Found::of(inner, &name, &record.cause, of.as_ref());
    if let Some(Found { app, target, .. }) = &found
        && let Err(stopped) = chain::admit(inner, app, target, &record)
    {
        let outcome = Outcome::Rejected(chain::failure(&stopped));
        let attempt = taken.unstarted(inner, 1, Some(target), outcome);
        inner.recorder.run(ended(record, attempt));
        return Err(CallError::Loop { run, function, stopped });
    }
    let record = Arc::new(record);
    let coming = Coming {
        cause: &record.cause,
        of: of.as_ref(),
        since: taken.since,
        deadline,
        bytes: held_bytes(&request.body),
    };
    let entering = enter(inner, name, found, coming);
    let ((app, target, permit, patience), waited) = door::enter(inner, &record, taken, entering).await?;
    let cancel = app.life.ending.child_token();
    // Fires when nobody wants the answer any more, and also when somebody asks for its end.
    let is_inner = record.cause.parent.is_some();
    let calling = match waited {
        Some(waited) => {
            drop(record);
            waited.go_on(&cancel);
            waited
        }
        None => inner.under_way.call(record, &cancel),
    };
    let is_keyed = keyed.is_some();
    // What has not arrived does not arrive any more, so a call without it could not finish.
    let finishes = matches!(request.body, Body::Full(_))
        && target.settings.admission.on_disconnect == OnDisconnect::Finish;
    let stop = (!finishes).then(|| calling.stop.clone());
    let (head, answer) = oneshot::channel();
    let task =
        Running { inner: inner.clone(), app, target, calling, deadline, next, cancel, taken, patience };
    let making = Making::new(inner, Box::pin(task.run(permit, request, head, keyed)), is_inner, stop);
    let after = || taken.since.elapsed();
    match making.answered(answer).await {
        Ok(Ok(response)) => Ok(Answered { run, response, replayed: false }),
        Ok(Err(NoAnswer::Outcome(outcome, after))) => Err(no_answer(outcome, run, function, after)),
        Ok(Err(NoAnswer::Settle(SettleError::Store(StoreError::Outcome(cause))))) => {
            tracing::error!(%run, %function, cause, "the store did not say whether it kept the effects of a call");
            Err(CallError::Unknown { run, function, keyed: is_keyed })
        }
        Ok(Err(NoAnswer::Settle(error))) => Err(not_kept(error, run, function, after())),
        Err(words) => Err(without_answer(words, run, function, after())),
    }
}

//! A sync call before its function's door: as long as it waits there it is seen, and somebody can cancel it.

use std::pin::pin;
use std::sync::Arc;

use evoke_core::outcome::Outcome;
use evoke_core::record::RunRecord;
use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;

use super::{CallError, ended};
use crate::attempt::Taken;
use crate::engine::Inner;
use crate::under_way::Entered;

/// Waits for `entering`. One that does not enter at once is among the calls under way, which it stays once it has entered.
pub(super) async fn enter<T>(
    inner: &Inner,
    record: &RunRecord,
    taken: Taken,
    entering: impl Future<Output = Result<T, CallError>>,
) -> Result<(T, Option<Entered>), CallError> {
    let mut entering = pin!(entering);
    // Most need not wait, and those that are refused do not: they cost nothing more.
    if let Some(entered) = entering.as_mut().now_or_never() {
        return entered.map(|entered| (entered, None));
    }
    let end = CancellationToken::new();
    let waiting = inner.under_way.call(Arc::new(record.clone()), &end);
    if let Some(entered) = end.run_until_cancelled(entering).await {
        return entered.map(|entered| (entered, Some(waiting)));
    }
    let stopped = waiting.first().and_then(|stop| stop.failure());
    let failure = stopped.expect("only somebody who says why ends it");
    let attempt = taken.unstarted(inner, 1, None, Outcome::Rejected(failure.clone()));
    let (run, function) = (record.id.clone(), record.function.clone());
    let ended = Arc::new(ended(record.clone(), attempt));
    waiting.note(&ended);
    inner.recorder.run(ended);
    // Who looks for it finds it in one of the two.
    drop(waiting);
    inner.endings.tell(&run);
    Err(CallError::Failed { run, function, failure, after: taken.since.elapsed() })
}

//! A sync call before its function's door: as long as it waits there it is seen, and somebody can cancel it.

use std::pin::pin;
use std::sync::Arc;

use evoke_core::outcome::Outcome;
use evoke_core::record::RunRecord;
use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;

use super::{CallError, end};
use crate::attempt::Taken;
use crate::engine::Inner;
use crate::under_way::Calling;

/// Waits for `entering`. One that does not enter at once is among the calls under way, which it stays once it has entered.
pub(super) async fn enter<T>(
    inner: &Inner,
    record: &Arc<RunRecord>,
    taken: Taken,
    entering: impl Future<Output = Result<T, CallError>>,
) -> Result<(T, Option<Calling>), CallError> {
    let mut entering = pin!(entering);
    // Most need not wait, and those that are refused do not: they cost nothing more.
    if let Some(entered) = entering.as_mut().now_or_never() {
        return entered.map(|entered| (entered, None));
    }
    let ending = CancellationToken::new();
    let waiting = inner.under_way.call(record.clone(), &ending);
    if let Some(entered) = ending.run_until_cancelled(entering).await {
        return entered.map(|entered| (entered, Some(waiting)));
    }
    let failure = waiting.stop.failure().expect("only somebody who says why ends it");
    let attempt = taken.unstarted(inner, 1, None, Outcome::Rejected(failure.clone()));
    let (run, function) = (record.id.clone(), record.function.clone());
    inner.recorder.run(waiting.note(|record| end(record, attempt)));
    // Who looks for it finds it in one of the two.
    drop(waiting);
    inner.endings.tell(&run);
    Err(CallError::Failed { run, function, failure, after: taken.since.elapsed() })
}

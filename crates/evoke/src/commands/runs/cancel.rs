//! `evoke runs cancel`.

use evoke_core::id::{AppName, Correlation, FunctionName, RunId};
use evoke_core::record::RunState;
use evoke_core::time::Clock as _;
use evoke_gateway::api::{CancelRuns, CancelledRuns, Time};

use crate::cli::{CancelArgs, Moment, Pending};
use crate::client::Client;
use crate::clock::SystemClock;
use crate::context;
use crate::exit::{Error, Exit, Result};
use crate::output::{self, Format, words};

/// Runs one request deals with.
const AT_ONCE: usize = 1_000;

/// Cancels runs that are named, or chosen.
pub async fn run(args: CancelArgs, format: Format) -> Result {
    let (app, client) = context::app_and_client(&args.app)?;
    let order = order(&args)?;
    if order.all && !args.yes && !args.how.dry_run {
        let order = CancelRuns { dry_run: true, ..order.clone() };
        agree(&app, carry_out(&client, &app, order, args.how.limit).await?.runs.len())?;
    }
    let done = carry_out(&client, &app, order, args.how.limit).await?;
    report(&args, &done, format)
}

fn order(args: &CancelArgs) -> Result<CancelRuns> {
    let CancelArgs { runs, of, reason, silent, how, .. } = args;
    let reason = reason.clone();
    if !runs.is_empty() {
        if !of.is_none() || how.dry_run || how.limit.is_some() {
            let words = "runs are named one by one, so that there is nothing to choose or to try out";
            return Err(Error::usage(words).help("leave out either the runs or the options"));
        }
        let runs = runs.iter().map(|run| RunId::from_text(run.as_str())).collect();
        return Ok(CancelRuns { runs, reason, silent: *silent, ..CancelRuns::default() });
    }
    if of.is_none() {
        let error = Error::usage("which runs are to be cancelled is not said");
        return Err(error.help("name them, narrow them down (--function, --root, --since), or write --all"));
    }
    let function = of.function.as_deref().map(FunctionName::new).transpose();
    let now = SystemClock.now();
    let time = |moment: Option<Moment>| moment.and_then(|moment| moment.time(now)).map(Time);
    Ok(CancelRuns {
        all: true,
        function: function.map_err(|cause| Error::usage(cause.to_string()))?,
        subscription: of.subscription.clone(),
        state: of.state.map(|state| match state {
            Pending::Queued => RunState::Queued,
            Pending::Running => RunState::Running,
        }),
        root: of.root.as_deref().map(Correlation::from_text),
        since: time(of.since),
        until: time(of.until),
        dry_run: how.dry_run,
        reason,
        silent: *silent,
        ..CancelRuns::default()
    })
}

/// Sends the order, and again for as long as there are more of those that are chosen.
async fn carry_out(
    client: &Client,
    app: &AppName,
    order: CancelRuns,
    limit: Option<usize>,
) -> Result<CancelledRuns> {
    let mut all = CancelledRuns::default();
    loop {
        // A dry run changes nothing, so that the next page would be the same.
        let most = if order.dry_run { 10 * AT_ONCE } else { AT_ONCE };
        let left = limit.map_or(most, |limit| limit.saturating_sub(all.runs.len()).min(most));
        if left == 0 {
            return Ok(all);
        }
        let order = CancelRuns { limit: order.all.then_some(left), ..order.clone() };
        let done: CancelledRuns = client.post(&["apps", app.as_str(), "runs", "cancel"], &order).await?;
        let progress = !done.runs.is_empty();
        all.runs.extend(done.runs);
        all.ended.extend(done.ended);
        all.missing.extend(done.missing);
        all.more = done.more;
        if order.dry_run || !(done.more && progress) {
            return Ok(all);
        }
    }
}

/// Asks whoever sits there; a script says `--yes`.
fn agree(app: &AppName, count: usize) -> Result<()> {
    if count == 0 {
        return Ok(());
    }
    let what = format!("cancel {} of app {app}", words::count(count, "run"));
    output::agree(&what, "which it would be", "nothing was cancelled")
}

/// Runs that were asked for by id and could not be cancelled are an error; the others are cancelled all the same.
fn report(args: &CancelArgs, done: &CancelledRuns, format: Format) -> Result {
    if format.is_json() {
        output::json(done)?;
    } else {
        done.runs.iter().try_for_each(output::line)?;
        let (verb, more) = (
            if args.how.dry_run { "would cancel" } else { "cancelled" },
            if done.more { ", and there are more" } else { "" },
        );
        // Of runs that were named and not cancelled the error tells.
        if args.runs.is_empty() || !done.runs.is_empty() {
            format.talk(format_args!("{verb} {}{more}", words::count(done.runs.len(), "run")));
        }
        if !done.ended.is_empty() && args.runs.is_empty() {
            format.talk(format_args!("{} ended before", words::count(done.ended.len(), "run")));
        }
    }
    if args.runs.is_empty() || (done.ended.is_empty() && done.missing.is_empty()) {
        return Ok(Exit::Done);
    }
    let (exit, code) =
        if done.missing.is_empty() { (Exit::Failed, "run_ended") } else { (Exit::NotFound, "not_found") };
    let count = done.ended.len() + done.missing.len();
    let mut error = Error::new(exit, code, format!("{} not cancelled", words::count(count, "run")));
    for run in &done.ended {
        error = error.detail(format!("{run} had come to an end by itself; see `evoke runs get {run}`"));
    }
    for run in &done.missing {
        error = error.detail(format!("{run} is no run of this app, or older than runs are kept"));
    }
    Err(error)
}

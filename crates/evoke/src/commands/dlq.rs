//! `evoke dlq`: what was given up, giving it another chance, and letting it go.

use evoke_core::id::{AppName, FunctionName, RunId};
use evoke_core::time::{Clock as _, Timestamp};
use evoke_gateway::api::{DeadLetterList, DeadLetterOrder, DeadLettersDone, InputPreview, Time};
use serde_json::json;

use crate::cli::{DeadLetterArgs, DlqVerb, HowArgs, Moment};
use crate::client::Client;
use crate::clock::SystemClock;
use crate::context;
use crate::exit::{Error, Exit, Result};
use crate::output::table::{Cell, Table};
use crate::output::{self, Format, words};

/// Dead letters one request deals with.
const AT_ONCE: usize = 10_000;

/// Lists dead letters, redrives them, or purges them.
pub async fn run(verb: DlqVerb, format: Format) -> Result {
    match verb {
        DlqVerb::Ls { of, page, app } => {
            let (app, client) = context::app_and_client(&app)?;
            let list = list(&client, &app, &of, page.limit, page.before.as_deref()).await?;
            if format.is_json() {
                output::json(&list)?
            } else {
                show(&list, format, SystemClock.now())?
            }
            Ok(Exit::Done)
        }
        DlqVerb::Redrive { runs, of, how, app } => {
            let (app, client) = context::app_and_client(&app)?;
            let order = order(&runs, &of, how.dry_run)?;
            let done = carry_out(&client, &app, "redrive", order, &how).await?;
            report(if how.dry_run { "would redrive" } else { "redrove" }, &runs, &done, format)
        }
        DlqVerb::Purge { runs, of, how, yes, app } => {
            let (app, client) = context::app_and_client(&app)?;
            let order = order(&runs, &of, how.dry_run)?;
            if !yes && !how.dry_run {
                let asked = if runs.is_empty() {
                    let order = DeadLetterOrder { dry_run: true, ..order.clone() };
                    carry_out(&client, &app, "purge", order, &how).await?.len()
                } else {
                    runs.len()
                };
                agree(&app, asked)?;
            }
            let done = carry_out(&client, &app, "purge", order, &how).await?;
            report(if how.dry_run { "would purge" } else { "purged" }, &runs, &done, format)
        }
    }
}

async fn list(
    client: &Client,
    app: &AppName,
    of: &DeadLetterArgs,
    limit: u32,
    before: Option<&str>,
) -> Result<DeadLetterList> {
    let now = SystemClock.now();
    let time = |moment: Option<Moment>| moment.and_then(|moment| moment.time(now)).map(|at| at.to_rfc3339());
    let (limit, since, until) = (limit.to_string(), time(of.since), time(of.until));
    let parameters = [
        ("limit", Some(limit.as_str())),
        ("function", of.function.as_deref()),
        ("subscription", of.subscription.as_deref()),
        ("code", of.code.as_deref()),
        ("since", since.as_deref()),
        ("until", until.as_deref()),
        ("type", of.ty.as_deref()),
        ("where", of.filter.as_deref()),
        ("before", before),
    ];
    let given: Vec<(&str, &str)> =
        parameters.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    client.get(&["apps", app.as_str(), "dead-letters"], &given).await
}

fn order(runs: &[String], of: &DeadLetterArgs, dry_run: bool) -> Result<DeadLetterOrder> {
    if !runs.is_empty() {
        if !of.is_all() || dry_run {
            let words = "runs are named one by one, so that there is nothing to choose or to try out";
            return Err(Error::usage(words).help("leave out either the runs or the options"));
        }
        let runs = runs.iter().map(|run| RunId::from_text(run.as_str())).collect();
        return Ok(DeadLetterOrder { runs, ..DeadLetterOrder::default() });
    }
    let function = of.function.as_deref().map(FunctionName::new).transpose();
    let now = SystemClock.now();
    let time = |moment: Option<Moment>| moment.and_then(|moment| moment.time(now)).map(Time);
    Ok(DeadLetterOrder {
        all: true,
        function: function.map_err(|cause| Error::usage(cause.to_string()))?,
        subscription: of.subscription.clone(),
        code: of.code.clone(),
        since: time(of.since),
        until: time(of.until),
        r#type: of.ty.clone(),
        r#where: of.filter.clone(),
        dry_run,
        ..DeadLetterOrder::default()
    })
}

/// Sends the order until there is nothing left of it.
async fn carry_out(
    client: &Client,
    app: &AppName,
    what: &str,
    mut order: DeadLetterOrder,
    how: &HowArgs,
) -> Result<Vec<RunId>> {
    let mut done: Vec<RunId> = Vec::new();
    loop {
        if order.all {
            let left = how.limit.map_or(AT_ONCE, |limit| limit.saturating_sub(done.len()));
            if left == 0 {
                return Ok(done);
            }
            order.limit = Some(left.min(AT_ONCE));
        }
        let answer: DeadLettersDone =
            client.post(&["apps", app.as_str(), "dead-letters", what], &order).await?;
        done.extend(answer.runs);
        match answer.next {
            Some(next) => order.before = Some(next),
            None => return Ok(done),
        }
    }
}

/// Asks whoever sits there; a script says `--yes`.
fn agree(app: &AppName, count: usize) -> Result<()> {
    if count == 0 {
        return Ok(());
    }
    let what = format!("purge {} of app {app}, never to be tried again", words::count(count, "dead letter"));
    output::agree(&what, "which it would be", "nothing was purged")
}

fn show(list: &DeadLetterList, format: Format, now: Timestamp) -> Result<()> {
    let mut table = Table::new(&["RUN", "AGE", "FUNCTION", "INPUT", "ATTEMPTS", "REASON"]);
    for letter in &list.dead_letters {
        table.row([
            letter.run.id.as_str().into(),
            words::age(letter.at.0, now).into(),
            Cell::styled(letter.run.function.as_str(), words::NAME),
            input(&letter.input).into(),
            letter.run.attempts.len().to_string().into(),
            Cell::styled(words::one_line(&letter.reason), words::BAD),
        ]);
    }
    table.print("no dead letters")?;
    output::more(format, list.next.as_deref());
    Ok(())
}

fn input(input: &InputPreview) -> String {
    match input {
        InputPreview::Event { r#type, subject: Some(subject), .. } => format!("event {type} ({subject})"),
        InputPreview::Event { r#type, .. } => format!("event {type}"),
        InputPreview::Request { method, uri, .. } => format!("{method} {uri}"),
    }
}

/// Runs that were asked for by id and are no dead letters are an error; the others were dealt with all the same.
fn report(what: &str, asked: &[String], done: &[RunId], format: Format) -> Result {
    let is_done = |run: &str| done.iter().any(|done| done.as_str() == run);
    let missing: Vec<&String> = asked.iter().filter(|run| !is_done(run)).collect();
    if format.is_json() {
        output::json(&json!({ "runs": done, "missing": missing }))?;
    } else {
        done.iter().try_for_each(output::line)?;
        format.talk(format_args!("{what} {}", words::count(done.len(), "dead letter")));
    }
    match missing.as_slice() {
        [] => Ok(Exit::Done),
        [first, ..] => {
            let message = format!("{} not there", words::count(missing.len(), "dead letter"));
            let mut error = Error::new(Exit::NotFound, "not_found", message);
            for run in &missing {
                error = error.detail(format!("{run} is no dead letter of this app"));
            }
            Err(error.help(format!("see what became of it with `evoke runs get {first}`")))
        }
    }
}

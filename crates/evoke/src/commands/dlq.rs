//! `evoke dlq`: what was given up, and giving it another chance.

use evoke_core::id::{FunctionName, RunId};
use evoke_core::time::{Clock as _, Timestamp};
use evoke_gateway::api::{DeadLetterList, InputPreview, Redrive, Redriven};
use serde_json::json;

use crate::cli::DlqVerb;
use crate::clock::SystemClock;
use crate::context;
use crate::exit::{Error, Exit, Result};
use crate::output::table::{Cell, Table};
use crate::output::{self, Format, words};

/// Lists dead letters, or redrives them.
pub async fn run(verb: DlqVerb, format: Format) -> Result {
    match verb {
        DlqVerb::Ls { function, page, app } => {
            let (app, client) = context::app_and_client(&app)?;
            let limit = page.limit.to_string();
            let mut query = vec![("limit", limit.as_str())];
            query.extend(function.as_deref().map(|function| ("function", function)));
            query.extend(page.before.as_deref().map(|before| ("before", before)));
            let list: DeadLetterList = client.get(&["apps", app.as_str(), "dead-letters"], &query).await?;
            if format.is_json() {
                output::json(&list)?
            } else {
                show(&list, format, SystemClock.now())?
            }
            Ok(Exit::Done)
        }
        DlqVerb::Redrive { runs, function, app } => {
            let (app, client) = context::app_and_client(&app)?;
            let function = function
                .map(|name| FunctionName::new(&name))
                .transpose()
                .map_err(|cause| Error::usage(cause.to_string()))?;
            let asked: Vec<RunId> = runs.into_iter().map(RunId::from_text).collect();
            let order = Redrive { all: asked.is_empty(), runs: asked.clone(), function };
            let mut redriven = Vec::new();
            loop {
                let path = ["apps", app.as_str(), "dead-letters", "redrive"];
                let answer: Redriven = client.post(&path, &order).await?;
                redriven.extend(answer.runs);
                if !answer.more {
                    break;
                }
            }
            report(&asked, &redriven, format)
        }
    }
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

/// Runs that were asked for by id and are no dead letters are an error; the others were redriven all the same.
fn report(asked: &[RunId], redriven: &[RunId], format: Format) -> Result {
    let missing: Vec<&RunId> = asked.iter().filter(|run| !redriven.contains(run)).collect();
    if format.is_json() {
        output::json(&json!({ "runs": redriven, "missing": missing }))?;
    } else {
        redriven.iter().try_for_each(output::line)?;
        format.talk(format_args!("redrove {}", words::count(redriven.len(), "dead letter")));
    }
    match missing.as_slice() {
        [] => Ok(Exit::Done),
        [first, ..] => {
            let message = format!("{} not redriven", words::count(missing.len(), "run"));
            let mut error = Error::new(Exit::NotFound, "not_found", message);
            for run in &missing {
                error = error.detail(format!("{run} is no dead letter of this app"));
            }
            Err(error.help(format!("see what became of it with `evoke runs get {first}`")))
        }
    }
}

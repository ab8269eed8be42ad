//! `evoke runs`: what ran, why, what it caused, and how long all of it took.

mod attempts;
mod cancel;
mod ended;
mod show;

use evoke_core::time::{Clock as _, Timestamp};
use evoke_gateway::api::{Run, RunList, RunTree, Trigger};
use serde_json::json;

use crate::cli::{RunsVerb, State};
use crate::clock::SystemClock;
use crate::context;
use crate::exit::{Exit, Result};
use crate::output::table::{Cell, Table};
use crate::output::{self, Format, shown, words};

/// Lists runs, or shows one with everything that goes back to the same start.
pub async fn run(verb: RunsVerb, format: Format) -> Result {
    match verb {
        RunsVerb::Ls { function, state, page, app } => {
            let (app, client) = context::app_and_client(&app)?;
            let limit = page.limit.to_string();
            let mut query = vec![("limit", limit.as_str())];
            query.extend(function.as_deref().map(|function| ("function", function)));
            query.extend(state.map(|state| ("state", state_word(state))));
            query.extend(page.before.as_deref().map(|before| ("before", before)));
            let list: RunList = client.get(&["apps", app.as_str(), "runs"], &query).await?;
            if format.is_json() { output::json(&list)? } else { show_list(&list, format, SystemClock.now())? }
        }
        RunsVerb::Cancel(args) => return cancel::run(args, format).await,
        RunsVerb::Result { id, wait, app } => {
            let (app, client) = context::app_and_client(&app)?;
            return ended::result(&client, &app, &id, wait, format).await;
        }
        RunsVerb::Get { id, wait, app } => {
            let (app, client) = context::app_and_client(&app)?;
            let run = ended::run(&client, &app, &id, wait).await?;
            let tree: RunTree = client.get(&["apps", app.as_str(), "runs", &id, "tree"], &[]).await?;
            if format.is_json() {
                output::json(&json!({ "run": run, "tree": tree }))?;
            } else {
                show::run(&run, &tree)?;
            }
        }
    }
    Ok(Exit::Done)
}

fn show_list(list: &RunList, format: Format, now: Timestamp) -> Result<()> {
    let mut table = Table::new(&["RUN", "AGE", "FUNCTION", "STATE", "TOOK", "ATTEMPTS", "STARTED BY"]);
    for run in &list.runs {
        let state = run.state.as_str();
        table.row([
            run.id.as_str().into(),
            words::age(run.created_at.0, now).into(),
            Cell::styled(run.function.as_str(), words::NAME),
            Cell::styled(state, words::state_style(state)),
            took(run).unwrap_or_else(|| "-".to_owned()).into(),
            run.attempts.len().to_string().into(),
            format!("{}{}", started_by(&run.trigger), if run.shadow { " (copy)" } else { "" }).into(),
        ]);
    }
    table.print("no runs")?;
    output::more(format, list.next.as_deref());
    Ok(())
}

/// From acceptance to the end, once there is one.
fn took(run: &Run) -> Option<String> {
    Some(words::duration(run.ended_at?.0.since(run.created_at.0)))
}

fn started_by(trigger: &Trigger) -> String {
    let text = match trigger {
        Trigger::Http { method, path } => format!("{method} {path}"),
        Trigger::Event { r#type, .. } => format!("event {type}"),
        Trigger::Call { by } => format!("call by {by}"),
        Trigger::Destination { by, fate, .. } => format!("on_{fate} of {by}"),
        Trigger::Wait { by, r#type, timed_out: true, .. } => format!("{by} waited in vain for {type}"),
        Trigger::Wait { by, r#type, id, .. } => {
            format!("event {type} {} that {by} waited for", id.as_deref().unwrap_or_default())
        }
    };
    shown::line(&text).into_owned()
}

fn state_word(state: State) -> &'static str {
    match state {
        State::Queued => "queued",
        State::Running => "running",
        State::Completed => "completed",
        State::Failed => "failed",
        State::DeadLettered => "dead_lettered",
    }
}

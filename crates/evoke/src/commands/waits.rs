//! `evoke waits`: what functions wait for.

use evoke_core::time::{Clock as _, Timestamp};
use evoke_gateway::api::{Wait, WaitList};
use reqwest::Method;
use serde_json::json;

use crate::cli::WaitsVerb;
use crate::clock::SystemClock;
use crate::context;
use crate::exit::{Exit, Result};
use crate::output::table::{Cell, Table};
use crate::output::{self, Format, shown, words};

/// Lists waits, or takes one back.
pub async fn run(verb: WaitsVerb, format: Format) -> Result {
    match verb {
        WaitsVerb::Ls { run, limit, after, app } => {
            let (app, client) = context::app_and_client(&app)?;
            let limit = limit.to_string();
            let mut query = vec![("limit", limit.as_str())];
            query.extend(run.as_deref().map(|run| ("run", run)));
            query.extend(after.as_deref().map(|after| ("after", after)));
            let list: WaitList = client.get(&["apps", app.as_str(), "waits"], &query).await?;
            if format.is_json() { output::json(&list)? } else { show(&list, format, SystemClock.now())? }
        }
        WaitsVerb::Cancel { id, app } => {
            let (app, client) = context::app_and_client(&app)?;
            let url = client.url(&["apps", app.as_str(), "waits", &id]);
            client.send(client.at(Method::DELETE, url)).await?;
            if format.is_json() {
                output::json(&json!({ "id": id }))?;
            }
            format.talk(format_args!("cancelled {id}"));
        }
    }
    Ok(Exit::Done)
}

fn show(list: &WaitList, format: Format, now: Timestamp) -> Result<()> {
    let mut table = Table::new(&["WAIT", "FUNCTION", "SINCE", "FOR", "THEN", "UNTIL"]);
    for wait in &list.waits {
        table.row([
            wait.id.as_str().into(),
            Cell::styled(wait.function.as_str(), words::NAME),
            words::age(wait.since.0, now).into(),
            awaited(wait).into(),
            Cell::styled(wait.then.as_str(), words::NAME),
            words::age(wait.until.0, now).into(),
        ]);
    }
    table.print("nothing waits")?;
    if let Some(cursor) = list.next.as_deref() {
        format.talk(words::faint(format_args!("there may be more: --after {cursor}")));
    }
    Ok(())
}

/// `ticket.closed {"data":{"id":["T-17"]}}`
pub(super) fn awaited(wait: &Wait) -> String {
    let mut text = wait.event.clone();
    if let Some(filter) = &wait.r#where {
        text += &format!(" where {filter}");
    }
    if let Some(pattern) = &wait.pattern {
        text += &format!(" {pattern}");
    }
    shown::line(&text).into_owned()
}

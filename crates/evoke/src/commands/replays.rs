//! `evoke replays`: events being delivered again.

use evoke_core::time::{Clock as _, Timestamp};
use evoke_gateway::api::{Replay, ReplayList};
use serde_json::json;

use crate::cli::ReplaysVerb;
use crate::clock::SystemClock;
use crate::context;
use crate::exit::{Exit, Result};
use crate::output::table::{Cell, Table};
use crate::output::{self, Format, shown, words};

/// Lists replays, shows one, or ends one.
pub async fn run(verb: ReplaysVerb, format: Format) -> Result {
    let now = SystemClock.now();
    match verb {
        ReplaysVerb::Ls { app } => {
            let (app, client) = context::app_and_client(&app)?;
            let list: ReplayList = client.get(&["apps", app.as_str(), "replays"], &[]).await?;
            if format.is_json() { output::json(&list)? } else { show(&list, now)? }
        }
        ReplaysVerb::Get { id, app } => {
            let (app, client) = context::app_and_client(&app)?;
            let one: Replay = client.get(&["apps", app.as_str(), "replays", &id], &[]).await?;
            if format.is_json() { output::json(&one)? } else { show_one(&one, now)? }
        }
        ReplaysVerb::Cancel { id, app } => {
            let (app, client) = context::app_and_client(&app)?;
            let path = ["apps", app.as_str(), "replays", &id, "cancel"];
            let one: Replay = client.post(&path, &json!({})).await?;
            if format.is_json() {
                output::json(&one)?;
            } else {
                let delivered = words::count(usize::try_from(one.delivered).unwrap_or(usize::MAX), "event");
                format.talk(format_args!("{id} is {} after {delivered}", one.state));
            }
        }
    }
    Ok(Exit::Done)
}

fn show(list: &ReplayList, now: Timestamp) -> Result<()> {
    let mut table = Table::new(&["REPLAY", "AGE", "SUBSCRIPTION", "FOR", "DELIVERED", "LOOKED AT", "STATE"]);
    for one in &list.replays {
        table.row([
            one.id.as_str().into(),
            words::age(one.created_at.0, now).into(),
            Cell::styled(format!("{}/{}", one.function, one.subscription), words::NAME),
            one.catch_up_from.as_ref().map_or("replay", |_| "its start").into(),
            one.delivered.to_string().into(),
            one.seen.to_string().into(),
            Cell::styled(one.state.as_str(), words::state_style(&one.state)),
        ]);
    }
    Ok(table.print("no replays")?)
}

fn show_one(one: &Replay, now: Timestamp) -> Result<()> {
    let ended = one.ended_at.map(|at| format!(" {}", words::age(at.0, now))).unwrap_or_default();
    let mut rows = vec![
        ("subscription", format!("{}/{}", one.function, one.subscription)),
        ("state", format!("{}{ended}", one.state)),
        (
            "for",
            one.catch_up_from
                .as_ref()
                .map_or("a replay".to_owned(), |from| format!("its start: from {from}")),
        ),
        ("begun", one.created_at.to_string()),
        ("positions", format!("{} to {}, next {}", one.from, one.to.saturating_sub(1), one.next)),
        ("delivered", format!("{} of {} looked at", one.delivered, one.seen)),
    ];
    rows.extend(one.r#type.clone().map(|ty| ("type", ty)));
    rows.extend(one.r#where.clone().map(|filter| ("where", filter)));
    rows.extend(one.reason.clone().map(|reason| ("reason", reason)));
    rows.extend(one.archive_from.map(|at| ("archive from", at.to_string())));
    for (name, value) in rows {
        let name = words::faint(format_args!("{name:<16}"));
        output::line(format_args!("{name} {}", shown::line(&value)))?;
    }
    Ok(())
}

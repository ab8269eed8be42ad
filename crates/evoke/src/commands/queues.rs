//! `evoke queues`: what waits in them.

use std::time::Duration;

use evoke_core::time::{Clock as _, Timestamp};
use evoke_gateway::api::{QueueList, QueueState};

use super::subscriptions::{self, counted};
use crate::cli::QueuesVerb;
use crate::clock::SystemClock;
use crate::context;
use crate::exit::{Error, Exit, Result};
use crate::output::table::{Cell, Table};
use crate::output::{self, Format, words};

/// Lists them, or shows one.
pub async fn run(verb: QueuesVerb, format: Format) -> Result {
    let (app, name) = match &verb {
        QueuesVerb::Ls { app } => (app, None),
        QueuesVerb::Stats { queue, app } => (app, Some(queue)),
    };
    let (app, client) = context::app_and_client(app)?;
    let list: QueueList = client.get(&["apps", app.as_str(), "queues"], &[]).await?;
    let now = SystemClock.now();
    match name {
        None if format.is_json() => output::json(&list)?,
        None => show_all(&list, now)?,
        Some(name) => {
            let name = name.strip_prefix("queue.").unwrap_or(name);
            let found = list.queues.iter().find(|queue| queue.name == name).ok_or_else(|| {
                Error::new(Exit::NotFound, "unknown_queue", format!("app {app} has no queue {name}"))
                    .help("`evoke queues ls` lists them")
            })?;
            if format.is_json() {
                output::json(found)?;
            } else {
                show_one(found, list.waiting_max, now)?;
            }
        }
    }
    Ok(Exit::Done)
}

fn show_all(list: &QueueList, now: Timestamp) -> Result<()> {
    let mut table = Table::new(&["QUEUE", "TO", "WAITING", "OUT", "RETRYING", "OLDEST", "LAG", "STATE"]);
    for queue in &list.queues {
        let [waiting, out, retrying, oldest, lag, state] =
            subscriptions::backlog(&queue.backlog, list.waiting_max, now);
        let name = Cell::styled(queue.name.as_str(), words::NAME);
        table.row([name, queue.to.as_str().into(), waiting, out, retrying, oldest, lag, state]);
    }
    Ok(table.print("the app has no queues")?)
}

fn show_one(queue: &QueueState, waiting_max: u64, now: Timestamp) -> Result<()> {
    let backlog = &queue.backlog;
    let ago = |time: Option<&evoke_gateway::api::Time>| {
        time.map_or_else(String::new, |time| format!("{} ({time})", words::age(time.0, now)))
    };
    let batch =
        queue.batch_size.map_or_else(|| "one message a call".to_owned(), |size| format!("up to {size}"));
    let mut table = Table::new(&["", ""]);
    for (name, value) in [
        ("queue", queue.name.clone()),
        ("to", queue.to.to_string()),
        ("visibility", format!("{:.1} s", Duration::from_millis(queue.visibility_ms).as_secs_f64())),
        ("max receives", queue.max_receives.to_string()),
        ("batch", batch),
        ("waiting", counted(backlog.waiting, waiting_max)),
        ("handed out", counted(backlog.leased, waiting_max)),
        ("retrying", counted(backlog.retrying, waiting_max)),
        ("available", counted(backlog.available, waiting_max)),
        ("oldest", ago(backlog.oldest_at.as_ref())),
        ("lag", format!("{:.1} s", Duration::from_millis(backlog.lag_ms).as_secs_f64())),
        ("paused", ago(backlog.paused_at.as_ref())),
    ] {
        table.row([name.into(), value.into()]);
    }
    Ok(table.print("")?)
}

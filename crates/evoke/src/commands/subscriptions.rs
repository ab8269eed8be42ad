//! `evoke subscriptions`: what waits, and holding it up.

use evoke_core::time::{Clock as _, Timestamp};
use evoke_gateway::api::{Backlog, CatchingUp, PauseChange, SubscriptionList, SubscriptionState, Time};
use serde_json::json;

use crate::cli::{AppArgs, SubscriptionsVerb};
use crate::clock::SystemClock;
use crate::context;
use crate::exit::{Error, Exit, Result};
use crate::output::table::{Cell, Table};
use crate::output::{self, Format, words};

/// Lists, pauses or resumes.
pub async fn run(verb: SubscriptionsVerb, format: Format) -> Result {
    match verb {
        SubscriptionsVerb::Ls { app } => {
            let (app, client) = context::app_and_client(&app)?;
            let list: SubscriptionList = client.get(&["apps", app.as_str(), "subscriptions"], &[]).await?;
            if format.is_json() {
                output::json(&list)?
            } else {
                show(&list, SystemClock.now())?
            }
            Ok(Exit::Done)
        }
        SubscriptionsVerb::Pause { subscription, app } => change(&subscription, "pause", &app, format).await,
        SubscriptionsVerb::Resume { subscription, app } => {
            change(&subscription, "resume", &app, format).await
        }
    }
}

async fn change(subscription: &str, verb: &str, app: &AppArgs, format: Format) -> Result {
    let Some((function, name)) = subscription.split_once('/') else {
        return Err(Error::usage(format!("{subscription:?} is not FUNCTION/NAME"))
            .help("`evoke subscriptions ls` lists them"));
    };
    let (app, client) = context::app_and_client(app)?;
    let path = ["apps", app.as_str(), "subscriptions", function, name, verb];
    let done: PauseChange = client.post(&path, &json!({})).await?;
    if format.is_json() {
        output::json(&done)?;
    } else {
        let state = if done.paused { "paused" } else { "running" };
        let already = if done.changed { "" } else { " already" };
        format.talk(format_args!("{subscription} is {state}{already}"));
    }
    Ok(Exit::Done)
}

fn show(list: &SubscriptionList, now: Timestamp) -> Result<()> {
    let mut table = Table::new(&[
        "SUBSCRIPTION",
        "EVENT",
        "DELIVERY",
        "WAITING",
        "RUNNING",
        "RETRYING",
        "OLDEST",
        "LAG",
        "STATE",
    ]);
    for one in &list.subscriptions {
        let name = Cell::styled(format!("{}/{}", one.function, one.name), words::NAME);
        let [waiting, running, retrying, oldest, lag, state] = backlog(&one.backlog, list.waiting_max, now);
        let (event, delivery) = (one.event.as_str().into(), delivery(one).into());
        let state = match (&one.catching_up, &one.backlog.paused_at) {
            (Some(behind), None) => Cell::styled(catching_up(behind), words::BUSY),
            (Some(behind), Some(at)) => {
                let text = format!("paused {}, {}", words::age(at.0, now), catching_up(behind));
                Cell::styled(text, words::BAD)
            }
            (None, _) => state,
        };
        table.row([name, event, delivery, waiting, running, retrying, oldest, lag, state]);
    }
    Ok(table.print("the app has no subscriptions")?)
}

fn catching_up(behind: &CatchingUp) -> String {
    format!("catching up {} %, {} so far", behind.percent, behind.delivered)
}

/// What waits, what is attempted, what is retried, the age of the oldest, how far behind, and whether it is paused.
pub(super) fn backlog(backlog: &Backlog, waiting_max: u64, now: Timestamp) -> [Cell; 6] {
    let state = match &backlog.paused_at {
        Some(at) => Cell::styled(format!("paused {}", words::age(at.0, now)), words::BAD),
        None => "".into(),
    };
    let age = |time: Option<&Time>| time.map_or_else(String::new, |time| words::age(time.0, now));
    [
        counted(backlog.waiting, waiting_max).into(),
        counted(backlog.leased, waiting_max).into(),
        counted(backlog.retrying, waiting_max).into(),
        age(backlog.oldest_at.as_ref()).into(),
        age(backlog.available_since.as_ref()).into(),
        state,
    ]
}

/// A number, with a plus where counting stopped.
pub(super) fn counted(number: u64, max: u64) -> String {
    let more = if number >= max { "+" } else { "" };
    format!("{number}{more}")
}

fn delivery(one: &SubscriptionState) -> String {
    let order = one.order.as_ref().map(|order| format!("in order of {order}"));
    let batch = one.batch_size.map(|size| format!("batches of {size}"));
    let limit = one.concurrency.map(|limit| format!("{limit} at once"));
    [order, batch, limit].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

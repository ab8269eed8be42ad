//! `evoke events`: what was accepted, and what it caused.

mod explain;
mod replay;

use evoke_core::event::{Data, Event};
use evoke_core::id::AppName;
use evoke_core::time::{Clock as _, Timestamp};
use evoke_gateway::api::{DelayedEvent, DelayedEventList, EventList, StoredEvent};
use reqwest::Method;
use serde_json::json;

use crate::cli::{EventArgs, EventsVerb, Moment, PageArgs};
use crate::client::Client;
use crate::clock::SystemClock;
use crate::context;
use crate::exit::{Exit, Result};
use crate::output::table::{Cell, Table};
use crate::output::{self, Format, shown, words};

/// Lists events, or shows one.
pub async fn run(verb: EventsVerb, format: Format) -> Result {
    match verb {
        EventsVerb::Ls { of, page, app } => {
            let (app, client) = context::app_and_client(&app)?;
            let list = list(&client, &app, &of, &page).await?;
            if format.is_json() { output::json(&list)? } else { show_list(&list, format, SystemClock.now())? }
        }
        EventsVerb::Delayed { app } => {
            let (app, client) = context::app_and_client(&app)?;
            let list: DelayedEventList = client.get(&["apps", app.as_str(), "delayed-events"], &[]).await?;
            if format.is_json() { output::json(&list)? } else { show_delayed(&list, SystemClock.now())? }
        }
        EventsVerb::Cancel { id, source, app } => {
            let (app, client) = context::app_and_client(&app)?;
            let mut url = client.url(&["apps", app.as_str(), "delayed-events"]);
            url.query_pairs_mut().append_pair("source", &source).append_pair("id", &id);
            client.send(client.at(Method::DELETE, url)).await?;
            if format.is_json() {
                output::json(&json!({ "id": id, "source": source }))?;
            }
            format.talk(format_args!("cancelled {id}"));
        }
        EventsVerb::Explain { id, source, app } => explain::run(&id, source.as_deref(), &app, format).await?,
        EventsVerb::Replay(args) => replay::run(args, format).await?,
        EventsVerb::Get { id, source, app } => {
            let (app, client) = context::app_and_client(&app)?;
            let query: Vec<_> = source.as_deref().map(|source| ("source", source)).into_iter().collect();
            let event: StoredEvent = client.get(&["apps", app.as_str(), "events", &id], &query).await?;
            if format.is_json() { output::json(&event)? } else { show_one(&event)? }
        }
    }
    Ok(Exit::Done)
}

async fn list(client: &Client, app: &AppName, of: &EventArgs, page: &PageArgs) -> Result<EventList> {
    let now = SystemClock.now();
    let time = |moment: Option<Moment>| moment.and_then(|moment| moment.time(now)).map(|at| at.to_rfc3339());
    let (limit, since, until) = (page.limit.to_string(), time(of.since), time(of.until));
    let parameters = [
        ("limit", Some(limit.as_str())),
        ("type", of.ty.as_deref()),
        ("source", of.source.as_deref()),
        ("subject", of.subject.as_deref()),
        ("since", since.as_deref()),
        ("until", until.as_deref()),
        ("where", of.filter.as_deref()),
        ("before", page.before.as_deref()),
    ];
    let given: Vec<(&str, &str)> =
        parameters.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    client.get(&["apps", app.as_str(), "events"], &given).await
}

fn show_list(list: &EventList, format: Format, now: Timestamp) -> Result<()> {
    let mut table = Table::new(&["ID", "AGE", "TYPE", "SUBJECT", "SOURCE", "RUNS"]);
    for StoredEvent { accepted_at, event, runs, .. } in &list.events {
        table.row([
            event.id().into(),
            words::age(accepted_at.0, now).into(),
            Cell::styled(event.ty(), words::NAME),
            event.subject().unwrap_or("-").into(),
            event.source().into(),
            runs.len().to_string().into(),
        ]);
    }
    table.print("no events")?;
    output::more(format, list.next.as_deref());
    Ok(())
}

fn show_delayed(list: &DelayedEventList, now: Timestamp) -> Result<()> {
    let mut table = Table::new(&["ID", "DUE", "TYPE", "SUBJECT", "SOURCE", "AT"]);
    for DelayedEvent { deliver_at, event, .. } in &list.events {
        table.row([
            event.id().into(),
            words::age(deliver_at.0, now).into(),
            Cell::styled(event.ty(), words::NAME),
            event.subject().unwrap_or("-").into(),
            event.source().into(),
            deliver_at.to_string().into(),
        ]);
    }
    table.print("no events wait for their time")?;
    Ok(())
}

fn show_one(stored: &StoredEvent) -> Result<()> {
    let event = &stored.event;
    let mut attributes = vec![
        ("id", event.id().to_owned()),
        ("type", event.ty().to_owned()),
        ("source", event.source().to_owned()),
        ("accepted", stored.accepted_at.to_string()),
    ];
    if let Some(at) = stored.expired_at {
        attributes.push(("expired", format!("{at}: its data is no longer kept")));
    }
    let optional = [
        ("subject", event.subject()),
        ("time", event.time()),
        ("datacontenttype", event.data_content_type()),
        ("dataschema", event.data_schema()),
    ];
    attributes.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?.to_owned()))));
    for (name, value) in attributes {
        let name = words::faint(format_args!("{name:<16}"));
        output::line(format_args!("{name} {}", shown::line(&value)))?;
    }
    for (name, value) in event.extensions() {
        let name = words::faint(format_args!("{name:<16}"));
        output::line(format_args!("{name} {}", shown::line(&attribute(value))))?;
    }
    for run in &stored.runs {
        output::line(format_args!("{} {run}", words::faint(format_args!("{:<16}", "run"))))?;
    }
    if let Some(data) = data_text(event) {
        output::line(format_args!("\n{}", shown::lines(&data)))?;
    }
    Ok(())
}

fn attribute(value: &evoke_core::event::Attribute) -> String {
    use evoke_core::event::Attribute;
    match value {
        Attribute::Boolean(value) => value.to_string(),
        Attribute::Integer(value) => value.to_string(),
        Attribute::String(value) => value.clone(),
    }
}

fn data_text(event: &Event) -> Option<String> {
    Some(match event.data()? {
        Data::Json(value) => format!("{value:#}"),
        Data::Text(text) => text.clone(),
        Data::Bytes(bytes) => {
            format!("{} of {}", words::size(bytes.len() as u64), event.data_content_type()?)
        }
    })
}

//! `evoke send`: publishes one CloudEvent.

use evoke_core::event::{Data, Event, json};
use evoke_core::id::IdSource;
use evoke_core::time::Clock as _;
use evoke_gateway::api::{Published, PublishedEvent};
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;

use super::payload;
use crate::cli::SendArgs;
use crate::clock::SystemClock;
use crate::exit::{Error, Exit, Result};
use crate::output::{self, Format, words};
use crate::{client, context, seed};

/// Publishes the event; it is durable when this returns.
pub async fn run(args: SendArgs, format: Format) -> Result {
    let (app, client) = context::app_and_client(&args.app)?;
    let mut url = client.url(&["apps", app.as_str(), "events"]);
    if let Some(delay) = args.delay {
        url.query_pairs_mut().append_pair("delay_ms", &delay.as_millis().to_string());
    }
    if let Some(at) = args.at {
        url.query_pairs_mut().append_pair("deliver_at", &at.to_rfc3339());
    }
    let event = event(args)?;
    let request =
        client.at(Method::POST, url).header(CONTENT_TYPE, json::MEDIA_TYPE).body(json::to_vec(&event));
    let published: Published = client::read(client.send(request).await?).await?;
    let Some(event) = published.events.into_iter().next() else {
        return Err(Error::failed("not_evoke", "the server accepted no event and gave no reason"));
    };
    if format.is_json() {
        output::json(&event)?;
        return Ok(Exit::Done);
    }
    say(&event, format)
}

fn say(event: &PublishedEvent, format: Format) -> Result {
    output::line(&event.id)?;
    for run in &event.runs {
        output::line(run)?;
    }
    if let Some(at) = event.deliver_at {
        let (id, source) = (&event.id, &event.source);
        format.talk(format_args!(
            "accepted, to be delivered at {at}; take it back with `evoke events cancel {id} --source {source}`"
        ));
        return Ok(Exit::Done);
    }
    let what = if event.duplicate { "had been accepted before" } else { "accepted" };
    let next = match event.runs.first() {
        Some(run) => format!("; see what becomes of it with `evoke runs get {run}`"),
        None => "; no function is subscribed to it".to_owned(),
    };
    format.talk(format_args!("{what}, {} caused{next}", words::count(event.runs.len(), "run")));
    Ok(Exit::Done)
}

fn event(args: SendArgs) -> Result<Event> {
    let id = args.id.unwrap_or_else(|| IdSource::seeded(seed::random()).event(SystemClock.now()));
    let mut event = Event::new(id, args.source, args.ty);
    if let Some(subject) = args.subject {
        event = event.with_subject(subject);
    }
    if let Some(data) = &args.data {
        let data = payload::read("--data", data)?;
        event = event.with_data(typed(data, &args.content_type)?, Some(args.content_type));
    }
    event.check().map_err(|cause| Error::usage(format!("this is no CloudEvent: {cause}")))?;
    Ok(event)
}

fn typed(data: Vec<u8>, content_type: &str) -> Result<Data> {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence == "application/json" || essence.ends_with("+json") {
        let value = serde_json::from_slice(&data).map_err(|cause| {
            Error::usage(format!("--data is not JSON: {cause}"))
                .help("mind the shell's quotes, or send a text with --content-type text/plain")
        })?;
        return Ok(Data::Json(value));
    }
    Ok(match String::from_utf8(data) {
        Ok(text) => Data::Text(text),
        Err(bytes) => Data::Bytes(bytes.into_bytes().into()),
    })
}

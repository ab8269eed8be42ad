//! `evoke events replay`: events of the log, delivered again to one subscription.

use evoke_core::id::FunctionName;
use evoke_core::time::{Clock as _, Timestamp};
use evoke_gateway::api::{Replay, ReplayEvent, ReplayOrder, ReplayPoint, ReplayPreview};

use crate::cli::{Moment, ReplayArgs};
use crate::client::Client;
use crate::clock::SystemClock;
use crate::context;
use crate::exit::{Error, Result};
use crate::output::{self, Format, shown, words};

/// Asks what would be delivered, or has it delivered.
pub async fn run(args: ReplayArgs, format: Format) -> Result<()> {
    let Some((function, name)) = args.subscription.split_once('/') else {
        return Err(Error::usage(format!("{:?} is not FUNCTION/NAME", args.subscription))
            .help("`evoke subscriptions ls` lists them"));
    };
    let function = FunctionName::new(function).map_err(|cause| Error::usage(cause.to_string()))?;
    let now = SystemClock.now();
    let at =
        |moment: Moment| moment.time(now).map_or(ReplayPoint::Position(0), |at| ReplayPoint::Time(at.into()));
    let from = args.from_id.map(ReplayPoint::Event).or_else(|| args.from.map(at));
    let order = ReplayOrder {
        function,
        subscription: name.to_owned(),
        from: from.unwrap_or(ReplayPoint::Position(0)),
        to: args.to_id.map(ReplayPoint::Event).or_else(|| args.to.map(at)),
        r#type: args.ty,
        r#where: args.filter,
    };
    let (app, client) = context::app_and_client(&args.app)?;
    if args.dry_run {
        let preview = preview(&client, app.as_str(), order).await?;
        return if format.is_json() { Ok(output::json(&preview)?) } else { show(&preview, now) };
    }
    let replay: Replay = client.post(&["apps", app.as_str(), "replays"], &order).await?;
    if format.is_json() {
        return Ok(output::json(&replay)?);
    }
    output::line(&replay.id)?;
    if let Some(at) = replay.archive_from {
        format.talk(format_args!("the archive starts at {at}: earlier events are not kept any more"));
    }
    let id = &replay.id;
    format.talk(words::faint(format_args!(
        "how far it is: evoke replays get {id}; end it: evoke replays cancel {id}"
    )));
    Ok(())
}

/// The server looks at a bounded number of events in one go.
async fn preview(client: &Client, app: &str, mut order: ReplayOrder) -> Result<ReplayPreview> {
    let path = ["apps", app, "replays", "preview"];
    let mut sum: ReplayPreview = client.post(&path, &order).await?;
    while let Some(next) = sum.next {
        order.from = ReplayPoint::Position(next);
        let more: ReplayPreview = client.post(&path, &order).await?;
        sum.seen += more.seen;
        sum.events += more.events;
        sum.bytes += more.bytes;
        sum.first = sum.first.or(more.first);
        sum.last = more.last.or(sum.last);
        sum.next = more.next;
    }
    Ok(sum)
}

fn show(preview: &ReplayPreview, now: Timestamp) -> Result<()> {
    output::line(format_args!(
        "{} of {} in the range would be delivered, {} in all",
        words::count(usize::try_from(preview.events).unwrap_or(usize::MAX), "event"),
        preview.seen,
        words::size(preview.bytes)
    ))?;
    for (word, event) in [("first", &preview.first), ("last", &preview.last)] {
        if let Some(ReplayEvent { accepted_at, id, r#type, source, .. }) = event {
            output::line(format_args!(
                "{:<6} {accepted_at} ({})  {} {} from {}",
                words::faint(word),
                words::age(accepted_at.0, now),
                words::styled(words::NAME, shown::line(r#type)),
                shown::line(id),
                shown::line(source)
            ))?;
        }
    }
    if let Some(at) = preview.archive_from {
        output::line(format_args!("the archive starts at {at}: earlier events are not kept any more"))?;
    }
    Ok(())
}

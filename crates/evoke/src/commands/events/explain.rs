//! `evoke events explain`: what became of an event, subscription by subscription.

use evoke_core::time::{Clock as _, Timestamp};
use evoke_gateway::api::{
    Decision, DeliveryState, EventDelivery, EventSubscriber, Explanation, Held, SeenValue,
};

use crate::cli::AppArgs;
use crate::clock::SystemClock;
use crate::context;
use crate::exit::Result;
use crate::output::{self, Format, shown, words};

/// Asks and prints.
pub async fn run(id: &str, source: Option<&str>, app: &AppArgs, format: Format) -> Result<()> {
    let (app, client) = context::app_and_client(app)?;
    let query: Vec<_> = source.map(|source| ("source", source)).into_iter().collect();
    let path = ["apps", app.as_str(), "events", id, "explain"];
    let explanation: Explanation = client.get(&path, &query).await?;
    if format.is_json() {
        return Ok(output::json(&explanation)?);
    }
    show(&explanation, SystemClock.now())
}

fn show(of: &Explanation, now: Timestamp) -> Result<()> {
    let event = &of.event.event;
    let subject = event.subject().map(|subject| format!(" ({})", shown::line(subject))).unwrap_or_default();
    output::line(format_args!(
        "{}{subject} from {}  {}",
        words::styled(words::NAME, shown::line(event.ty())),
        shown::line(event.source()),
        words::faint(shown::line(event.id()))
    ))?;
    let ago = ago(of.event.accepted_at.0, now);
    let met = match of.event.deployment {
        None => "; what was deployed then was not noted".to_owned(),
        Some(version) if version == of.current_deployment => {
            format!(" under deployment {version}, the present one")
        }
        Some(version) => {
            let lost = if of.deployed_at.is_none() { ", which is not kept any more" } else { "" };
            format!(" under deployment {version}{lost} (now {})", of.current_deployment)
        }
    };
    output::line(words::faint(format_args!("accepted {} ({ago}){met}", of.event.accepted_at)))?;
    if let Some(at) = of.event.expired_at {
        let words = format_args!("expired {at} ({}): its data is no longer kept", self::ago(at.0, now));
        output::line(words::styled(words::BUSY, words))?;
    }
    for one in &of.subscriptions {
        output::line("")?;
        subscriber(one, now)?;
    }
    if of.subscriptions.is_empty() {
        output::line("\nno subscription is, or was then, for events of this type")?;
    }
    if of.other_subscriptions > 0 {
        let others = words::count(of.other_subscriptions, "more subscription");
        output::line(words::faint(format_args!("\n{others} for other types of events")))?;
    }
    Ok(())
}

fn subscriber(one: &EventSubscriber, now: Timestamp) -> Result<()> {
    let name =
        words::styled(words::NAME, format_args!("{}/{}", one.function, shown::line(&one.subscription)));
    let name = match &one.hook {
        Some(url) => format!("{name} {}", words::faint(format_args!("→ {}", shown::line(url)))),
        None => name,
    };
    if let Some(behind) = one.behind {
        let far = words::count(usize::try_from(behind).unwrap_or(usize::MAX), "position");
        line(
            &name,
            &words::styled(words::BUSY, "catching up"),
            &format!("comes to it {far} of the log later"),
        )?;
        return Ok(());
    }
    match &one.then {
        Decision::Taken if one.deliveries.is_empty() => {
            line(
                &name,
                &words::bad("taken"),
                "but there is no delivery of it: its record is not kept any more",
            )?;
        }
        Decision::Taken => line(&name, "", "")?,
        Decision::Filtered { filter, clause, reason, values } => {
            let filter = if matches!(filter, evoke_core::filter::Cause::Where) { "where" } else { "pattern" };
            let why = format!("{filter}: {} {}", shown::line(clause), shown::line(reason));
            line(&name, &words::styled(words::BUSY, "filtered"), &why)?;
            values.iter().try_for_each(value)?;
        }
        Decision::OtherType => line(&name, "did not see it", "was for other types of events then")?,
        Decision::NotThere { added_in: Some(version), added_at } => {
            let when = added_at.map(|at| format!(", {}", ago(at.0, now))).unwrap_or_default();
            line(&name, "did not see it", &format!("was added later, in deployment {version}{when}"))?;
        }
        Decision::NotThere { .. } => line(&name, "did not see it", "was not deployed then")?,
        Decision::Unknown => line(&name, "unknown", "what was deployed then is not known")?,
    }
    for one in &one.deliveries {
        delivery(one, now)?;
    }
    let was = std::mem::discriminant(&one.then);
    if was != std::mem::discriminant(&one.now) {
        match &one.now {
            Decision::Taken => note("now it would take it")?,
            Decision::Filtered { clause, reason, .. } => {
                note(&format!("now it would filter it: {} {}", shown::line(clause), shown::line(reason)))?;
            }
            Decision::OtherType => note("now it is for other types of events")?,
            Decision::NotThere { .. } => note("it is not deployed any more")?,
            Decision::Unknown => {}
        }
    }
    Ok(())
}

fn delivery(one: &EventDelivery, now: Timestamp) -> Result<()> {
    let of = |attempts: u32| {
        if one.attempts_max > 0 {
            format!("{attempts} of {}", one.attempts_max)
        } else {
            attempts.to_string()
        }
    };
    let (word, rest) = match &one.state {
        DeliveryState::Waiting { due_at } if due_at.0 > now => {
            (words::styled(words::BUSY, "waits"), format!("due {}", words::age(due_at.0, now)))
        }
        DeliveryState::Waiting { due_at } => (
            words::styled(words::BUSY, "waits"),
            format!("for its first attempt, since {}", words::age(due_at.0, now)),
        ),
        DeliveryState::Running => {
            (words::styled(words::BUSY, "running"), format!("attempt {}", of(one.attempts + 1)))
        }
        DeliveryState::Retrying { due_at, reason } => {
            let next = if due_at.0 > now { words::age(due_at.0, now) } else { "now".to_owned() };
            let why = words::one_line(reason);
            (
                words::styled(words::BUSY, "retrying"),
                format!("attempt {} failed, the next is due {next}: {why}", of(one.attempts)),
            )
        }
        DeliveryState::Delivered { at } => {
            let tries =
                if one.attempts > 1 { format!(" on attempt {}", one.attempts) } else { String::new() };
            (words::good("delivered"), format!("{}{tries}", ago(at.0, now)))
        }
        DeliveryState::DeadLettered { at, reason } => (
            words::bad("dead letter"),
            format!(
                "{}: {}; try again with `evoke dlq redrive {}`",
                ago(at.0, now),
                words::one_line(reason),
                one.run
            ),
        ),
        DeliveryState::Dropped { at, reason } => {
            (words::bad("dropped"), format!("{}: {}", ago(at.0, now), words::one_line(reason)))
        }
        DeliveryState::Forgotten => ("ended".to_owned(), "its record is not kept any more".to_owned()),
    };
    let rest = match &one.held {
        Some(Held::Pause) => format!("{rest}; the subscription is paused"),
        Some(Held::Key { key, run }) => format!("{rest}; behind key {} (run {run})", shown::line(key)),
        None => rest,
    };
    let again = match &one.replay {
        Some(replay) => format!("again, by {replay}, "),
        None if one.again => "again, ".to_owned(),
        None => String::new(),
    };
    output::line(format_args!("  {word}  {again}{rest}  {}", words::faint(&one.run)))?;
    Ok(())
}

fn line(name: &str, word: &str, rest: &str) -> Result<()> {
    output::line(name)?;
    if !word.is_empty() {
        output::line(format_args!("  {word}  {rest}"))?;
    }
    Ok(())
}

fn value(seen: &SeenValue) -> Result<()> {
    let has = seen.value.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string);
    Ok(output::line(format_args!(
        "    {} {}",
        words::faint(format_args!("{}:", shown::line(&seen.name))),
        shown::line(&has)
    ))?)
}

fn note(text: &str) -> Result<()> {
    Ok(output::line(words::faint(format_args!("  {text}")))?)
}

fn ago(at: Timestamp, now: Timestamp) -> String {
    match words::age(at, now) {
        text if text == "now" || text.starts_with("in ") => text,
        text => format!("{text} ago"),
    }
}

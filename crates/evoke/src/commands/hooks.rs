//! `evoke hooks`: where events are sent to, and whether they arrive.

use std::time::Duration;

use evoke_core::time::{Clock as _, Timestamp};
use evoke_gateway::api::{Hook, HookChange, HookList, HookTrial};
use serde_json::json;

use crate::cli::HooksVerb;
use crate::clock::SystemClock;
use crate::context;
use crate::exit::{Exit, Result};
use crate::output::table::{Cell, Table};
use crate::output::{self, Format, shown, words};

/// Lists, enables or tries.
pub async fn run(verb: HooksVerb, format: Format) -> Result {
    match verb {
        HooksVerb::Ls { app } => {
            let (app, client) = context::app_and_client(&app)?;
            let list: HookList = client.get(&["apps", app.as_str(), "hooks"], &[]).await?;
            if format.is_json() {
                output::json(&list)?
            } else {
                show(&list, SystemClock.now())?
            }
            Ok(Exit::Done)
        }
        HooksVerb::Enable { hook, app } => {
            let (app, client) = context::app_and_client(&app)?;
            let path = ["apps", app.as_str(), "hooks", hook.as_str(), "enable"];
            let done: HookChange = client.post(&path, &json!({})).await?;
            if format.is_json() {
                output::json(&done)?;
            } else {
                let already = if done.changed { "" } else { " already" };
                format.talk(format_args!("{hook} is enabled{already}"));
            }
            Ok(Exit::Done)
        }
        HooksVerb::Test { hook, app } => {
            let (app, client) = context::app_and_client(&app)?;
            let path = ["apps", app.as_str(), "hooks", hook.as_str(), "test"];
            let tried: HookTrial = client.post(&path, &json!({})).await?;
            if format.is_json() {
                output::json(&tried)?
            } else {
                tell(&tried)?
            }
            Ok(if tried.delivered { Exit::Done } else { Exit::Failed })
        }
    }
}

fn show(list: &HookList, now: Timestamp) -> Result<()> {
    let mut table = Table::new(&["HOOK", "URL", "EVENTS", "DELIVERED", "WAITING", "FAILED", "LAST", "STATE"]);
    for hook in &list.hooks {
        let state = match &hook.disabled {
            Some(why) => {
                let words = format!("disabled {}: {}", words::age(why.at.0, now), shown::line(&why.reason));
                Cell::styled(words, words::BAD)
            }
            None => "".into(),
        };
        table.row([
            Cell::styled(hook.name.as_str(), words::NAME),
            shown::line(&hook.url).into_owned().into(),
            hook.events.join(", ").into(),
            hook.recent.delivered.to_string().into(),
            hook.recent.waiting.to_string().into(),
            hook.recent.failed.to_string().into(),
            last(hook, now).into(),
            state,
        ]);
    }
    Ok(table.print("the app has no hooks")?)
}

/// How the last attempt ended, and when.
fn last(hook: &Hook, now: Timestamp) -> String {
    let Some(last) = &hook.last else { return String::new() };
    let status = last.status.map(|status| status.to_string());
    let how = status.or_else(|| last.code.clone()).unwrap_or_else(|| last.outcome.clone());
    format!("{how} {}", words::age(last.ended_at.0, now))
}

fn tell(tried: &HookTrial) -> Result<()> {
    let took = words::duration(Duration::from_micros(tried.took_us));
    let how = match (&tried.reason, tried.status) {
        (Some(reason), _) => words::bad(format_args!("not delivered: {}", shown::line(reason))),
        (None, Some(status)) => format!("delivered: status {status}"),
        (None, None) => "delivered".to_owned(),
    };
    let facts = [
        ("event", tried.event.clone()),
        ("run", tried.run.to_string()),
        ("took", took),
        ("answer", tried.answer.clone()),
    ];
    output::line(how)?;
    for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
        output::line(format_args!("{} {}", words::faint(format_args!("{name:<7}")), shown::line(value)))?;
    }
    Ok(())
}

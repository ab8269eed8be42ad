//! `evoke apps`: which apps there are, and removing one.

use evoke_core::id::AppName;
use evoke_core::manifest::units;
use evoke_core::time::Clock as _;
use evoke_gateway::api::{AppInventory, AppList, AppRemoved};
use reqwest::Method;

use crate::cli::{AppsVerb, RmArgs};
use crate::client::{self, Client};
use crate::clock::SystemClock;
use crate::context;
use crate::exit::{Error, Exit, Result};
use crate::output::table::{Cell, Table};
use crate::output::{self, Format, words};

/// Lists apps, or removes one.
pub async fn run(verb: AppsVerb, format: Format) -> Result {
    match verb {
        AppsVerb::Ls { server } => {
            let client = context::client(&server, &context::here()?)?;
            let list: AppList = client.get(&["apps"], &[]).await?;
            if format.is_json() {
                output::json(&list)?
            } else {
                show(&list)?
            }
            Ok(Exit::Done)
        }
        AppsVerb::Rm(args) => remove(args, format).await,
    }
}

fn show(list: &AppList) -> Result<()> {
    let now = SystemClock.now();
    let mut table = Table::new(&["APP", "VERSION", "DEPLOYED", "FUNCTIONS"]);
    for app in &list.apps {
        table.row([
            Cell::styled(app.name.as_str(), words::NAME),
            app.version.to_string().into(),
            words::age(app.deployed_at.0, now).into(),
            app.functions.to_string().into(),
        ]);
    }
    Ok(table.print("no app is deployed")?)
}

async fn remove(args: RmArgs, format: Format) -> Result {
    let app = AppName::new(&args.name).map_err(|cause| Error::usage(cause.to_string()))?;
    let client = context::client(&args.server, &context::here()?)?;
    if args.dry_run {
        let inventory = inventory(&client, &app).await?;
        if format.is_json() {
            output::json(&inventory)?;
        } else {
            all(&inventory).into_iter().try_for_each(output::line)?;
            format.talk(format_args!("would remove app {app}"));
            if is_busy(&inventory) {
                format.talk("it has work pending: removing it needs --drop-pending");
            }
        }
        return Ok(Exit::Done);
    }
    if !args.yes {
        agree(&client, &app).await?;
    }
    let mut url = client.url(&["apps", app.as_str()]);
    if args.drop_pending {
        url.query_pairs_mut().append_pair("drop_pending", "true");
    }
    if let Some(grace) = args.grace {
        url.query_pairs_mut().append_pair("grace_ms", &grace.as_millis().to_string());
    }
    let answer = client.send(client.at(Method::DELETE, url)).await?;
    let removed: AppRemoved = client::read(answer).await?;
    if format.is_json() {
        output::json(&removed)?;
    } else {
        format.talk(format_args!("removed app {app}"));
    }
    Ok(Exit::Done)
}

async fn inventory(client: &Client, app: &AppName) -> Result<AppInventory> {
    client.get(&["apps", app.as_str(), "inventory"], &[]).await
}

/// Asks whoever sits there; a script says `--yes`. One that is being removed already needs no more asking.
async fn agree(client: &Client, app: &AppName) -> Result<()> {
    let found = match inventory(client, app).await {
        Err(error) if error.exit == Exit::NotFound => return Ok(()),
        found => found?,
    };
    let what = format!("remove app {app} with {}, for good", all(&found).join(", "));
    output::agree(&what, "what it has", "nothing was removed")
}

fn is_busy(inventory: &AppInventory) -> bool {
    inventory.pending > 0 || inventory.waits > 0 || inventory.delayed > 0
}

/// What there is, a part each.
fn all(inventory: &AppInventory) -> Vec<String> {
    let AppInventory { functions, routes, subscriptions, schedules, hooks, deployments, .. } = *inventory;
    let sized = |count: u64, what: &str, bytes: u64| {
        format!("{} ({})", words::count(count as usize, what), units::format_bytes(bytes))
    };
    let counts = [
        (functions, "function"),
        (routes, "route"),
        (subscriptions, "subscription"),
        (schedules, "schedule"),
        (hooks, "hook"),
        (deployments, "deployment"),
        (inventory.secrets, "secret"),
        (inventory.waits, "wait"),
        (inventory.delayed, "delayed event"),
        (inventory.pending as usize, "pending invocation"),
        (inventory.dead_letters as usize, "dead letter"),
        (inventory.runs as usize, "run"),
        (inventory.log_lines as usize, "log line"),
    ];
    let counts = counts.into_iter().filter(|(count, _)| *count > 0);
    let mut parts: Vec<String> = counts.map(|(count, what)| words::count(count, what)).collect();
    if inventory.events > 0 {
        parts.push(sized(inventory.events, "event", inventory.event_bytes));
    }
    if inventory.entries > 0 {
        parts.push(sized(inventory.entries, "state key", inventory.entry_bytes));
    }
    parts
}

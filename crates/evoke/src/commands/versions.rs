//! `evoke versions`: what was deployed, and what became of it.

use evoke_core::time::{Clock as _, Timestamp};
use evoke_gateway::api::{Version, VersionList, VersionState};

use crate::cli::AppArgs;
use crate::clock::SystemClock;
use crate::context;
use crate::exit::{Exit, Result};
use crate::output::table::{Cell, Table};
use crate::output::{self, Format, shown, words};

/// Lists the versions of an app, the newest first.
pub async fn run(args: AppArgs, format: Format) -> Result {
    let (app, client) = context::app_and_client(&args)?;
    let list: VersionList = client.get(&["apps", app.as_str(), "versions"], &[]).await?;
    if format.is_json() {
        output::json(&list)?;
        return Ok(Exit::Done);
    }
    let now = SystemClock.now();
    let mut table = Table::new(&["VERSION", "STATE", "DEPLOYED", "FILES", "NOTE"]);
    for version in &list.versions {
        let style = match version.state {
            VersionState::Current => words::GOOD,
            VersionState::Canary => words::BUSY,
            VersionState::Withdrawn | VersionState::Former => words::FAINT,
        };
        table.row([
            version.version.to_string().into(),
            Cell::styled(version.state.as_str(), style),
            words::age(version.deployed_at.0, now).into(),
            version.bundle.get(..8).unwrap_or(&version.bundle).into(),
            shown::line(&note(version, now)).into_owned().into(),
        ]);
    }
    table.print("the app was never deployed")?;
    Ok(Exit::Done)
}

fn note(version: &Version, now: Timestamp) -> String {
    let back = version.back_to.map(|back| format!("like version {back}"));
    let weight = version.weight.as_ref().map(|weight| format!("{weight} of the work"));
    let watched =
        version.watched_until.as_ref().map(|until| format!("watched, until {}", words::age(until.0, now)));
    let withdrawn = version.withdrawn.as_ref().map(|withdrawn| match withdrawn.automatic {
        true => format!("by itself: {}", withdrawn.reason),
        false => withdrawn.reason.clone(),
    });
    [back, weight, watched, withdrawn].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

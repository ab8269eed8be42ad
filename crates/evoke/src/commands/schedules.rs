//! `evoke schedules`: what fires when.

use evoke_core::time::Clock as _;
use evoke_gateway::api::ScheduleList;

use crate::cli::AppArgs;
use crate::clock::SystemClock;
use crate::context;
use crate::exit::{Exit, Result};
use crate::output::table::{Cell, Table};
use crate::output::{self, Format, words};

/// Lists the schedules of an app with their next times.
pub async fn run(args: AppArgs, format: Format) -> Result {
    let (app, client) = context::app_and_client(&args)?;
    let list: ScheduleList = client.get(&["apps", app.as_str(), "schedules"], &[]).await?;
    if format.is_json() {
        output::json(&list)?;
        return Ok(Exit::Done);
    }
    let now = SystemClock.now();
    let mut table = Table::new(&["SCHEDULE", "FIRES", "EVENT", "LAST", "NEXT", "AT"]);
    for schedule in &list.schedules {
        let next = schedule.next.first();
        let age = |time: Option<&evoke_gateway::api::Time>| {
            time.map_or_else(|| "never".to_owned(), |time| words::age(time.0, now))
        };
        table.row([
            Cell::styled(schedule.name.as_str(), words::NAME),
            schedule.timer.as_str().into(),
            schedule.event.as_str().into(),
            age(schedule.last.as_ref()).into(),
            age(next).into(),
            next.map(ToString::to_string).unwrap_or_default().into(),
        ]);
    }
    table.print("the app has no schedules")?;
    Ok(Exit::Done)
}

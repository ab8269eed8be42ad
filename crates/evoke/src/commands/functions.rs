//! `evoke functions`: what is deployed.

use std::time::Duration;

use evoke_core::manifest::units;
use evoke_gateway::api::{Function, FunctionList, Instances, Spent};

use super::deploy::methods;
use crate::cli::FunctionsVerb;
use crate::context;
use crate::exit::{Exit, Result};
use crate::output::table::{Cell, Table};
use crate::output::{self, Format, words};

/// Lists the functions of an app.
pub async fn run(verb: FunctionsVerb, format: Format) -> Result {
    let FunctionsVerb::Ls { app } = verb;
    let (app, client) = context::app_and_client(&app)?;
    let list: FunctionList = client.get(&["apps", app.as_str(), "functions"], &[]).await?;
    if format.is_json() {
        output::json(&list)?;
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&[
        "FUNCTION",
        "RUNTIME",
        "REVISION",
        "TIMEOUT",
        "MEMORY",
        "PEAK",
        "CPU",
        "BUSY",
        "IDLE",
        "MAX",
        "STATE",
        "STARTED BY",
    ]);
    for function in &list.functions {
        table.row([
            Cell::styled(function.name.as_str(), words::NAME),
            function.runtime.as_str().into(),
            function.revision.as_str().get(..8).unwrap_or(function.revision.as_str()).into(),
            units::format_duration(Duration::from_millis(function.timeout_ms)).into(),
            units::format_bytes(function.memory_bytes).into(),
            function.spent.peak_memory_bytes.map_or_else(|| "-".to_owned(), words::size).into(),
            cpu(&function.spent).into(),
            function.instances.busy.to_string().into(),
            function.instances.idle.to_string().into(),
            function.concurrency.div_ceil(function.instance_concurrency).to_string().into(),
            state(&function.instances),
            started_by(function).into(),
        ]);
    }
    table.print("the app has no functions")?;
    Ok(Exit::Done)
}

/// Processor time of its attempts since the server started, as far as it is known.
fn cpu(spent: &Spent) -> String {
    match spent.attempts.saturating_sub(spent.unmeasured) {
        0 => "-".to_owned(),
        _ => words::duration(Duration::from_micros(spent.cpu_us)),
    }
}

/// What the function's instances are about, in one word: the first that applies.
fn state(instances: &Instances) -> Cell {
    match instances {
        Instances { failing: Some(failing), .. } => {
            let again = words::duration(Duration::from_millis(failing.again_in_ms));
            Cell::styled(format!("failing, {} times; again in {again}", failing.times), words::BAD)
        }
        Instances { busy: 1.., .. } => "busy".into(),
        Instances { starting: 1.., preloaded: true, .. } => "forking".into(),
        Instances { starting: 1.., .. } => "starting".into(),
        Instances { idle: 1.., .. } => "idle".into(),
        Instances { draining: 1.., .. } => "draining".into(),
        Instances { preloaded: true, .. } => "zygote".into(),
        Instances { .. } => "absent".into(),
    }
}

fn started_by(function: &Function) -> String {
    let routes = function.routes.iter().map(|route| format!("{} {}", methods(route), route.path));
    let events = function.on.iter().map(|on| {
        let filtered = if on.filter.is_some() || on.pattern.is_some() { " (filtered)" } else { "" };
        format!("event {}{filtered}", on.event)
    });
    routes.chain(events).collect::<Vec<_>>().join(", ")
}

//! `evoke routes`: what was answered on them, and the end of an experiment.

mod change;
mod promote;
mod stats;

use evoke_core::id::FunctionName;
use evoke_gateway::api::{ExperimentState, PromotionChange, RouteList};
use reqwest::Method;

use crate::cli::{AppArgs, RoutesVerb};
use crate::client;
use crate::context;
use crate::exit::{Error, Exit, Result};
use crate::output::table::{Cell, Table};
use crate::output::{self, Format, words};

/// Lists them, shows figures, promotes a variant or undoes that.
pub async fn run(verb: RoutesVerb, format: Format) -> Result {
    match verb {
        RoutesVerb::Ls { app } => list(&app, format).await,
        RoutesVerb::Stats { route, minutes, app } => {
            stats::run(route.as_deref(), minutes, &app, format).await
        }
        RoutesVerb::Promote(args) => promote::run(&args, format).await,
        RoutesVerb::Demote { route, experiment, app } => {
            demote(&route, experiment.as_deref(), &app, format).await
        }
    }
}

async fn list(app: &AppArgs, format: Format) -> Result {
    let (app, client) = context::app_and_client(app)?;
    let list: RouteList = client.get(&["apps", app.as_str(), "routes"], &[]).await?;
    if format.is_json() {
        output::json(&list)?;
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&["ROUTE", "METHODS", "PATH", "DECORATORS", "TO", "EXPERIMENTS"]);
    for state in &list.routes {
        let route = &state.route;
        let dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
        let experiments = state.experiments.iter().map(shares).collect::<Vec<_>>().join("; ");
        table.row([
            Cell::styled(route.id.as_str(), words::NAME),
            super::deploy::methods(route).into(),
            route.path.as_str().into(),
            dash(route.decorators.join(", ")).into(),
            route.to.as_str().into(),
            dash(experiments).into(),
        ]);
    }
    table.print("the app has no routes")?;
    Ok(Exit::Done)
}

/// `greeting: old 90 %, new 10 %, next copies of 5 %`, or `greeting: new promoted`.
fn shares(experiment: &ExperimentState) -> String {
    let name = &experiment.name;
    if let Some(promoted) = &experiment.promoted {
        return format!("{name}: {} promoted", promoted.variant);
    }
    let variants = experiment.variants.iter().map(|variant| match variant.shadow {
        Some(percent) => format!("{} copies of {percent} %", variant.name),
        None => format!("{} {}", variant.name, stats::percent(variant.share)),
    });
    format!("{name}: {}", variants.collect::<Vec<_>>().join(", "))
}

async fn demote(route: &str, experiment: Option<&str>, app: &AppArgs, format: Format) -> Result {
    let (app, client) = context::app_and_client(app)?;
    let mut url = client.url(&["apps", app.as_str(), "routes", route, "promotion"]);
    if let Some(experiment) = experiment {
        let name = FunctionName::new(experiment).map_err(|cause| Error::usage(cause.to_string()))?;
        url.query_pairs_mut().append_pair("experiment", name.as_str());
    }
    let change: PromotionChange = client::read(client.send(client.at(Method::DELETE, url)).await?).await?;
    if format.is_json() {
        output::json(&change)?;
        return Ok(Exit::Done);
    }
    match (&change.experiment, &change.before) {
        (Some(experiment), Some(variant)) => output::line(format_args!(
            "{} {}: experiment {experiment} goes on with its weights, {variant} is one of its variants again",
            words::good("demoted"),
            change.route,
        ))?,
        _ => output::line(format_args!("nothing is promoted on route {}", change.route))?,
    }
    Ok(Exit::Done)
}

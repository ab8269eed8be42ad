//! `evoke canary`: a new version that does a part of the work.

use evoke_core::id::AppName;
use evoke_core::time::Clock as _;
use evoke_gateway::api::{Canary, CanaryWeight, CanaryWithdrawn, Version, VersionTally};
use reqwest::Method;

use crate::cli::CanaryVerb;
use crate::client::{self, Client};
use crate::clock::SystemClock;
use crate::context;
use crate::exit::{Exit, Result};
use crate::output::table::{Cell, Table};
use crate::output::{self, Format, words};

/// Shows the canary, or changes what it has.
pub async fn run(verb: CanaryVerb, format: Format) -> Result {
    match verb {
        CanaryVerb::Show(args) => {
            let (app, client) = context::app_and_client(&args)?;
            let canary: Canary = client.get(&["apps", app.as_str(), "canary"], &[]).await?;
            if format.is_json() { output::json(&canary)? } else { show(&canary)? }
        }
        CanaryVerb::Set { weight, app } => {
            let (app, client) = context::app_and_client(&app)?;
            let request = client.request(Method::PUT, &["apps", app.as_str(), "canary"]);
            let order = CanaryWeight { weight: weight.to_string() };
            let canary: Canary = client::read(client.send(request.json(&order)).await?).await?;
            if format.is_json() {
                output::json(&canary)?;
            } else {
                format.talk(format_args!(
                    "version {} of {app} has {} of the work",
                    canary.version, canary.weight
                ));
            }
        }
        CanaryVerb::Promote(which) => {
            let (app, client) = context::app_and_client(&which.app)?;
            let url = client.url(&["apps", app.as_str(), "canary", "promote"]);
            let request = client.at(Method::POST, with_version(url, which.version));
            let promoted: Version = client::read(client.send(request).await?).await?;
            if format.is_json() {
                output::json(&promoted)?;
            } else {
                format.talk(format_args!("{} {app} version {}", words::good("promoted"), promoted.version));
            }
        }
        CanaryVerb::Abort(which) => {
            let (app, client) = context::app_and_client(&which.app)?;
            let done = abort(&client, &app, which.version).await?;
            if format.is_json() {
                output::json(&done)?;
            } else {
                let CanaryWithdrawn { version, current } = done;
                let words = words::good("withdrawn");
                format.talk(format_args!(
                    "{words} {app} version {version}; version {current} has all the work"
                ));
            }
        }
    }
    Ok(Exit::Done)
}

/// The canary of an app, if it has one.
pub async fn find(client: &Client, app: &AppName) -> Result<Option<Canary>> {
    match client.get(&["apps", app.as_str(), "canary"], &[]).await {
        Ok(canary) => Ok(Some(canary)),
        Err(error) if &*error.code == "no_canary" => Ok(None),
        Err(error) => Err(error),
    }
}

/// Withdraws it.
pub async fn abort(client: &Client, app: &AppName, version: Option<u64>) -> Result<CanaryWithdrawn> {
    let url = client.url(&["apps", app.as_str(), "canary"]);
    let request = client.at(Method::DELETE, with_version(url, version));
    client::read(client.send(request).await?).await
}

fn with_version(mut url: reqwest::Url, version: Option<u64>) -> reqwest::Url {
    if let Some(version) = version {
        url.query_pairs_mut().append_pair("version", &version.to_string());
    }
    url
}

fn show(canary: &Canary) -> Result<()> {
    let Canary { app, version, current, weight, since, rollback, functions } = canary;
    let age = words::age(since.0, SystemClock.now());
    output::line(format_args!(
        "{app} version {version} has {weight} of the work since {age}, version {current} the rest"
    ))?;
    match rollback {
        Some(rule) => {
            let within = evoke_core::manifest::units::format_duration(std::time::Duration::from_millis(
                rule.within_ms,
            ));
            let (errors, min) = (&rule.errors, rule.min);
            output::line(format_args!(
                "it goes by itself when a function fails more often than {errors}, and than in version {current}; counted over {within}, from {min} attempts on"
            ))?;
        }
        None => output::line("it does not go by itself")?,
    }
    output::line("")?;
    let mut table = Table::new(&["FUNCTION", "CANARY", "FAILED", "CURRENT", "FAILED"]);
    for (name, compared) in functions {
        table.row([
            Cell::styled(name.as_str(), words::NAME),
            compared.canary.attempts.to_string().into(),
            failed(compared.canary).into(),
            compared.current.attempts.to_string().into(),
            failed(compared.current).into(),
        ]);
    }
    Ok(table.print("both have the same functions")?)
}

fn failed(counted: VersionTally) -> String {
    match counted.attempts {
        0 => "-".to_owned(),
        attempts => {
            let percent = counted.errors as f64 * 100.0 / attempts as f64;
            format!("{} ({percent:.1}%)", counted.errors)
        }
    }
}

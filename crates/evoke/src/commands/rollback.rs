//! `evoke rollback`: an earlier version again.

use evoke_core::id::AppName;
use evoke_gateway::api::{CanaryWithdrawn, Deployment, RollbackOrder};
use reqwest::Method;

use super::{canary, deploy};
use crate::cli::RollbackArgs;
use crate::client::{self, Client};
use crate::context;
use crate::exit::{Exit, Result};
use crate::output::{self, Format, words};

/// Goes back. Where there is a canary and no version is named, the canary goes: that is what was deployed last.
pub async fn run(args: RollbackArgs, format: Format) -> Result {
    let (app, client) = context::app_and_client(&args.app)?;
    if args.to.is_none() && canary::find(&client, &app).await?.is_some() {
        let done = canary::abort(&client, &app, None).await?;
        if format.is_json() {
            output::json(&done)?;
        } else {
            let CanaryWithdrawn { version, current } = done;
            let words = words::good("withdrawn");
            format.talk(format_args!(
                "{words} the canary of {app}, version {version}; version {current} has all the work"
            ));
        }
        return Ok(Exit::Done);
    }
    let deployment = back(&client, &app, args.to).await?;
    if format.is_json() {
        output::json(&deploy::describe(&deployment, client.data_url()))?;
    } else {
        format.talk(format_args!(
            "{} {app} to version {}, as version {}",
            words::good("rolled back"),
            deployment.back_to.unwrap_or_default(),
            deployment.version
        ));
        deploy::show(&deployment, client.data_url())?;
    }
    Ok(Exit::Done)
}

async fn back(client: &Client, app: &AppName, to: Option<u64>) -> Result<Deployment> {
    let request = client.request(Method::POST, &["apps", app.as_str(), "rollback"]);
    client::read(client.send(request.json(&RollbackOrder { to })).await?).await
}

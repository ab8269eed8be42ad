//! `evoke deploy`: an app's folder becomes what runs, or nothing changes.

use std::path::Path;

use evoke_core::limits::Limits;
use evoke_gateway::api;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

use crate::app_folder;
use crate::cli::DeployArgs;
use crate::client::{self, Client};
use crate::context;
use crate::excerpt;
use crate::exit::{Error, Exit, Result};
use crate::output::table::{Cell, Table};
use crate::output::{self, Format, words};
use crate::pack::{self, Bundle};

/// Deploys the app in the folder.
pub async fn run(args: &DeployArgs, format: Format) -> Result {
    let folder = app_folder::open(&args.dir)?;
    let client = context::client(&args.server, &folder)?;
    let app = app_folder::manifest(&folder)?.app;
    let deployment = send(&client, app.as_str(), &folder, &bundle(&folder)?).await?;
    if format.is_json() {
        output::json(&describe(&deployment, client.data_url()))?;
    } else {
        format.talk(format_args!(
            "{} {} version {}",
            words::good("deployed"),
            deployment.app,
            deployment.version
        ));
        show(&deployment, client.data_url())?;
    }
    Ok(Exit::Done)
}

/// The app's files, packed.
pub fn bundle(folder: &Path) -> Result<Bundle> {
    pack::pack(folder, &Limits::default())
        .map_err(|cause| Error::failed("bundle", cause.to_string()).help(cause.help()))
}

/// Sends what was packed in the folder to the server; the app it returns is what runs now. An error shows the lines of
/// the folder's files.
pub async fn send(client: &Client, app: &str, folder: &Path, bundle: &Bundle) -> Result<api::Deployment> {
    let request = client
        .request(Method::POST, &["apps", app, "deployments"])
        .header(CONTENT_TYPE, "application/x-tar")
        .body(bundle.tar.clone());
    match client.send(request).await {
        Ok(answer) => client::read(answer).await,
        Err(mut error) => {
            excerpt::add(&mut error, folder);
            Err(error)
        }
    }
}

/// Prints what changed, and where the app is to be reached.
pub fn show(deployment: &api::Deployment, data_url: Option<&str>) -> Result<()> {
    let mut functions = Table::new(&["FUNCTION", "REVISION", "CHANGE"]);
    for (name, revision) in &deployment.revisions {
        let (change, style) = if deployment.changed.contains(name) {
            ("changed", words::GOOD)
        } else {
            ("unchanged", words::FAINT)
        };
        let revision = revision.as_str().get(..8).unwrap_or(revision.as_str());
        functions.row([name.as_str().into(), revision.into(), Cell::styled(change, style)]);
    }
    for name in &deployment.removed {
        functions.row([name.as_str().into(), "-".into(), Cell::styled("removed", words::BUSY)]);
    }
    functions.print("the app has no functions")?;
    if deployment.routes.is_empty() {
        return Ok(());
    }
    let mut routes = Table::new(&["METHODS", "ROUTE", "TO"]);
    for route in &deployment.routes {
        routes.row([methods(route).into(), url(route, data_url).into(), route.to.as_str().into()]);
    }
    output::line("")?;
    Ok(routes.print("")?)
}

/// `POST`, `GET,POST`, or `ANY`.
pub fn methods(route: &api::Route) -> String {
    if route.methods.is_empty() { "ANY".to_owned() } else { route.methods.join(",") }
}

fn url(route: &api::Route, data_url: Option<&str>) -> String {
    format!("{}{}", data_url.unwrap_or_default(), route.path)
}

/// The API's answer, with a URL for each route where the data listener is known.
pub fn describe(deployment: &api::Deployment, data_url: Option<&str>) -> Value {
    let mut all = json!(deployment);
    if let (Some(data_url), Some(Value::Array(routes))) = (data_url, all.get_mut("routes")) {
        for (value, route) in routes.iter_mut().zip(&deployment.routes) {
            value["url"] = url(route, Some(data_url)).into();
        }
    }
    all
}

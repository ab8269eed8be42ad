//! `evoke deploy`: an app's folder becomes what runs, or nothing changes.

use std::path::Path;

use evoke_core::limits::Limits;
use evoke_gateway::api::{self, DeployStep};
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::app_folder;
use crate::cli::DeployArgs;
use crate::client::{self, Client};
use crate::context;
use crate::crates;
use crate::excerpt;
use crate::exit::{Error, Exit, Result};
use crate::output::table::{Cell, Table};
use crate::output::{self, Format, shown, words};
use crate::pack::{self, Bundle};
use crate::sse::Decoder;

const STREAM: &str = "text/event-stream";

/// Deploys the app in the folder.
pub async fn run(args: &DeployArgs, format: Format) -> Result {
    let folder = app_folder::open(&args.dir)?;
    let client = context::client(&args.server, &folder)?;
    let app = app_folder::manifest(&folder)?.app;
    let mut query = Vec::new();
    query.extend(args.canary.map(|canary| ("canary", canary.to_string())));
    query.extend(args.no_watch.then(|| ("watch", "false".to_owned())));
    let bundle = bundle(&folder, format).await?;
    let deployment = send(&client, app.as_str(), (&folder, &bundle), &query, format).await?;
    if format.is_json() {
        output::json(&describe(&deployment, client.data_url()))?;
    } else {
        format.talk(format_args!(
            "{} {} version {}",
            words::good("deployed"),
            deployment.app,
            deployment.version
        ));
        if let Some(weight) = &deployment.canary {
            format.talk(format_args!(
                "it has {weight} of the work; go on with `evoke canary show`, `set`, `promote` or `abort`"
            ));
        }
        if let Some(until) = &deployment.watched_until {
            format.talk(format_args!("it goes by itself if it fails too often until {until}"));
        }
        show(&deployment, client.data_url())?;
    }
    Ok(Exit::Done)
}

/// The app's files, packed; its crates are built first. Waits for that.
pub async fn bundle(folder: &Path, format: Format) -> Result<Bundle> {
    let built = crates::build(folder, format).await?;
    pack::pack(folder, &built, &Limits::default())
        .map_err(|cause| Error::failed("bundle", cause.to_string()).help(cause.help()))
}

/// Sends what was packed in the folder to the server, and tells how it goes on; the app it returns is what runs now. An error
/// shows the lines of the folder's files.
pub async fn send(
    client: &Client,
    app: &str,
    (folder, bundle): (&Path, &Bundle),
    query: &[(&str, String)],
    format: Format,
) -> Result<api::Deployment> {
    let mut url = client.url(&["apps", app, "deployments"]);
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    let request = client
        .at(Method::POST, url)
        .header(CONTENT_TYPE, "application/x-tar")
        .header(ACCEPT, STREAM)
        .body(bundle.tar.clone());
    let sent = async { follow(client, client.send(request).await?, format).await };
    sent.await.map_err(|mut error| {
        excerpt::add(&mut error, folder);
        error
    })
}

/// Reads the steps of a deploy to the last one.
async fn follow(client: &Client, mut answer: Response, format: Format) -> Result<api::Deployment> {
    let media_type = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if !media_type.is_some_and(|media_type| media_type.starts_with(STREAM)) {
        return client::read(answer).await;
    }
    let mut events = Decoder::default();
    while let Some(chunk) = client::next_chunk(&mut answer).await? {
        for data in events.push(&chunk)? {
            match serde_json::from_str(&data).map_err(|cause| not_understood(&cause))? {
                DeployStep::Progress { message } => format.talk(words::faint(shown::line(&message))),
                DeployStep::Deployed { deployment } => return Ok(deployment),
                DeployStep::Refused { problem } => return Err(client.problem(&problem)),
            }
        }
    }
    Err(Error::failed("answer_cut", "the server ended the deploy without saying how")
        .help("see what runs with `evoke functions ls`"))
}

fn not_understood(cause: &serde_json::Error) -> Error {
    Error::failed("not_evoke", format!("the server's answer is not what was expected: {cause}"))
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
    show_routes(deployment, data_url)?;
    for warning in &deployment.warnings {
        output::line("")?;
        output::line(format_args!("{} {}", words::styled(words::BUSY, "warning:"), shown::line(warning)))?;
    }
    Ok(())
}

fn show_routes(deployment: &api::Deployment, data_url: Option<&str>) -> Result<()> {
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

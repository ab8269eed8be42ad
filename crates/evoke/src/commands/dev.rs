//! `evoke dev`: the server of `evoke serve`, and a deploy whenever a file of the app is saved.
//!
//! A change that cannot be deployed is shown, and what ran before still runs; it is tried again when a secret is set. Only a server that cannot start, or a
//! signal, ends it.

use std::path::{Path, PathBuf};

use evoke_core::egress::Cidr;
use evoke_core::id::FunctionName;
use evoke_core::limits::Limits;
use evoke_gateway::api::{AppList, Deployment, LogLine, Route};
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;

use super::{deploy, logs, serve as serving};
use crate::cli::{DevArgs, ListenArgs};
use crate::client::Client;
use crate::exit::{Exit, Result};
use crate::output::{self, Format, words};
use crate::pack::files;
use crate::serve::{self, Server};
use crate::signals::Signals;
use crate::watch::Watch;
use crate::{app_folder, context};

/// Serves the app in the folder until it is told to stop.
pub async fn run(args: DevArgs, format: Format) -> Result {
    let folder = app_folder::open(&args.dir)?;
    app_folder::expect_manifest(&folder)?;
    serve::log_to_stderr()?;
    let mut signals = Signals::listen()?;
    let data = args.data.unwrap_or_else(|| folder.join(context::DATA_FOLDER));
    let ListenArgs {
        listen,
        admin,
        grace,
        sandbox,
        mut egress_allow,
        ca_file,
        instances,
        instance_memory,
        call_threads,
        keep,
        edge,
    } = args.listen;
    if egress_allow.is_empty() {
        egress_allow = this_machine();
        format.talk(words::faint(
            "functions may connect to 127.0.0.1 where their egress list says so; `evoke serve` needs --egress-allow for that",
        ));
    }
    let options = serve::Options {
        data: data.clone(),
        listen,
        admin,
        grace,
        tell_failures: true,
        sandbox: sandbox.into(),
        egress_allow,
        ca_file,
        instances,
        instance_memory,
        call_threads,
        retention: keep.into(),
        edge,
    };
    let server = tokio::select! {
        started = Server::start(options) => started?,
        () = signals.next() => return Ok(Exit::Done),
    };
    serving::announce(&server, format);
    let client = context::own_client(server.listeners(), &data)?;
    let ended = tokio::select! {
        ended = deploy_when_saved(folder, &client, server.secrets(), format) => ended,
        ended = print_logs(&server, format) => ended,
        error = server.failed() => Err(error),
        () = signals.next() => Ok(Exit::Done),
    };
    let stopped = serving::stop(server, grace, &mut signals, format).await;
    ended.and(stopped)
}

/// Where the services of somebody who develops are.
fn this_machine() -> Vec<Cidr> {
    ["127.0.0.0/8", "::1"].into_iter().filter_map(|range| range.parse().ok()).collect()
}

/// Returns only when nobody reads what it prints. `secrets` tells when one is set, which may be what was missing.
async fn deploy_when_saved(
    folder: PathBuf,
    client: &Client,
    mut secrets: watch::Receiver<u64>,
    format: Format,
) -> Result {
    let mut watch = Watch::start()?;
    let running = left_from_before(client).await?;
    let mut app = App { folder, client, running, shown: None, broken: false };
    loop {
        // Watched before it is read, so that no change falls in between.
        secrets.mark_unchanged();
        if let Err(error) = follow(&mut watch, &app.folder) {
            format.failed(&error);
        }
        let deployed = app.deploy(format).await;
        let broken = deployed.is_err();
        match deployed {
            Ok(Some(deployment)) => app.show(deployment, format)?,
            Ok(None) if app.broken => format.talk(words::faint("back to what runs")),
            Ok(None) => {}
            Err(ref error) => {
                format.failed(error);
                format.talk(words::faint(match &app.running {
                    Some(running) => {
                        format!("version {} keeps running; waiting for the next change", running.version)
                    }
                    None => "nothing of it runs yet; waiting for the next change".to_owned(),
                }));
            }
        }
        app.broken = broken;
        tokio::select! {
            () = watch.changed() => {}
            Ok(()) = secrets.changed(), if broken => {}
        }
    }
}

/// What the data folder has of an earlier time. It is deployed anew in any case: the machine may be another.
async fn left_from_before(client: &Client) -> Result<Option<Running>> {
    let list: AppList = client.get(&["apps"], &[]).await?;
    Ok(list.apps.first().map(|app| Running { digest: String::new(), version: app.version }))
}

fn follow(watch: &mut Watch, folder: &Path) -> Result<()> {
    match files::find(folder, Limits::default().bundle_files) {
        Ok(found) => watch.follow(found.folders),
        // The deploy that follows reads the same files, and says what is wrong with them.
        Err(_) => watch.follow([folder.to_owned()]),
    }
}

struct App<'a> {
    folder: PathBuf,
    client: &'a Client,
    /// What was deployed last.
    running: Option<Running>,
    /// What was shown last.
    shown: Option<Parts>,
    /// What was tried after that could not be deployed.
    broken: bool,
}

/// What an app is made of.
#[derive(PartialEq)]
struct Parts {
    functions: Vec<FunctionName>,
    routes: Vec<Route>,
}

struct Running {
    /// Of the tar; empty when it was not packed here.
    digest: String,
    version: u64,
}

impl App<'_> {
    /// Deploys the folder; `None` when its files are those that run.
    async fn deploy(&mut self, format: Format) -> Result<Option<Deployment>> {
        let bundle = deploy::bundle(&self.folder, format).await?;
        if self.running.as_ref().is_some_and(|running| running.digest == bundle.digest) {
            return Ok(None);
        }
        let name = app_folder::manifest(&self.folder)?.app;
        // Whoever saves a file wants to see what it does.
        let unwatched = [("watch", "false".to_owned())];
        let deployment =
            deploy::send(self.client, name.as_str(), (&self.folder, &bundle), &unwatched, format).await?;
        self.running = Some(Running { digest: bundle.digest, version: deployment.version });
        Ok(Some(deployment))
    }

    /// Says that it runs; and what it is made of, unless that is as it was.
    fn show(&mut self, deployment: Deployment, format: Format) -> Result<()> {
        if format.is_json() {
            let mut value = deploy::describe(&deployment, self.client.data_url());
            value["kind"] = "deployed".into();
            return Ok(output::json(&value)?);
        }
        format.talk(format_args!(
            "{} {} version {}",
            words::good("deployed"),
            deployment.app,
            deployment.version
        ));
        let parts = Parts {
            functions: deployment.revisions.keys().cloned().collect(),
            routes: deployment.routes.clone(),
        };
        if self.shown.as_ref() != Some(&parts) {
            deploy::show(&deployment, self.client.data_url())?;
        }
        self.shown = Some(parts);
        Ok(())
    }
}

/// Prints what functions write. Returns only when nobody reads it, or the server has ended.
async fn print_logs(server: &Server, format: Format) -> Result {
    let mut lines = server.tail_logs();
    loop {
        match lines.recv().await {
            Ok(line) if format.is_json() => {
                output::json(&json!({ "kind": "log", "line": LogLine::from((0, line)) }))?
            }
            Ok(line) => logs::print(&LogLine::from((0, line)), format)?,
            Err(RecvError::Lagged(missed)) => {
                format.talk(words::faint(format_args!(
                    "{missed} log lines came too fast to be shown; see `evoke logs`"
                )));
            }
            Err(RecvError::Closed) => return Ok(Exit::Done),
        }
    }
}

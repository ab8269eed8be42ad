//! `evoke routes promote`: on the server first, where it counts at once; then the change of `evoke.toml` that says the same.

use std::path::{Path, PathBuf};

use evoke_core::id::{FunctionName, VariantName};
use evoke_core::manifest::Manifest;
use evoke_gateway::api::{PromotionChange, PromotionOrder};
use reqwest::Method;
use serde_json::json;
use similar::TextDiff;

use super::change::{self, NoChange};
use crate::app_folder::{self, MANIFEST_FILE};
use crate::cli::PromoteArgs;
use crate::client;
use crate::context;
use crate::exit::{Error, Exit, Result};
use crate::output::{self, Format, words};

/// What `evoke.toml` has to become.
struct Change {
    path: PathBuf,
    before: String,
    after: String,
}

/// Promotes, and prints the change as a unified diff on stdout.
pub(super) async fn run(args: &PromoteArgs, format: Format) -> Result {
    let (experiment, variant) = match args.variant.split_once('/') {
        Some((experiment, variant)) => (Some(name(experiment)?), variant),
        None => (None, args.variant.as_str()),
    };
    let variant = VariantName::new(variant).map_err(|cause| Error::usage(cause.to_string()))?;
    let folder = folder(args)?;
    if args.dry_run {
        let folder = folder.ok_or_else(no_folder)?;
        let manifest = app_folder::manifest(&folder)?;
        let changed = change(&folder, &manifest, &args.route, experiment.as_ref(), &variant);
        let diff = diff(&changed?);
        if format.is_json() {
            output::json(&json!({ "diff": diff, "applied": false }))?;
        } else {
            output::raw(diff.as_bytes())?;
        }
        return Ok(Exit::Done);
    }
    let (app, client) = match &folder {
        Some(folder) if args.app.app.is_none() => {
            (app_folder::manifest(folder)?.app, context::client(&args.app.server, folder)?)
        }
        _ => context::app_and_client(&args.app)?,
    };
    let order = PromotionOrder { variant: variant.clone(), experiment };
    let request = client.request(Method::PUT, &["apps", app.as_str(), "routes", &args.route, "promotion"]);
    let done: PromotionChange = client::read(client.send(request.json(&order)).await?).await?;
    let route = &done.route;
    format.talk(format_args!(
        "{} {route}: {variant} is the only variant of {} now; `evoke routes demote {}` undoes it",
        words::good("promoted"),
        done.experiment.as_ref().map_or("its experiment", FunctionName::as_str),
        quoted(route),
    ));
    let local = match &folder {
        None => Err(no_folder()),
        Some(folder) => match app_folder::manifest(folder) {
            Ok(manifest) if manifest.app == app => {
                change(folder, &manifest, route, done.experiment.as_ref(), &variant)
            }
            Ok(_) => Err(no_folder()),
            Err(error) => Err(error),
        },
    };
    let (diff, applied) = match local {
        Ok(change) => {
            if args.apply {
                write(&change)?;
            }
            (Some(diff(&change)), args.apply)
        }
        // It was promoted all the same.
        Err(error) if args.apply => return Err(error),
        Err(error) => {
            format.talk(format_args!("{}: {}", words::faint("no change of evoke.toml"), error.message));
            (None, false)
        }
    };
    if format.is_json() {
        output::json(&json!({ "promotion": done, "diff": diff, "applied": applied }))?;
        return Ok(Exit::Done);
    }
    if let Some(diff) = &diff {
        output::raw(diff.as_bytes())?;
        format.talk(words::faint(match applied {
            true => "evoke.toml is changed: commit it, and deploy it when you like",
            false => "the change to commit; `evoke routes promote … --apply` makes it, or `… | patch -p1`",
        }));
    }
    Ok(Exit::Done)
}

fn name(text: &str) -> Result<FunctionName> {
    FunctionName::new(text).map_err(|cause| Error::usage(cause.to_string()))
}

/// The app's folder: the one that is named, or the nearest.
fn folder(args: &PromoteArgs) -> Result<Option<PathBuf>> {
    match &args.dir {
        Some(dir) => {
            let folder = app_folder::open(dir)?;
            app_folder::expect_manifest(&folder)?;
            Ok(Some(folder))
        }
        None => Ok(app_folder::nearest(&context::here()?)),
    }
}

fn no_folder() -> Error {
    Error::usage("the evoke.toml of the app is not here")
        .help("go to the app's folder, or name it with --dir")
}

/// A route as a word of the shell.
fn quoted(route: &str) -> String {
    if route.contains([' ', '{', '*']) { format!("'{route}'") } else { route.to_owned() }
}

fn change(
    folder: &Path,
    manifest: &Manifest,
    route: &str,
    experiment: Option<&FunctionName>,
    variant: &VariantName,
) -> Result<Change> {
    let path = folder.join(MANIFEST_FILE);
    let before = std::fs::read_to_string(&path)
        .map_err(|cause| Error::usage(format!("{} cannot be read: {cause}", path.display())))?;
    let after = change::promote(&before, manifest, route, experiment, variant).map_err(|cause| {
        let exit = if matches!(cause, NoChange::Broken(_)) { Exit::Failed } else { Exit::NotFound };
        Error::new(exit, "no_change", cause.to_string())
    })?;
    // What is handed out has to be something that can be deployed.
    app_folder::check(folder, &after)?;
    Ok(Change { path, before, after })
}

fn diff(change: &Change) -> String {
    let names = [format!("a/{MANIFEST_FILE}"), format!("b/{MANIFEST_FILE}")];
    TextDiff::from_lines(&change.before, &change.after)
        .unified_diff()
        .header(&names[0], &names[1])
        .to_string()
}

/// Replaces the file as a whole.
fn write(change: &Change) -> Result<()> {
    std::fs::write(&change.path, &change.after).map_err(|cause| {
        Error::failed("not_written", format!("{} cannot be written: {cause}", change.path.display()))
    })
}

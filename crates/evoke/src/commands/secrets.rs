//! `evoke secrets`: values go in and are never shown again.

use std::io::Read;
use std::path::Path;

use evoke_core::time::Clock as _;
use evoke_gateway::api::SecretList;
use reqwest::Method;
use serde_json::json;

use crate::cli::SecretsVerb;
use crate::clock::SystemClock;
use crate::context;
use crate::exit::{Error, Exit, Result};
use crate::output::table::{Cell, Table};
use crate::output::{self, Format, words};

/// Bytes that are read at most; the server has its own, lower limit.
const BYTES_MAX: u64 = 1 << 20;

/// Lists, sets or removes.
pub async fn run(verb: SecretsVerb, format: Format) -> Result {
    match verb {
        SecretsVerb::Ls { app } => {
            let (app, client) = context::app_and_client(&app)?;
            let list: SecretList = client.get(&["apps", app.as_str(), "secrets"], &[]).await?;
            if format.is_json() { output::json(&list)? } else { show(&list)? }
        }
        SecretsVerb::Set { name, from, app } => {
            let (app, client) = context::app_and_client(&app)?;
            let value = read(from.as_deref(), format)?;
            let path = ["apps", app.as_str(), "secrets", name.as_str()];
            let request = client.request(Method::PUT, &path).header("content-type", "text/plain").body(value);
            client.send(request).await?;
            done("set", &name, format)?;
        }
        SecretsVerb::Rm { name, app } => {
            let (app, client) = context::app_and_client(&app)?;
            let path = ["apps", app.as_str(), "secrets", name.as_str()];
            client.send(client.request(Method::DELETE, &path)).await?;
            done("removed", &name, format)?;
        }
    }
    Ok(Exit::Done)
}

fn read(from: Option<&Path>, format: Format) -> Result<Vec<u8>> {
    let mut value = Vec::new();
    let (name, read) = match from {
        Some(path) => {
            let file = std::fs::File::open(path);
            let read = file.and_then(|file| file.take(BYTES_MAX).read_to_end(&mut value));
            (path.display().to_string(), read)
        }
        None => {
            if std::io::IsTerminal::is_terminal(&std::io::stdin()) {
                format.talk("type the value, then Enter and Ctrl-D");
            }
            ("standard input".to_owned(), std::io::stdin().lock().take(BYTES_MAX).read_to_end(&mut value))
        }
    };
    read.map_err(|cause| Error::usage(format!("{name} cannot be read: {cause}")))?;
    // The line end is the editor's or the keyboard's, not the secret's.
    if value.ends_with(b"\n") {
        value.pop();
        if value.ends_with(b"\r") {
            value.pop();
        }
    }
    if value.is_empty() {
        return Err(
            Error::usage("the secret is empty").help("give it on standard input, or with --from FILE")
        );
    }
    Ok(value)
}

fn show(list: &SecretList) -> Result<()> {
    let now = SystemClock.now();
    let mut table = Table::new(&["SECRET", "SET", "STATE"]);
    for secret in &list.secrets {
        let state = if secret.unreadable { "cannot be opened: set it again" } else { "" };
        table.row([
            Cell::styled(secret.name.as_str(), words::NAME),
            words::age(secret.set_at.0, now).into(),
            Cell::styled(state, words::BAD),
        ]);
    }
    Ok(table.print("the app has no secrets")?)
}

fn done(what: &str, name: &str, format: Format) -> Result<()> {
    if format.is_json() {
        return Ok(output::json(&json!({ "secret": name, "done": what }))?);
    }
    format.talk(format_args!("{what} {name}"));
    Ok(())
}

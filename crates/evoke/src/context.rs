//! Which server, which app: what the options leave open is found in the folder one stands in and those above it.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use evoke_core::id::AppName;
use evoke_gateway::auth::TOKEN_FILE;
use reqwest::Url;

use crate::app_folder;
use crate::cli::{AppArgs, ServerArgs};
use crate::client::Client;
use crate::exit::{Error, Result};
use crate::serve::Listeners;

/// The data folder when nobody says otherwise.
pub const DATA_FOLDER: &str = ".evoke";

const ADMIN_DEFAULT: &str = "http://127.0.0.1:7071";

/// A server to talk to, as seen from `from`.
pub fn client(args: &ServerArgs, from: &Path) -> Result<Client> {
    find_client(args, from, token_of_environment())
}

fn find_client(args: &ServerArgs, from: &Path, token: Option<String>) -> Result<Client> {
    // An app may lie anywhere: then it is the server of the folder one stands in.
    let near = || nearest_data_folder(from).or_else(|| nearest_data_folder(&here().ok()?));
    let folder = args.data_dir.clone().or_else(near);
    let listeners = folder.as_deref().and_then(Listeners::read);
    let told = args.admin.clone();
    let local = listeners.as_ref().map(|listeners| listeners.admin.clone());
    let admin = told.clone().or(local).unwrap_or_else(|| ADMIN_DEFAULT.to_owned());
    let base = parse_admin(&admin)?;
    // The token of a local server is not for others: it is sent to this machine, or wherever it was asked for by name.
    let may_use_file = args.data_dir.is_some() || told.is_none() || is_loopback(&base);
    let token = match (token, &folder) {
        (Some(token), _) => Some(token),
        (None, Some(folder)) if may_use_file => read_token(folder, args.data_dir.is_some())?,
        _ => None,
    };
    let data =
        listeners.filter(|listeners| same_server(&listeners.admin, &base)).map(|listeners| listeners.data);
    Client::new(base, token, data)
}

/// The server this process runs itself, with its own token whatever the environment says.
pub fn own_client(listeners: &Listeners, data: &Path) -> Result<Client> {
    Client::new(parse_admin(&listeners.admin)?, read_token(data, true)?, Some(listeners.data.clone()))
}

/// The app meant by `--app`, or by the nearest `evoke.toml`.
pub fn app(args: &AppArgs) -> Result<AppName> {
    if let Some(name) = &args.app {
        return AppName::new(name).map_err(|cause| Error::usage(cause.to_string()));
    }
    let here = here()?;
    let folder = app_folder::nearest(&here).ok_or_else(|| {
        Error::usage(format!("no app is named, and there is no evoke.toml in {} or above", here.display()))
            .help("name it with --app, or go to the app's folder")
    })?;
    Ok(app_folder::manifest(&folder)?.app)
}

/// The app and the server of a command.
pub fn app_and_client(args: &AppArgs) -> Result<(AppName, Client)> {
    Ok((app(args)?, client(&args.server, &here()?)?))
}

/// The folder one stands in.
pub fn here() -> Result<PathBuf> {
    std::env::current_dir()
        .map_err(|cause| Error::usage(format!("the current folder cannot be used: {cause}")))
}

fn nearest_data_folder(from: &Path) -> Option<PathBuf> {
    from.ancestors().map(|folder| folder.join(DATA_FOLDER)).find(|folder| folder.join(TOKEN_FILE).exists())
}

/// There is no option for it: others on the machine can read a command line.
fn token_of_environment() -> Option<String> {
    let token = std::env::var("EVOKE_TOKEN").ok()?;
    Some(token.trim().to_owned()).filter(|token| !token.is_empty())
}

/// `asked`: the folder was named by the user, so that a missing token is worth a word.
fn read_token(folder: &Path, asked: bool) -> Result<Option<String>> {
    let path = folder.join(TOKEN_FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound && !asked => Ok(None),
        Err(cause) => Err(Error::usage(format!("token file {} cannot be read: {cause}", path.display()))
            .help("start the server with this data folder once, or give the token in EVOKE_TOKEN")),
    }
}

fn parse_admin(text: &str) -> Result<Url> {
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let wrong = |why: &str| {
        Error::usage(format!("--admin {text:?} {why}"))
            .help("write it as http://HOST:PORT, such as http://127.0.0.1:7071")
    };
    let url = Url::parse(&with_scheme).map_err(|cause| wrong(&format!("is no URL: {cause}")))?;
    match url.scheme() {
        "http" if url.has_host() && matches!(url.path(), "" | "/") => Ok(url),
        "http" => Err(wrong("has more than a host and a port")),
        "https" => Err(Error::usage(format!(
            "--admin {text:?} asks for TLS, which the control listener does not speak"
        ))
        .help("reach it through a tunnel, such as ssh -L 7071:127.0.0.1:7071 HOST")),
        _ => Err(wrong("is not http")),
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn same_server(listener: &str, base: &Url) -> bool {
    let Ok(listener) = Url::parse(listener) else { return false };
    listener.port_or_known_default() == base.port_or_known_default()
        && (listener.host_str() == base.host_str() || (is_loopback(&listener) && is_loopback(base)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_scheme_is_http() {
        assert_eq!(parse_admin("10.0.0.7:7071").unwrap().as_str(), "http://10.0.0.7:7071/");
        assert_eq!(parse_admin("localhost:1").unwrap().as_str(), "http://localhost:1/");
    }

    #[test]
    fn what_cannot_be_an_admin_address_says_how_it_is_written() {
        for wrong in ["", "ftp://x", "http://x/v1", "http://"] {
            assert!(parse_admin(wrong).unwrap_err().help.unwrap().contains("http://HOST:PORT"), "{wrong}");
        }
        assert!(parse_admin("https://evoke.example").unwrap_err().help.unwrap().contains("ssh -L"));
    }

    #[test]
    fn a_local_token_is_not_sent_to_another_machine() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(DATA_FOLDER)).unwrap();
        std::fs::write(dir.path().join(DATA_FOLDER).join(TOKEN_FILE), "evoke_secret\n").unwrap();
        let token = |admin: &str| {
            let args = ServerArgs { admin: Some(admin.to_owned()), data_dir: None };
            let request =
                client(&args, dir.path()).unwrap().request(reqwest::Method::GET, &[]).build().unwrap();
            request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(token("127.0.0.1:7071").as_deref(), Some("Bearer evoke_secret"));
        assert_eq!(token("[::1]:7071").as_deref(), Some("Bearer evoke_secret"));
        assert_eq!(token("203.0.113.5:7071"), None);
    }
}

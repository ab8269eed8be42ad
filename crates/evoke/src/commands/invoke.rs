//! `evoke invoke`: a direct call of one function, past all routes.

use evoke_core::id::FunctionName;
use evoke_gateway::api::{Later, RUN_HEADER, VERSION_HEADER};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Map, Value, json};

use super::payload;
use crate::cli::InvokeArgs;
use crate::client::{self, Client};
use crate::context;
use crate::exit::{Error, Exit, Result};
use crate::output::{self, Format, shown, words};

/// Calls the function and prints its answer.
pub async fn run(args: InvokeArgs, format: Format) -> Result {
    let (app, client) = context::app_and_client(&args.app)?;
    let (function, version) = match args.function.split_once('@') {
        Some((function, version)) => (function, Some(version)),
        None => (args.function.as_str(), None),
    };
    let function = FunctionName::new(function).map_err(|cause| Error::usage(cause.to_string()))?;
    let mut request = request(&client, app.as_str(), function.as_str(), &args)?;
    if let Some(version) = version {
        request = request.header(VERSION_HEADER, version);
    }
    if args.later {
        let answer = client.send(request.header("prefer", "respond-async")).await?;
        return accepted(client::read(answer).await?, format);
    }
    let answer = client.send_any(request).await?;
    if client::is_problem(&answer) {
        return Err(client.refusal(answer).await);
    }
    let (status, run) = (answer.status(), run_of(&answer));
    if format.is_json() {
        output::json(&whole(answer).await?)?;
    } else {
        stream(answer).await?;
    }
    if status.is_client_error() || status.is_server_error() {
        format
            .talk(format_args!("{}: function {function} answered {status} (run {run})", words::bad("error")));
        return Ok(Exit::Failed);
    }
    Ok(Exit::Done)
}

fn request(client: &Client, app: &str, function: &str, args: &InvokeArgs) -> Result<RequestBuilder> {
    let body = args.data.as_deref().map(|data| payload::read("--data", data)).transpose()?;
    let method = match &args.method {
        Some(method) => Method::from_bytes(method.to_ascii_uppercase().as_bytes())
            .map_err(|_| Error::usage(format!("--method {method:?} is no HTTP method")))?,
        None if body.is_some() => Method::POST,
        None => Method::GET,
    };
    let mut url = client.url(&["apps", app, "functions", function, "invoke"]);
    let (path, query) = match args.path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (args.path.as_str(), None),
    };
    if !path.starts_with('/') {
        return Err(Error::usage(format!("--path {:?} does not start with /", args.path)));
    }
    if path.split('/').any(|segment| matches!(segment, "." | "..")) {
        // A URL has no such segments: they would be resolved here, before the function could see them.
        return Err(Error::usage(format!("--path {:?} has a segment . or ..", args.path)));
    }
    if path != "/" {
        url.set_path(&format!("{}{path}", url.path()));
    }
    url.set_query(query);
    let mut request = client.at(method, url);
    let mut has_type = false;
    for header in &args.headers {
        let (name, value) = parse_header(header)?;
        if name == AUTHORIZATION {
            return Err(Error::usage(
                "--header: authorization is for the control listener, and is not passed on",
            )
            .help("a request to the data listener carries it: curl -H 'Authorization: …'"));
        }
        has_type |= name == CONTENT_TYPE;
        request = request.header(name, value);
    }
    if let Some(body) = body {
        if !has_type {
            request = request.header(CONTENT_TYPE, guess_type(&body));
        }
        request = request.body(body);
    }
    Ok(request)
}

fn parse_header(text: &str) -> Result<(HeaderName, HeaderValue)> {
    let wrong = || Error::usage(format!("--header {text:?} is not NAME: VALUE"));
    let (name, value) = text.split_once(':').ok_or_else(wrong)?;
    let name = name.trim().parse().map_err(|_| wrong())?;
    let value = HeaderValue::from_str(value.trim()).map_err(|_| wrong())?;
    Ok((name, value))
}

/// JSON if it is, else text if it is.
fn guess_type(body: &[u8]) -> &'static str {
    if serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok() {
        return "application/json";
    }
    if std::str::from_utf8(body).is_ok() { "text/plain; charset=utf-8" } else { "application/octet-stream" }
}

fn accepted(later: Later, format: Format) -> Result {
    if format.is_json() {
        output::json(&later)?;
    } else {
        output::line(&later.run)?;
        let before = if later.duplicate { " before" } else { "" };
        format.talk(format_args!(
            "accepted{before}; see what becomes of it with `evoke runs get {}`",
            later.run
        ));
    }
    Ok(Exit::Done)
}

/// The body as it comes. A pipe gets exactly the body; a terminal gets what does it no harm, and a line end.
pub async fn stream(mut answer: Response) -> Result<()> {
    if !output::stdout_is_terminal() {
        while let Some(chunk) = client::next_chunk(&mut answer).await? {
            output::raw(&chunk)?;
        }
        return Ok(());
    }
    let (mut parts, mut last) = (shown::Parts::default(), None);
    while let Some(chunk) = client::next_chunk(&mut answer).await? {
        output::raw(parts.next(&chunk).as_bytes())?;
        last = chunk.last().copied().or(last);
    }
    output::raw(parts.rest().as_bytes())?;
    // A prompt on the same line helps nobody.
    if last.is_some_and(|byte| byte != b'\n') {
        output::raw(b"\n")?;
    }
    Ok(())
}

/// `{status, headers, body, run}`; the body is a JSON value, a text, or base64 in `body_base64`.
pub async fn whole(answer: Response) -> Result<Value> {
    let (status, run): (StatusCode, String) = (answer.status(), run_of(&answer));
    let mut headers = Map::new();
    for (name, value) in answer.headers() {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        match headers.get_mut(name.as_str()) {
            Some(Value::String(all)) => all.extend([", ", &value]),
            _ => drop(headers.insert(name.to_string(), Value::String(value))),
        }
    }
    let content_type = headers.get("content-type").and_then(Value::as_str).unwrap_or_default().to_owned();
    let body = client::collect(answer).await?;
    let mut all = json!({ "status": status.as_u16(), "headers": headers, "run": run });
    let (key, body) = if body.is_empty() {
        ("body", Value::Null)
    } else {
        match (is_json(&content_type).then(|| serde_json::from_slice(&body)), std::str::from_utf8(&body)) {
            (Some(Ok(value)), _) => ("body", value),
            (_, Ok(text)) => ("body", text.into()),
            _ => ("body_base64", base64(&body).into()),
        }
    };
    all[key] = body;
    Ok(all)
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence.ends_with("+json")
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn run_of(answer: &Response) -> String {
    answer.headers().get(RUN_HEADER).and_then(|run| run.to_str().ok()).unwrap_or_default().to_owned()
}

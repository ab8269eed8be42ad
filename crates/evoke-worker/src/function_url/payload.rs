//! A request as payload format 2.0.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use evoke_core::runtime::Request;
use evoke_core::time::Timestamp;
use http::{HeaderMap, Uri, header};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use url::form_urlencoded;

use crate::frame::message::latin1;

const ROUTE: &str = "$default";
/// Media types that are text besides `text/…`, `…+json` and `…+xml`.
const TEXT_TYPES: [&str; 5] = [
    "application/json",
    "application/javascript",
    "application/xml",
    "application/x-www-form-urlencoded",
    "application/graphql",
];

/// What is invoked, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Invoked<'a> {
    pub function: &'a str,
    pub run: &'a str,
    pub at: Timestamp,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Payload<'a> {
    version: &'static str,
    route_key: &'static str,
    raw_path: &'a str,
    raw_query_string: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cookies: Vec<String>,
    headers: BTreeMap<&'a str, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    query_string_parameters: BTreeMap<Cow<'a, str>, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    path_parameters: BTreeMap<&'a str, &'a str>,
    request_context: Context<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Cow<'a, str>>,
    is_base64_encoded: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Context<'a> {
    account_id: &'static str,
    api_id: &'a str,
    authentication: Option<()>,
    authorizer: Option<()>,
    domain_name: &'a str,
    domain_prefix: &'a str,
    http: Http<'a>,
    request_id: &'a str,
    route_key: &'static str,
    stage: &'static str,
    time: String,
    time_epoch: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Http<'a> {
    method: &'a str,
    path: &'a str,
    protocol: &'static str,
    source_ip: &'a str,
    user_agent: String,
}

/// The payload as JSON. `body` is all of the request's.
pub(crate) fn payload(request: &Request, body: &[u8], invoked: Invoked<'_>) -> Vec<u8> {
    let uri: Uri = request.uri.parse().unwrap_or_default();
    let path = percent_decode_str(uri.path()).decode_utf8().unwrap_or(Cow::Borrowed(uri.path()));
    let domain = uri.host().unwrap_or_default();
    let query = uri.query().unwrap_or_default();
    let mut query_string_parameters = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        append(&mut query_string_parameters, name, &value);
    }
    let (headers, cookies) = fields(&request.headers);
    let (body, is_base64_encoded) = match body {
        [] => (None, false),
        bytes => encode(bytes, headers.get("content-type").map(String::as_str)),
    };
    let payload = Payload {
        version: "2.0",
        route_key: ROUTE,
        raw_path: &path,
        raw_query_string: query,
        cookies,
        query_string_parameters,
        path_parameters: request.params.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
        request_context: Context {
            account_id: "anonymous",
            api_id: invoked.function,
            authentication: None,
            authorizer: None,
            domain_name: domain,
            domain_prefix: domain.split('.').next().unwrap_or_default(),
            http: Http {
                method: request.method.as_str(),
                path: &path,
                protocol: "HTTP/1.1",
                source_ip: request.client.as_deref().map(address).unwrap_or_default(),
                user_agent: headers.get("user-agent").cloned().unwrap_or_default(),
            },
            request_id: invoked.run,
            route_key: ROUTE,
            stage: ROUTE,
            time: lambda_time(invoked.at),
            time_epoch: invoked.at.as_millis(),
        },
        headers,
        body,
        is_base64_encoded,
    };
    serde_json::to_vec(&payload).expect("all keys are strings")
}

/// Fields of one name become one, and cookies are told apart from them.
fn fields(map: &HeaderMap) -> (BTreeMap<&str, String>, Vec<String>) {
    let (mut headers, mut cookies) = (BTreeMap::new(), Vec::new());
    for (name, value) in map {
        let value = latin1(value.as_bytes());
        if name == header::COOKIE {
            cookies.extend(value.split("; ").map(str::to_owned));
        } else {
            append(&mut headers, name.as_str(), &value);
        }
    }
    (headers, cookies)
}

fn append<K: Ord>(map: &mut BTreeMap<K, String>, name: K, value: &str) {
    map.entry(name)
        .and_modify(|all| {
            all.push(',');
            all.push_str(value);
        })
        .or_insert_with(|| value.to_owned());
}

/// A body as text where its type says that it is and it is; the bytes are kept in any case.
fn encode<'a>(body: &'a [u8], content_type: Option<&str>) -> (Option<Cow<'a, str>>, bool) {
    let media = content_type.unwrap_or("text/").split(';').next().unwrap_or_default();
    let media = media.trim().to_ascii_lowercase();
    let is_text = media.starts_with("text/")
        || TEXT_TYPES.contains(&media.as_str())
        || media.ends_with("+json")
        || media.ends_with("+xml");
    match std::str::from_utf8(body) {
        Ok(text) if is_text => (Some(Cow::Borrowed(text)), false),
        _ => (Some(Cow::Owned(STANDARD.encode(body))), true),
    }
}

/// `192.0.2.1:80` or `[::1]:80` without the port.
fn address(client: &str) -> &str {
    match client.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, _)) => host,
        // More than one colon and no brackets: an IPv6 address without a port.
        None if client.matches(':').count() == 1 => client.split_once(':').map_or(client, |(host, _)| host),
        None => client,
    }
}

/// `21/Nov/2026:01:42:00 +0000`
fn lambda_time(at: Timestamp) -> String {
    let millis = i64::try_from(at.as_millis()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(millis)
        .map(|at| at.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string())
        .unwrap_or_default()
}

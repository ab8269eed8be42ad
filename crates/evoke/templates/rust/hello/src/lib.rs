//! One component for two functions: a request is greeted, an event is counted.

mod evoke;

use http::{Request, Response, StatusCode};
use serde_json::json;
use wasip3::http::types::{self, ErrorCode};
use wasip3::http_compat::{IncomingRequestBody, http_from_wasi_request, http_into_wasi_response};

wasip3::http::service::export!(App);

struct App;

impl wasip3::exports::http::handler::Guest for App {
    async fn handle(request: types::Request) -> Result<types::Response, ErrorCode> {
        let request = http_from_wasi_request(request)?;
        // An event is a request with its attributes in header fields.
        let answer = if request.headers().contains_key("ce-type") { tally(request).await } else { hello(request).await };
        http_into_wasi_response(answer?)
    }
}

async fn hello(request: Request<IncomingRequestBody>) -> Result<Response<String>, ErrorCode> {
    let query = request.uri().query().unwrap_or_default();
    let name = query.split('&').find_map(|pair| pair.strip_prefix("name=")).unwrap_or("world");

    // Leaves together with the answer, or not at all.
    evoke::publish(&json!({ "type": "greeted", "subject": name, "data": { "name": name } })).await?;

    let count = evoke::get(&format!("greeted/{name}")).await?.unwrap_or(0.into());
    let answer = json!({ "message": format!("Hello, {name}!"), "greetedBefore": count });
    let response = Response::builder().header("content-type", "application/json").body(answer.to_string());
    response.map_err(|cause| ErrorCode::InternalError(Some(cause.to_string())))
}

async fn tally(request: Request<IncomingRequestBody>) -> Result<Response<String>, ErrorCode> {
    let data = evoke::json_of(request.into_body()).await?;
    let name = data["name"].as_str().unwrap_or("somebody");

    // Counted exactly once: the write is committed together with the end of this delivery.
    let key = format!("greeted/{name}");
    let count = evoke::get(&key).await?.and_then(|count| count.as_u64()).unwrap_or(0) + 1;
    evoke::put(&key, &count.into()).await?;
    println!("{name} was greeted, {count} in all");

    // Any status of success says that the event has been dealt with.
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

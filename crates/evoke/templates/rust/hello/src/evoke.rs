//! The platform: events and key-value state, by plain HTTP to the address in `EVOKE_API`. No socket is involved.

use http::{Method, Request, Response, StatusCode};
use serde_json::Value;
use wasip3::http::client;
use wasip3::http::types::ErrorCode;
use wasip3::http_compat::{IncomingResponseBody, http_from_wasi_response, http_into_wasi_request};

/// Publishes an event, with the effects of this call.
pub async fn publish(event: &Value) -> Result<(), ErrorCode> {
    expect(ask(Method::POST, "/v1/events", "application/cloudevents+json", Some(event)).await?).map(drop)
}

/// The value of a key.
pub async fn get(key: &str) -> Result<Option<Value>, ErrorCode> {
    let answer = ask(Method::GET, &path(key), "application/json", None).await?;
    if answer.status() == StatusCode::NOT_FOUND {
        return Ok(None);
    }
    json_of(expect(answer)?.into_body()).await.map(Some)
}

/// Sets the value of a key, with the effects of this call.
pub async fn put(key: &str, value: &Value) -> Result<(), ErrorCode> {
    expect(ask(Method::PUT, &path(key), "application/json", Some(value)).await?).map(drop)
}

/// Reads a body of JSON.
pub async fn json_of<B>(body: B) -> Result<Value, ErrorCode>
where
    B: http_body_util::BodyExt,
    B::Error: std::fmt::Debug,
{
    let bytes = body.collect().await.map_err(|cause| failed(format!("{cause:?}")))?.to_bytes();
    serde_json::from_slice(&bytes).map_err(|cause| failed(cause.to_string()))
}

fn path(key: &str) -> String {
    format!("/v1/kv/default/{}", key.replace('%', "%25").replace('/', "%2F"))
}

async fn ask(
    method: Method,
    path: &str,
    content_type: &str,
    body: Option<&Value>,
) -> Result<Response<IncomingResponseBody>, ErrorCode> {
    let address = std::env::var("EVOKE_API").map_err(|cause| failed(cause.to_string()))?;
    let body = body.map(Value::to_string).unwrap_or_default();
    let request = Request::builder().method(method).uri(address + path).header("content-type", content_type);
    let request = request.body(body).map_err(|cause| failed(cause.to_string()))?;
    http_from_wasi_response(client::send(http_into_wasi_request(request)?).await?)
}

fn expect<T>(answer: Response<T>) -> Result<Response<T>, ErrorCode> {
    match answer.status().is_success() {
        true => Ok(answer),
        false => Err(failed(format!("the platform answered {}", answer.status()))),
    }
}

fn failed(why: String) -> ErrorCode {
    ErrorCode::InternalError(Some(why))
}

//! A function on the unmodified client `lambda_runtime`: what the tests run as the bootstrap of a function.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream::{self, Iter};
use lambda_runtime::{
    Error, FunctionResponse, LambdaEvent, MetadataPrelude, StreamResponse, run, service_fn,
};
use serde_json::{Value, json};

type Parts = Iter<std::vec::IntoIter<Result<Bytes, Infallible>>>;
type Answer = FunctionResponse<Value, Parts>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    if std::env::var_os("BROKEN").is_some() {
        return Err("the table of prices cannot be read".into());
    }
    run(service_fn(handle)).await
}

async fn handle(event: LambdaEvent<Value>) -> Result<Answer, Error> {
    let LambdaEvent { payload, context } = event;
    if payload["specversion"].is_string() {
        let seen = json!({ "type": "seen", "data": payload["data"] });
        return Ok(FunctionResponse::BufferedResponse(seen));
    }
    match payload["rawPath"].as_str() {
        Some("/fail") => Err("no such order".into()),
        Some("/stream") => Ok(FunctionResponse::StreamingResponse(streamed())),
        path => Ok(FunctionResponse::BufferedResponse(json!({
            "path": path,
            "run": context.request_id,
            "function": context.env_config.function_name,
            "memory": context.env_config.memory,
        }))),
    }
}

fn streamed() -> StreamResponse<Parts> {
    let mut metadata_prelude = MetadataPrelude { cookies: vec!["a=1".to_owned()], ..Default::default() };
    metadata_prelude.headers.insert("content-type", "text/plain".parse().expect("ASCII is a value"));
    let parts: Vec<_> = (0..100).map(|at| Ok(Bytes::from(format!("{at:04}")))).collect();
    StreamResponse { metadata_prelude, stream: stream::iter(parts) }
}

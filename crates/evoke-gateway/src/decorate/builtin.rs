//! Decorators that Evoke brings along: no process, no run. Each is in a file of its own; what they keep
//! between requests is in [`Keep`](crate::keep::Keep).

mod body;
mod cache;
mod check;
mod defaults;
mod fields;
mod rate;
mod schema;

use std::sync::Arc;

use axum::body::Body as HttpBody;
use axum::response::Response;
use evoke_core::decorator::BuiltIn;
use evoke_core::experiment::Copied;
use evoke_core::id::FunctionName;
use evoke_engine::next::Onward;
use http::Request;

use super::Line;
use crate::problem::Refusal;
pub(crate) use cache::{Behind, Cached, Memory};
pub(crate) use rate::Limiter;
pub(crate) use schema::Compiled;

/// Passes a request through decorator `at` of the line, the built-in `rule`.
pub(super) async fn answer(
    line: &Arc<Line>,
    at: usize,
    (name, rule): (&FunctionName, &BuiltIn),
    mut request: Request<HttpBody>,
    from: Option<Onward>,
) -> Result<Response, Refusal> {
    let next = |request| line.clone().go(at + 1, request, from);
    match rule {
        BuiltIn::Headers { request: changes, response } => {
            fields::change(changes, request.headers_mut());
            let mut answer = next(request).await?;
            fields::change(response, answer.headers_mut());
            Ok(answer)
        }
        BuiltIn::Defaults(members) => {
            let (request, _held) = defaults::fill(&line.shared, members, request).await?;
            next(request).await
        }
        BuiltIn::Schema(schema) => {
            let (request, _held) = schema::check(line, name, schema, request).await?;
            next(request).await
        }
        BuiltIn::MaxBody(bytes) => body::bound(*bytes, request, next).await,
        BuiltIn::Check(check) => {
            check::admit(line, check, &mut request)?;
            next(request).await
        }
        // A copy counts for nobody, asks what it was made to ask, and fills no cache.
        BuiltIn::Rate(_) | BuiltIn::Cache(_) if request.extensions().get::<Copied>().is_some() => {
            next(request).await
        }
        BuiltIn::Rate(rate) => {
            let of = (&line.route.app, name);
            let limiter = line.shared.limiters.of(&line.shared.engine, of, rate, || Limiter::new(rate));
            limiter.admit(name, rate, &request)?;
            next(request).await
        }
        BuiltIn::Cache(bytes) => cache::answer(line, (name, *bytes), request, next).await,
    }
}

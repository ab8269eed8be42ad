//! Decorators that Evoke brings along: no process, no run. Each is in a file of its own; this one finds it, and keeps what it
//! needs between requests.

mod body;
mod check;
mod defaults;
mod fields;
mod rate;

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Body as HttpBody;
use axum::response::Response;
use evoke_core::decorator::{BuiltIn, Rate};
use evoke_core::id::{AppName, FunctionName};
use evoke_engine::next::Onward;
use http::Request;
use parking_lot::Mutex;

use super::Line;
use crate::gateway::Shared;
use crate::problem::Refusal;
pub(crate) use rate::Limiter;

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
        BuiltIn::MaxBody(bytes) => body::bound(*bytes, request, next).await,
        BuiltIn::Check(check) => {
            check::admit(line, check, &mut request)?;
            next(request).await
        }
        BuiltIn::Rate(rate) => {
            line.shared.limiter(&line.route.app, name, rate).admit(name, rate, &request)?;
            next(request).await
        }
    }
}

/// The counts of all rates that are deployed.
pub(crate) type Limiters = Mutex<HashMap<(AppName, FunctionName), (Rate, Arc<Limiter>)>>;

impl Shared {
    /// That of a decorator as it is deployed now. It goes on when the app is deployed again with the same rate.
    fn limiter(&self, app: &AppName, name: &FunctionName, rate: &Rate) -> Arc<Limiter> {
        let mut limiters = self.limiters.lock();
        let key = (app.clone(), name.clone());
        if let Some((_, limiter)) = limiters.get(&key).filter(|(of, _)| of == rate) {
            return limiter.clone();
        }
        let is_deployed = |app: &AppName, name: &FunctionName| {
            self.engine.app(app).is_some_and(|app| app.manifest.decorators.contains_key(name))
        };
        limiters.retain(|(app, name), _| is_deployed(app, name));
        let limiter = Arc::new(Limiter::new(rate));
        limiters.insert(key, (rate.clone(), limiter.clone()));
        limiter
    }
}

//! The control listener: `/v1` behind the token, and the little that needs none. One file per noun.
//!
//! The router and the OpenAPI document are made from the same handlers, so that a path cannot be in one and not in the
//! other.

mod apps;
mod cancel;
mod dead_letters;
mod deploy;
mod document;
mod ended;
mod events;
mod extract;
mod guard;
mod hooks;
mod invoke;
mod logs;
mod metrics;
mod order;
mod removal;
mod replays;
mod routes;
mod runs;
mod schedules;
mod secrets;
mod server;
mod subscriptions;
mod tree;
mod versions;
mod waits;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::any;
use http::{Method, Uri};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

use crate::gateway::Shared;
use crate::problem::{Refusal, kind};
pub use document::openapi;
pub(crate) use guard::Hosts;

/// All of the control listener.
pub(crate) fn router(shared: Arc<Shared>, hosts: Hosts) -> Router {
    let (router, _) = routes().split_for_parts();
    router
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(from_fn_with_state(shared.clone(), guard::check_token))
        .layer(from_fn_with_state(Arc::new(hosts), guard::check_host))
        .with_state(shared)
}

fn routes() -> OpenApiRouter<Arc<Shared>> {
    let invoke = any(invoke::invoke);
    let invoke_path = any(invoke::invoke_path);
    OpenApiRouter::new()
        .routes(routes!(server::health))
        .routes(routes!(server::ready))
        .routes(routes!(server::document))
        .routes(routes!(server::problem))
        .routes(routes!(metrics::metrics))
        .route("/openapi.json", axum::routing::get(server::document))
        .routes(routes!(apps::list))
        .routes(routes!(apps::get, removal::remove))
        .routes(routes!(removal::inventory))
        .routes(routes!(apps::functions))
        .routes(routes!(apps::function))
        .routes(routes!(apps::revisions))
        .routes(routes!(self::routes::list))
        .routes(routes!(self::routes::stats))
        .routes(routes!(self::routes::promote, self::routes::demote))
        .routes(routes!(schedules::list))
        .routes(routes!(waits::list))
        .routes(routes!(waits::cancel))
        .routes(routes!(deploy::deploy))
        .routes(routes!(versions::list))
        .routes(routes!(versions::roll_back))
        .routes(routes!(versions::canary, versions::weigh, versions::withdraw))
        .routes(routes!(versions::promote))
        .routes(routes!(invoke::invoke).map(|_| invoke))
        .routes(routes!(invoke::invoke_path).map(|_| invoke_path))
        .routes(routes!(events::list, events::publish))
        .routes(routes!(events::get))
        .routes(routes!(events::explain))
        .routes(routes!(events::delayed, events::cancel))
        .routes(routes!(replays::list, replays::begin))
        .routes(routes!(replays::preview))
        .routes(routes!(replays::get))
        .routes(routes!(replays::cancel))
        .routes(routes!(runs::list))
        .routes(routes!(runs::get))
        .routes(routes!(runs::tree))
        .routes(routes!(ended::result))
        .routes(routes!(cancel::one))
        .routes(routes!(cancel::several))
        .routes(routes!(logs::list))
        .routes(routes!(dead_letters::list))
        .routes(routes!(dead_letters::redrive))
        .routes(routes!(dead_letters::purge))
        .routes(routes!(subscriptions::list))
        .routes(routes!(subscriptions::pause))
        .routes(routes!(subscriptions::queues))
        .routes(routes!(subscriptions::resume))
        .routes(routes!(hooks::list))
        .routes(routes!(hooks::enable))
        .routes(routes!(hooks::test))
        .routes(routes!(secrets::list))
        .routes(routes!(secrets::set, secrets::remove))
}

async fn no_such_path(uri: Uri) -> Refusal {
    Refusal::new(kind::NOT_FOUND, format!("the control API has no path {}", uri.path()))
}

async fn no_such_method(method: Method, uri: Uri) -> Refusal {
    Refusal::new(kind::METHOD_NOT_ALLOWED, format!("the path {} does not take {method}", uri.path()))
}

//! A tar of files becomes what runs.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use evoke_core::id::AppName;
use evoke_engine::deploy::Deployed;
use http::StatusCode;
use http::header::LOCATION;

use super::extract::{Segments, media_type, unsupported};
use crate::api::{Deployment, Route};
use crate::body::whole;
use crate::gateway::Shared;
use crate::problem::{Refusal, draining};

const TAR: &str = "application/x-tar";

/// Deploys an app: every changed function is loaded once, then all switch at once.
#[utoipa::path(post, path = "/v1/apps/{app}/deployments", tag = "apps", operation_id = "deploy",
    params(("app" = String, Path)),
    request_body(content = Vec<u8>, content_type = "application/x-tar", description = "The app's files, `evoke.toml` at the top"),
    responses((status = 201, body = Deployment)))]
pub(super) async fn deploy(
    State(shared): State<Arc<Shared>>,
    Segments(app): Segments<AppName>,
    request: Request,
) -> Result<(StatusCode, [(http::HeaderName, String); 1], Json<Deployment>), Refusal> {
    let (parts, body) = request.into_parts();
    let found = media_type(&parts.headers);
    if found.as_deref() != Some(TAR) {
        return Err(unsupported(found.as_deref(), TAR));
    }
    let _place = shared.deployments.acquire().await.map_err(|_| draining())?;
    let bundle =
        whole(&parts.headers, body, shared.cap("bundle_bytes", shared.engine.limits().bundle_bytes)).await?;
    let Deployed { deployment, changed, removed } = Box::pin(shared.engine.deploy(&app, bundle)).await?;
    let answer = Deployment {
        version: deployment.version,
        deployed_at: deployment.deployed_at.into(),
        bundle: deployment.bundle.clone(),
        revisions: deployment.revisions.clone(),
        changed,
        removed,
        routes: deployment.manifest.routes.iter().map(Route::from).collect(),
        app,
    };
    let location = (LOCATION, format!("/v1/apps/{}", answer.app));
    Ok((StatusCode::CREATED, [location], Json(answer)))
}

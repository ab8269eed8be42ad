//! A tar of files becomes what runs.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use evoke_core::id::AppName;
use evoke_core::rollout::Portion;
use evoke_core::runtime::Progress;
use evoke_engine::deploy::{DeployOrder, Deployed};
use futures_util::Stream;
use futures_util::future::BoxFuture;
use futures_util::stream;
use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderValue, LOCATION};
use serde::Deserialize;
use tokio::sync::mpsc;
use utoipa::IntoParams;

use super::extract::{Params, Segments, invalid, media_type, unsupported, wants_stream};
use crate::api::{DeployStep, Deployment, Route};
use crate::body::whole;
use crate::gateway::Shared;
use crate::problem::{Refusal, draining};

const TAR: &str = "application/x-tar";
/// How often a stream with nothing to say shows that it is there.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How it is deployed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct How {
    /// Beside the current version, with this part of the work: `5%`.
    canary: Option<String>,
    /// `false`: it is not taken back by itself, whatever the manifest says of deployments.
    watch: Option<bool>,
}

impl How {
    fn order(self) -> Result<DeployOrder, Refusal> {
        let canary = self.canary.map(|text| text.parse::<Portion>()).transpose();
        let canary = canary.map_err(|error| invalid(format!("query: canary: {error}")))?;
        Ok(DeployOrder { canary, unwatched: self.watch == Some(false) })
    }
}

/// Deploys an app: packages are installed, every changed function is loaded once, then all switch at once.
///
/// With `Accept: text/event-stream` the answer is a stream, each event a `DeployStep`: any number of `progress`, then
/// `deployed`, or `refused` with what would have been the answer. A caller that goes away ends a deploy that has not
/// switched yet.
#[utoipa::path(post, path = "/v1/apps/{app}/deployments", tag = "apps", operation_id = "deploy",
    params(("app" = String, Path), How),
    request_body(content = Vec<u8>, content_type = "application/x-tar", description = "The app's files, `evoke.toml` at the top"),
    responses(
        (status = 201, body = Deployment),
        (status = 200, description = "How the deploy goes on", body = DeployStep, content_type = "text/event-stream")))]
pub(super) async fn deploy(
    State(shared): State<Arc<Shared>>,
    Segments(app): Segments<AppName>,
    Params(how): Params<How>,
    request: Request,
) -> Result<Response, Refusal> {
    let order = how.order()?;
    let (parts, body) = request.into_parts();
    let found = media_type(&parts.headers);
    if found.as_deref() != Some(TAR) {
        return Err(unsupported(found.as_deref(), TAR));
    }
    let place = shared.deployments.clone().acquire_owned().await.map_err(|_| draining())?;
    let bundle =
        whole(&parts.headers, body, shared.cap("bundle_bytes", shared.engine.limits().bundle_bytes)).await?;
    let engine = shared.engine.clone();
    let deploy = move |progress: Progress| async move {
        let _place = place;
        let deployed = Box::pin(engine.deploy_telling(&app, bundle, order, progress)).await;
        Ok::<_, Refusal>(answer(app, deployed?))
    };
    if wants_stream(&parts.headers) {
        let (progress, lines) = Progress::channel();
        let deploying = Box::pin(async move {
            match deploy(progress).await {
                Ok(deployment) => DeployStep::Deployed { deployment },
                Err(refusal) => DeployStep::Refused { problem: refusal.into_problem() },
            }
        });
        let events = Sse::new(follow(deploying, lines)).keep_alive(KeepAlive::new().interval(HEARTBEAT));
        return Ok(([(CACHE_CONTROL, HeaderValue::from_static("no-store"))], events).into_response());
    }
    let deployment = deploy(Progress::none()).await?;
    let location = (LOCATION, format!("/v1/apps/{}", deployment.app));
    Ok((StatusCode::CREATED, [location], Json(deployment)).into_response())
}

pub(super) fn answer(app: AppName, deployed: Deployed) -> Deployment {
    let Deployed { deployment, canary, watched_until, changed, removed, warnings } = deployed;
    Deployment {
        version: deployment.version,
        deployed_at: deployment.deployed_at.into(),
        bundle: deployment.bundle.clone(),
        revisions: deployment.revisions.clone(),
        changed,
        removed,
        canary: canary.map(|canary| canary.to_string()),
        back_to: deployment.back_to,
        watched_until: watched_until.map(Into::into),
        warnings,
        routes: deployment.manifest.routes.iter().map(Route::from).collect(),
        app,
    }
}

/// A deploy under way, which goes on as long as somebody reads.
struct Deploying {
    /// `None` when it has ended.
    work: Option<BoxFuture<'static, DeployStep>>,
    lines: mpsc::Receiver<String>,
    /// The last step, until the lines from before it are told.
    last: Option<DeployStep>,
}

impl Deploying {
    async fn next(&mut self) -> Option<DeployStep> {
        let progress = |message| DeployStep::Progress { message };
        if let Some(work) = &mut self.work {
            tokio::select! {
                biased;
                Some(message) = self.lines.recv() => return Some(progress(message)),
                last = work => self.last = Some(last),
            }
            self.work = None;
        }
        self.lines.try_recv().ok().map(progress).or_else(|| self.last.take())
    }
}

fn follow(
    work: BoxFuture<'static, DeployStep>,
    lines: mpsc::Receiver<String>,
) -> impl Stream<Item = Result<Event, Infallible>> {
    let deploying = Deploying { work: Some(work), lines, last: None };
    stream::unfold(deploying, |mut deploying| async move {
        let step = deploying.next().await?;
        let event = Event::default().event(match &step {
            DeployStep::Progress { .. } => "progress",
            DeployStep::Deployed { .. } => "deployed",
            DeployStep::Refused { .. } => "refused",
        });
        let event =
            event.json_data(&step).unwrap_or_else(|_| Event::default().comment("a step that is no JSON"));
        Some((Ok(event), deploying))
    })
}

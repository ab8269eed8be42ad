//! Routes: what was answered on them, and the end of an experiment.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use evoke_core::experiment::{Experiment, Share, Sticky};
use evoke_core::id::{AppName, FunctionName, VariantName};
use evoke_core::manifest::{self, Manifest, RouteTarget};
use evoke_engine::experiment::Promotion;
use http::HeaderMap;
use serde::Deserialize;

use super::extract::{Params, Segments, invalid, json};
use crate::api::{
    Counted, DifferenceSample, ExperimentState, ExperimentStats, Figures, LeftOutFigures, Promoted,
    PromotionChange, PromotionOrder, RouteList, RouteState, RouteStats, RouteStatsList, ShadowFigures,
    VariantState, VariantStats,
};
use crate::body::whole;
use crate::figures::{Key, LeftOut, MINUTES, Tally, Told};
use crate::gateway::Shared;
use crate::problem::{BODY_BYTES, Refusal, kind};

/// Bytes of what says what is to be promoted.
const ORDER_BYTES: u64 = 4 << 10;
/// Minutes of the window when the request does not say.
const MINUTES_DEFAULT: u64 = 5;

/// The routes of an app, with the experiments on them.
#[utoipa::path(get, path = "/v1/apps/{app}/routes", tag = "routes", operation_id = "list_routes",
    params(("app" = String, Path)), responses((status = 200, body = RouteList)))]
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Segments(app): Segments<AppName>,
) -> Result<Json<RouteList>, Refusal> {
    let deployment = shared.app(&app)?;
    let promotions = shared.engine.promotions(&app);
    let view = View { manifest: &deployment.manifest, promotions: &promotions };
    let routes = deployment.manifest.routes.iter().map(|route| RouteState {
        route: route.into(),
        experiments: view.experiments(route).map(|(state, _)| state).collect(),
    });
    Ok(Json(RouteList { routes: routes.collect() }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StatsQuery {
    route: Option<String>,
    minutes: Option<u64>,
}

/// What was answered on the routes of an app, and by each variant of their experiments.
#[utoipa::path(get, path = "/v1/apps/{app}/routes/stats", tag = "routes", operation_id = "route_stats",
    params(("app" = String, Path),
        ("route" = Option<String>, Query, description = "Only this one: its id, or its path where no other has it."),
        ("minutes" = Option<u64>, Query, description = "Minutes of the window, 1 to 15; 5 when left out. The one that has begun comes on top.")),
    responses((status = 200, body = RouteStatsList)))]
pub(super) async fn stats(
    State(shared): State<Arc<Shared>>,
    Segments(app): Segments<AppName>,
    Params(query): Params<StatsQuery>,
) -> Result<Json<RouteStatsList>, Refusal> {
    let deployment = shared.app(&app)?;
    let minutes = query.minutes.unwrap_or(MINUTES_DEFAULT);
    if !(1..=MINUTES).contains(&minutes) {
        return Err(invalid(format!("query parameter minutes: {minutes} is not between 1 and {MINUTES}")));
    }
    let manifest = &deployment.manifest;
    let only = match &query.route {
        Some(called) => {
            let unclear = |error: evoke_core::manifest::UnclearRoute| {
                Refusal::new(kind::UNKNOWN_ROUTE, error.to_string())
            };
            Some(manifest.route(called).map_err(unclear)?.id())
        }
        None => None,
    };
    let promotions = shared.engine.promotions(&app);
    let view = View { manifest, promotions: &promotions };
    let routes = manifest.routes.iter().filter(|route| only.as_ref().is_none_or(|id| *id == route.id()));
    let routes = routes.map(|route| {
        let tell = |variant: Option<(FunctionName, VariantName)>| {
            let series = shared.figures.find(&Key { app: app.clone(), route: route.id().into(), variant });
            series.map(|series| series.tell(minutes))
        };
        let experiments = view.experiments(route).map(|(state, name)| {
            let variants = state.variants.into_iter().map(|variant| {
                let told = tell(Some((name.clone(), variant.name.clone())));
                let samples = told.iter().flat_map(|told| told.samples.iter().cloned().map(sample)).collect();
                let counted = counted(told, variant.shadow.is_some());
                VariantStats { variant, counted, samples }
            });
            ExperimentStats { name: state.name, promoted: state.promoted, variants: variants.collect() }
        });
        RouteStats {
            route: route.into(),
            counted: counted(tell(None), false),
            experiments: experiments.collect(),
        }
    });
    Ok(Json(RouteStatsList { routes: routes.collect(), incomplete: shared.figures.are_cut() }))
}

/// Makes a variant the only one of its experiment on a route, at once and durably.
#[utoipa::path(put, path = "/v1/apps/{app}/routes/{route}/promotion", tag = "routes", operation_id = "promote",
    params(("app" = String, Path), ("route" = String, Path, description = "Its id, or its path where no other has it, percent-encoded.")),
    request_body = PromotionOrder, responses((status = 200, body = PromotionChange)))]
pub(super) async fn promote(
    State(shared): State<Arc<Shared>>,
    Segments((app, route)): Segments<(AppName, String)>,
    headers: HeaderMap,
    body: axum::body::Body,
) -> Result<Json<PromotionChange>, Refusal> {
    let body = whole(&headers, body, shared.cap(BODY_BYTES, ORDER_BYTES)).await?;
    let PromotionOrder { variant, experiment } = json(&headers, &body)?;
    let promoted = shared.engine.promote(&app, &route, experiment.as_ref(), &variant).await?;
    let (Promotion { route, experiment, variant, .. }, before) = promoted;
    tracing::info!(%app, route, %experiment, %variant, "a variant was promoted");
    Ok(Json(PromotionChange { route, experiment: Some(experiment), promoted: Some(variant), before }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DemoteQuery {
    experiment: Option<FunctionName>,
}

/// Ends a promotion: the experiment goes on with its weights.
#[utoipa::path(delete, path = "/v1/apps/{app}/routes/{route}/promotion", tag = "routes", operation_id = "demote",
    params(("app" = String, Path), ("route" = String, Path, description = "Its id, or its path where no other has it, percent-encoded."),
        ("experiment" = Option<String>, Query, description = "Which, where variants of several are promoted.")),
    responses((status = 200, body = PromotionChange)))]
pub(super) async fn demote(
    State(shared): State<Arc<Shared>>,
    Segments((app, route)): Segments<(AppName, String)>,
    Params(query): Params<DemoteQuery>,
) -> Result<Json<PromotionChange>, Refusal> {
    let ended = shared.engine.demote(&app, &route, query.experiment.as_ref()).await?;
    Ok(Json(match ended {
        Some(Promotion { route, experiment, variant, .. }) => {
            tracing::info!(%app, route, %experiment, %variant, "a variant is no longer promoted");
            PromotionChange { route, experiment: Some(experiment), promoted: None, before: Some(variant) }
        }
        None => PromotionChange { route, experiment: query.experiment, promoted: None, before: None },
    }))
}

/// The experiments of an app as they are told.
struct View<'v> {
    manifest: &'v Manifest,
    promotions: &'v [Promotion],
}

impl View<'_> {
    fn experiments(&self, route: &manifest::Route) -> impl Iterator<Item = (ExperimentState, FunctionName)> {
        let names = route.experiments(self.manifest);
        let states = names.filter_map(|name| {
            let experiment = self.manifest.experiments.get(name)?;
            Some((self.state(route, name, experiment), name.clone()))
        });
        states.collect::<Vec<_>>().into_iter()
    }

    fn state(
        &self,
        route: &manifest::Route,
        name: &FunctionName,
        experiment: &Experiment,
    ) -> ExperimentState {
        let promoted = self.promotions.iter().find(|promotion| {
            promotion.experiment == *name
                && promotion.route == route.id()
                && experiment.position(&promotion.variant).is_some()
        });
        let shares = experiment.weights().map(|weights| weights.shares()).unwrap_or_default();
        let variants = experiment.variants.iter().zip(shares).map(|(variant, share)| VariantState {
            name: variant.name.clone(),
            to: match (&variant.decorators, &route.to) {
                (Some(names), _) if names.is_empty() => "-".to_owned(),
                (Some(names), _) => names.iter().map(FunctionName::as_str).collect::<Vec<_>>().join(", "),
                (None, RouteTarget::Experiment { variants, .. }) => {
                    variants.get(&variant.name).map(RouteTarget::shown).unwrap_or_default()
                }
                (None, _) => String::new(),
            },
            weight: match variant.share {
                Share::Weight(weight) => Some(weight),
                Share::Shadow(_) => None,
            },
            shadow: match variant.share {
                Share::Weight(_) => None,
                Share::Shadow(percent) => Some(percent),
            },
            share: match promoted {
                Some(promotion) => f64::from(u8::from(promotion.variant == variant.name)),
                None => share,
            },
        });
        ExperimentState {
            name: name.clone(),
            sticky: experiment.sticky.as_ref().map(|sticky| match sticky {
                Sticky::Header(name) => format!("header:{name}"),
                Sticky::Cookie(name) => format!("cookie:{name}"),
                Sticky::OwnCookie => "cookie".to_owned(),
            }),
            variants: variants.collect(),
            promoted: promoted.map(|of| Promoted { variant: of.variant.clone(), at: of.promoted_at.into() }),
        }
    }
}

fn counted(told: Option<Told>, is_shadow: bool) -> Counted {
    let Some(told) = told else {
        let none = || figures(&Tally::default(), 0.0, is_shadow);
        return Counted { since: None, window: none(), total: none() };
    };
    Counted {
        since: Some(told.since.into()),
        window: figures(&told.window, told.window_lasted.as_secs_f64(), is_shadow),
        total: figures(&told.total, told.lasted.as_secs_f64(), is_shadow),
    }
}

fn figures(tally: &Tally, seconds: f64, is_shadow: bool) -> Figures {
    let ms = |time: std::time::Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
    let percentile = |percent| tally.times.percentile(percent).map(ms);
    let left_out = |why: LeftOut| tally.left_out[why as usize];
    Figures {
        seconds: (seconds * 1e3).round() / 1e3,
        requests: tally.answered,
        // Within the first second the rate would be that of one request.
        per_second: rounded(tally.answered as f64 / seconds.max(1.0)),
        errors: tally.errors,
        error_share: share(tally.errors, tally.answered),
        abandoned: tally.abandoned,
        p50_ms: percentile(50.0),
        p95_ms: percentile(95.0),
        p99_ms: percentile(99.0),
        max_ms: tally.times.longest().map(ms),
        shadow: is_shadow.then(|| ShadowFigures {
            compared: tally.compared,
            differing: tally.differing,
            differing_share: share(tally.differing, tally.compared),
            without_body: tally.cut,
            left_out: LeftOutFigures {
                busy: left_out(LeftOut::Busy),
                body: left_out(LeftOut::Body),
                late: left_out(LeftOut::Late),
                unsuitable: left_out(LeftOut::Unsuitable),
                gone: left_out(LeftOut::Gone),
            },
        }),
    }
}

fn share(part: u64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { rounded(part as f64 / of as f64) }
}

fn rounded(number: f64) -> f64 {
    (number * 1e4).round() / 1e4
}

fn sample(sample: crate::figures::Sample) -> DifferenceSample {
    DifferenceSample {
        at: sample.at.into(),
        method: sample.method,
        path: sample.path,
        differences: sample.differences.into_iter().map(Into::into).collect(),
        answered_by: sample.answered_by,
        shadow_by: sample.shadow_by,
    }
}

//! Routes as one operates them: what was answered how, and how the variants of their experiments compare.

use evoke_core::experiment::compare::Difference as Found;
use evoke_core::id::{FunctionName, RunId, VariantName};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Route, Time};

/// `GET /v1/apps/{app}/routes`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RouteList {
    /// In the order of the manifest.
    pub routes: Vec<RouteState>,
}

/// A route, and the experiments on its way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RouteState {
    /// The route.
    #[serde(flatten)]
    pub route: Route,
    /// The outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub experiments: Vec<ExperimentState>,
}

/// An experiment on a route.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ExperimentState {
    /// Its name.
    #[schema(value_type = String)]
    pub name: FunctionName,
    /// What clients keep their variant by: `header:NAME`, `cookie:NAME`, `cookie`. By chance when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky: Option<String>,
    /// The variant that was made the only one here, and when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promoted: Option<Promoted>,
    /// Its variants.
    pub variants: Vec<VariantState>,
}

/// A variant that was made the only one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Promoted {
    /// Its name.
    #[schema(value_type = String)]
    pub variant: VariantName,
    /// Since when.
    pub at: Time,
}

/// A variant of an experiment on a route.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VariantState {
    /// Its name.
    #[schema(value_type = String)]
    pub name: VariantName,
    /// What it is: decorators, or where it leads.
    pub to: String,
    /// Its weight; none for a shadow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// Of how many percent of the requests it gets copies, for a shadow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<u8>,
    /// Its part of clients' requests as things are, 0 to 1.
    pub share: f64,
}

/// `GET /v1/apps/{app}/routes/stats`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RouteStatsList {
    /// In the order of the manifest.
    pub routes: Vec<RouteStats>,
    /// There are more routes and variants than are counted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub incomplete: bool,
}

/// What was answered on a route.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RouteStats {
    /// The route.
    #[serde(flatten)]
    pub route: Route,
    /// What was counted on it.
    #[serde(flatten)]
    pub counted: Counted,
    /// The outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub experiments: Vec<ExperimentStats>,
}

/// What was answered of an experiment on a route.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ExperimentStats {
    /// Its name.
    #[schema(value_type = String)]
    pub name: FunctionName,
    /// The variant that was made the only one here, and when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promoted: Option<Promoted>,
    /// Its variants.
    pub variants: Vec<VariantStats>,
}

/// What was answered by a variant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VariantStats {
    /// The variant.
    #[serde(flatten)]
    pub variant: VariantState,
    /// What was counted of it. Of a shadow these are answers to copies.
    #[serde(flatten)]
    pub counted: Counted,
    /// For a shadow: the last answers that differed, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<DifferenceSample>,
}

/// Figures of the last minutes, and of all the time since counting began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Counted {
    /// When counting began: with the first request since the server started. Left out where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// Of the last minutes.
    pub window: Figures,
    /// Since counting began.
    pub total: Figures,
}

/// What was answered in some time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Figures {
    /// How long that is.
    pub seconds: f64,
    /// Answers.
    pub requests: u64,
    /// Answers a second.
    pub per_second: f64,
    /// Answers with a status from 500.
    pub errors: u64,
    /// The part that they are, 0 to 1.
    pub error_share: f64,
    /// Clients that left before they were answered; no answers.
    pub abandoned: u64,
    /// Milliseconds until the head of the answer that half of them took at most. Percentiles are at most an eighth too high.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50_ms: Option<f64>,
    /// That 95 of 100 took at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95_ms: Option<f64>,
    /// That 99 of 100 took at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_ms: Option<f64>,
    /// The longest, exactly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_ms: Option<f64>,
    /// For a shadow: how its answers compare with those that clients got.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowFigures>,
}

/// How answers to copies compare with those that clients got.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ShadowFigures {
    /// Answers that were compared.
    pub compared: u64,
    /// Those that differed.
    pub differing: u64,
    /// The part that they are, 0 to 1.
    pub differing_share: f64,
    /// Those of which bodies were too long to be compared, and only the rest was.
    pub without_body: u64,
    /// Requests that were to be copied, and were not, or whose answers could not be compared.
    pub left_out: LeftOutFigures,
}

/// Why copies were left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LeftOutFigures {
    /// As many were under way as may be, or there was no room to spare where it leads.
    pub busy: u64,
    /// The request's body was too long, or did not come to its end.
    pub body: u64,
    /// The body, or an answer, was not there in time.
    pub late: u64,
    /// It was a WebSocket, or to be answered later.
    pub unsuitable: u64,
    /// The client left before it had its answer.
    pub gone: u64,
}

/// Two answers that differed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DifferenceSample {
    /// When.
    pub at: Time,
    /// Of the request.
    pub method: String,
    /// Of the request.
    pub path: String,
    /// What differed, at most five things.
    pub differences: Vec<Difference>,
    /// The outermost run of the client's answer behind the experiment, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub answered_by: Option<RunId>,
    /// The same of the answer to the copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub shadow_by: Option<RunId>,
}

/// One thing that differed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Difference {
    /// `status`, `header content-type`, `body`, or `body /items/0/price`.
    #[schema(example = "body /total")]
    pub what: String,
    /// What the client was answered, cut at 120 characters.
    pub answered: String,
    /// What the shadow answered, cut.
    pub shadow: String,
}

impl From<Found> for Difference {
    fn from(Found { what, answered, shadow }: Found) -> Self {
        Self { what, answered, shadow }
    }
}

/// What is promoted, for `PUT /v1/apps/{app}/routes/{route}/promotion`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PromotionOrder {
    /// The variant that is to be the only one.
    #[schema(value_type = String)]
    pub variant: VariantName,
    /// Its experiment, where several on the route have a variant of that name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub experiment: Option<FunctionName>,
}

/// What a promotion, or its end, changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PromotionChange {
    /// The route's id.
    pub route: String,
    /// The experiment. Left out where nothing was promoted that could end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub experiment: Option<FunctionName>,
    /// The variant that is the only one now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub promoted: Option<VariantName>,
    /// The one that was before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub before: Option<VariantName>,
}

//! The control API's words on the wire: one type per JSON value of `docs/reference/control-api.md`.
//!
//! The server writes these types and the command line reads them, so the two cannot disagree; the OpenAPI document is
//! made from them. Times are RFC 3339 in UTC ([`Time`]), durations whole milliseconds (`…_ms`) or microseconds
//! (`…_us`), sizes whole bytes (`…_bytes`). A field that has nothing to say is left out. Readers must tolerate fields
//! they do not know.

mod app;
mod call;
mod cancel;
mod dead_letter;
mod event;
mod explain;
mod figures;
mod hook;
mod log;
mod problem;
mod removal;
mod replay;
mod run;
mod schedule;
mod secret;
mod subscription;
mod time;
mod tree;
mod usage;
mod version;
mod wait;

pub(crate) use app::whole_ms;
pub use app::{
    App, AppList, AppSummary, DeployStep, Deployment, Function, FunctionList, Instances, Retry, Revision,
    RevisionList, Route, RouteKind, Subscription,
};
pub use call::{Health, Later};
pub use cancel::{CancelOrder, CancelRuns, CancelledRun, CancelledRuns};
pub use dead_letter::{DeadLetter, DeadLetterList, DeadLetterOrder, DeadLettersDone, InputPreview};
pub use event::{
    CloudEvent, DelayedEvent, DelayedEventList, EventList, Published, PublishedEvent, StoredEvent,
};
pub use explain::{Decision, DeliveryState, EventDelivery, EventSubscriber, Explanation, Held, SeenValue};
pub use figures::{
    Counted, Difference, DifferenceSample, ExperimentState, ExperimentStats, Figures, LeftOutFigures,
    Promoted, PromotionChange, PromotionOrder, RouteList, RouteState, RouteStats, RouteStatsList,
    ShadowFigures, VariantState, VariantStats,
};
pub use hook::{Hook, HookChange, HookDeliveries, HookDisabled, HookList, HookTrial};
pub use log::{LogLine, LogList};
pub use problem::{EndedBy, Limit, Problem, ProblemItem};
pub use removal::{AppInventory, AppRemoved};
pub use replay::{Replay, ReplayEvent, ReplayList, ReplayOrder, ReplayPoint, ReplayPreview};
pub use run::{Attempt, Run, RunList, RunResult, Trigger};
pub use schedule::{Schedule, ScheduleList};
pub use secret::{Secret, SecretList};
pub use subscription::{
    Backlog, CatchingUp, PauseChange, QueueList, QueueState, SubscriptionList, SubscriptionState,
};
pub use time::Time;
pub use tree::{EventNode, RunNode, RunTree, TreeNode};
pub use usage::{Spent, Usage};
pub use version::{
    Canary, CanaryWeight, CanaryWithdrawn, Compared, Guard, RollbackOrder, Version, VersionList,
    VersionState, VersionTally, Withdrawn,
};
pub use wait::{Wait, WaitList};

/// Every run id an answer of the data listener or of `invoke` belongs to is in this header.
pub const RUN_HEADER: &str = "evoke-run";

/// Which version of an app a call by `invoke` is for, while it has two: a number, `current` or `canary`.
pub const VERSION_HEADER: &str = "evoke-version";

/// The code of a problem is also in this header, which no function can set: it tells Evoke's own answers from those of
/// functions.
pub const PROBLEM_HEADER: &str = "evoke-problem";

/// Entries of a page when the request does not say.
pub const PAGE_DEFAULT: usize = 100;

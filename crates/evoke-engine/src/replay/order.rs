//! What is asked for: which events, to whom, and whether that can be.

use evoke_core::filter::cesql::Expression;
use evoke_core::id::{AppName, FunctionName, ReplayId, SubscriptionName};
use evoke_core::manifest::TypePattern;
use evoke_core::store::{StoreError, StoredEvent};
use evoke_core::time::Timestamp;

use super::{RUNNING_MAX, Take, scan};
use crate::Engine;
use crate::explain::{ExplainError, find};
use crate::position;

/// A point in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Point {
    /// When it was accepted.
    Time(Timestamp),
    /// An event, by its id.
    Event(String),
    /// A position.
    Position(u64),
}

/// What is to be delivered again.
#[derive(Debug, Clone)]
pub struct Order {
    /// The function.
    pub function: FunctionName,
    /// Its subscription.
    pub subscription: SubscriptionName,
    /// The first event, included.
    pub from: Point,
    /// The last one: an event or a position is included, a time is not. Without it all there are now.
    pub to: Option<Point>,
    /// Only of these types.
    pub types: Option<TypePattern>,
    /// Only those for which this is true.
    pub filter: Option<Expression>,
}

/// What a replay would deliver.
#[derive(Debug, Clone)]
pub struct Preview {
    /// Events in the range that were looked at.
    pub seen: u64,
    /// When the oldest event there is was accepted, where the range was to begin before that.
    pub archive_from: Option<Timestamp>,
    /// Those that would be delivered.
    pub count: u64,
    /// Their bytes in JSON format.
    pub bytes: u64,
    /// The first of them.
    pub first: Option<StoredEvent>,
    /// The last of them.
    pub last: Option<StoredEvent>,
    /// The range is longer than is looked at in one go: go on from this position.
    pub next: Option<u64>,
}

/// Why there is no replay.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReplayError {
    /// There is no such subscription.
    #[error("function {function} of app {app} has no subscription {name}")]
    NotFound {
        /// The app.
        app: AppName,
        /// The function.
        function: FunctionName,
        /// The subscription.
        name: SubscriptionName,
    },
    /// There is no replay of this id.
    #[error("app {app} has no replay {id}")]
    NoReplay {
        /// The app.
        app: AppName,
        /// The replay.
        id: ReplayId,
    },
    /// There is nothing in the range.
    #[error("no event of app {app} was accepted in that range{}", starts(.archive_from))]
    Empty {
        /// The app.
        app: AppName,
        /// When the oldest event there is was accepted.
        archive_from: Option<Timestamp>,
    },
    /// Too many are under way.
    #[error(
        "{RUNNING_MAX} replays of app {app} are under way, which is the limit; wait for one to end, or cancel one"
    )]
    TooMany {
        /// The app.
        app: AppName,
    },
    /// The event that was named, or the app, is not there.
    #[error(transparent)]
    Event(#[from] ExplainError),
    /// The server is shutting down.
    #[error("the server is shutting down")]
    Draining,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn starts(archive_from: &Option<Timestamp>) -> String {
    match archive_from {
        Some(at) => format!("; the archive starts at {at}"),
        None => "; the archive is empty".to_owned(),
    }
}

impl Engine {
    /// The positions that are meant.
    pub(super) async fn resolve(&self, app: &AppName, order: &Order) -> Result<Take, ReplayError> {
        let deployment = self.app(app).ok_or_else(|| ExplainError::NoApp { app: app.clone() })?;
        if find(&deployment.manifest, &order.function, &order.subscription).is_none() {
            return Err(ReplayError::NotFound {
                app: app.clone(),
                function: order.function.clone(),
                name: order.subscription.clone(),
            });
        }
        let end = position::end(&self.0).await?;
        let oldest = scan::oldest(&self.0, app).await?;
        let archive_from = oldest.as_ref().map(|oldest| oldest.accepted_at);
        let from = match &order.from {
            Point::Time(at) => position::at(&self.0, *at, end).await?,
            Point::Event(id) => self.event(app, id, None).await?.seq,
            Point::Position(position) => *position,
        };
        let to = match &order.to {
            None => end,
            Some(Point::Time(at)) => position::at(&self.0, *at, end).await?,
            Some(Point::Event(id)) => self.event(app, id, None).await?.seq + 1,
            Some(Point::Position(position)) => position.saturating_add(1).min(end),
        };
        let empty = || ReplayError::Empty { app: app.clone(), archive_from };
        let oldest = oldest.as_ref().ok_or_else(empty)?;
        if from.max(oldest.seq) >= to {
            return Err(empty());
        }
        let is_short = match &order.from {
            Point::Time(at) => *at < oldest.accepted_at,
            // From 0 on means all there is.
            Point::Position(position) => *position > 0 && *position < oldest.seq,
            Point::Event(_) => false,
        };
        Ok(Take {
            from,
            to,
            archive_from: archive_from.filter(|_| is_short),
            types: order.types.clone(),
            filter: order.filter.clone(),
        })
    }
}

//! The way in: which function a call is for, and the wait at its door.

use std::sync::Arc;

use evoke_core::body::Body;
use evoke_core::chain::Edge;
use evoke_core::id::{AppName, FunctionName};
use evoke_core::record::Cause;
use tokio::time::Instant;

use super::CallError;
use super::error::overloaded;
use crate::admission::{Allowed, Bound, Door, Full, Kind, Permit, Refused, Visitor};
use crate::engine::Inner;
use crate::route::{App, Snapshot, Target};

/// A call on its way to its function's door.
pub(super) struct Coming<'a> {
    pub cause: &'a Cause,
    pub of: Option<&'a Arc<App>>,
    pub since: Instant,
    /// The caller's own.
    pub deadline: Option<Instant>,
    /// Of its body, while it waits.
    pub bytes: u64,
}

/// Finds the function and waits until it lets the call in: as long as calls may, or until the server takes no more calls
/// from outside. Says until when the call may wait for an instance.
pub(super) async fn enter(
    inner: &Inner,
    name: (AppName, FunctionName),
    mut found: Option<Found>,
    coming: Coming<'_>,
) -> Result<(Arc<App>, Arc<Target>, Permit, Instant), CallError> {
    let mut started = None;
    loop {
        let found = found.take().or_else(|| Found::of(inner, &name, coming.cause, coming.of));
        let Some(Found { app, target, snapshot }) = found else {
            let (app, function) = name;
            return Err(CallError::NotFound { app, function });
        };
        let most = target.settings.admission.max_wait.unwrap_or(inner.limits.waiting);
        let patience = coming.since + most;
        let patience = coming.deadline.map_or(patience, |deadline| deadline.min(patience));
        let visitor = Visitor {
            kind: Kind::Sync,
            inner: coming.cause.parent.is_some().then(|| calls_above(coming.cause)),
            patience,
            deadline: coming.deadline,
            bytes: coming.bytes,
        };
        let function = name.1.clone();
        if let Some(allowed) = target.rate.as_ref().filter(|_| started.is_none()) {
            started = Some(Start::of(inner, allowed, &function)?);
        }
        let door = match coming.of {
            Some(_) => door_of(inner, &name, &target),
            None => target.door.clone(),
        };
        let entered = match coming.cause.parent {
            _ if coming.cause.shadow => Some(door.enter_spare()),
            Some(_) => Some(door.enter(visitor).await),
            None if inner.stopping.is_cancelled() => None,
            // Mostly there is room, and then nobody has to be told of the end.
            None => tokio::select! {
                biased;
                entered = door.enter(visitor) => Some(entered),
                () = inner.stopping.cancelled() => None,
            },
        };
        match entered {
            // Its version was withdrawn while it waited; the door is that of the other one too.
            Some(Ok(permit))
                if coming.of.is_none()
                    && !inner.directory.is_current(&snapshot)
                    && !inner.directory.snapshot().is_live(&name.0, &target) =>
            {
                permit.unused();
            }
            Some(Ok(permit)) => {
                if let Some(start) = started {
                    start.made();
                }
                // The function's own bound is for its line; how long a start takes is not up to it.
                let patience = coming.since + most.max(inner.limits.waiting);
                let patience = coming.deadline.map_or(patience, |deadline| deadline.min(patience));
                return Ok((app, target, permit, patience));
            }
            // Another revision is current now, with a door of its own.
            Some(Err(Refused::Closed)) => {}
            Some(Err(Refused::Full(full))) => return Err(overloaded(inner, function, &full)),
            Some(Err(Refused::TooLate { left, typical })) => {
                return Err(CallError::TooLate { function, left, typical });
            }
            None => return Err(CallError::Draining),
        }
    }
}

/// A start that the function's rate allows. Dropping it gives it back.
struct Start(Option<Arc<Allowed>>);

impl Start {
    fn of(inner: &Inner, allowed: &Arc<Allowed>, function: &FunctionName) -> Result<Self, CallError> {
        match allowed.take() {
            Ok(()) => Ok(Self(Some(allowed.clone()))),
            Err(again) => {
                let full = Full { bound: Bound::Rate(allowed.rate), waiting: 0, again: Some(again) };
                Err(overloaded(inner, function.clone(), &full))
            }
        }
    }

    fn made(mut self) {
        self.0 = None;
    }
}

impl Drop for Start {
    fn drop(&mut self) {
        if let Some(allowed) = &self.0 {
            allowed.give_back(1);
        }
    }
}

/// Calls that running functions made and wait for, above this one.
fn calls_above(cause: &Cause) -> usize {
    cause.chain.links().iter().rev().take_while(|link| link.by == Edge::Call).count()
}

/// What a body that is still arriving holds at most: what is on its way between connection and function.
const ARRIVING_BYTES: u64 = 64 << 10;

pub(super) fn held_bytes(body: &Body) -> u64 {
    match body {
        Body::Full(bytes) => bytes.len() as u64,
        Body::Stream(_) | Body::Watched(_) => ARRIVING_BYTES,
    }
}

/// Where to be let in to an instance of `target`. One that was replaced since is behind the door of what took its place.
fn door_of(inner: &Inner, (app, function): &(AppName, FunctionName), target: &Target) -> Arc<Door> {
    if !target.door.is_closed() {
        return target.door.clone();
    }
    let now = inner.directory.snapshot().target(app, function).map(|now| now.door.clone());
    // Nothing did: those who still call it have a door of their own each.
    now.unwrap_or_else(|| inner.hall.door(app, target.door.terms))
}

/// The function of that name that can be called. A hook takes events only.
pub(super) struct Found {
    pub app: Arc<App>,
    pub target: Arc<Target>,
    /// What was deployed when it was looked for.
    snapshot: Arc<Snapshot>,
}

impl Found {
    pub fn of(
        inner: &Inner,
        (app, function): &(AppName, FunctionName),
        cause: &Cause,
        of: Option<&Arc<App>>,
    ) -> Option<Self> {
        let snapshot = inner.directory.snapshot();
        let (app, target) = match of.filter(|_| snapshot.apps.contains_key(app)) {
            Some(of) => (of.clone(), of.functions.get(function)?.clone()),
            None => snapshot.callee(app, function, cause)?,
        };
        target.settings.hook.is_none().then_some(Self { app, target, snapshot })
    }
}

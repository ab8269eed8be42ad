//! What a hall knows of an app: what it has, and which of its doors is next.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use evoke_core::id::AppName;
use evoke_core::manifest::Share;
use slab::Slab;
use tokio::time::Instant;

use super::door::DoorState;
use crate::admission::Kind;
use crate::admission::claim::Claim;

pub(in crate::admission) struct AppState {
    pub(super) name: AppName,
    pub(in crate::admission) concurrency: usize,
    pub(in crate::admission) waiting_max: usize,
    pub(in crate::admission) waiting_bytes_max: u64,
    pub(super) doors: usize,
    pub(in crate::admission) running: usize,
    pub(in crate::admission) waiting: usize,
    pub(in crate::admission) waiting_bytes: u64,
    pub(super) claim: Claim,
    pub(super) kinds: [Claim; Kind::COUNT],
    /// Doors at which somebody of the kind waits for the app or the node. Some may be there no longer.
    pub(super) listed: [VecDeque<usize>; Kind::COUNT],
}

/// The least that one of the apps that contend has had.
pub(super) fn floor(
    apps: &mut Slab<AppState>,
    contending: &BTreeSet<usize>,
    since: Instant,
    now: Instant,
) -> f64 {
    let had = contending.iter().map(|key| {
        apps[*key].claim.count(since, now);
        apps[*key].claim.had()
    });
    had.reduce(f64::min).unwrap_or(0.0)
}

impl AppState {
    pub(super) fn new(name: AppName) -> Self {
        Self {
            name,
            concurrency: usize::MAX,
            waiting_max: usize::MAX,
            waiting_bytes_max: u64::MAX,
            doors: 0,
            running: 0,
            waiting: 0,
            waiting_bytes: 0,
            claim: Claim::new(Share::default().weight),
            kinds: Kind::ALL.map(|kind| Claim::new(kind.weight())),
            listed: Default::default(),
        }
    }

    pub(super) fn kinds_floor(&mut self, since: Instant, now: Instant) -> f64 {
        let listed = self.kinds.iter_mut().zip(&self.listed).filter(|(_, listed)| !listed.is_empty());
        let had = listed.map(|(claim, _)| {
            claim.count(since, now);
            claim.had()
        });
        had.reduce(f64::min).unwrap_or(0.0)
    }

    /// The kind that has had least, and the door whose turn it is among those that have it.
    pub(super) fn next(
        &mut self,
        doors: &mut Slab<DoorState>,
        typical: Duration,
        since: Instant,
        now: Instant,
    ) -> Option<(Kind, usize)> {
        for (kind, listed) in Kind::ALL.into_iter().zip(&mut self.listed) {
            while let Some(key) = listed.front() {
                let door = &mut doors[*key];
                if !door.is_full() && door.inner == 0 && !door.lanes[kind.at()].line.is_empty() {
                    break;
                }
                door.lanes[kind.at()].listed = false;
                listed.pop_front();
            }
        }
        let mut best: Option<(f64, Kind, usize)> = None;
        for kind in Kind::ALL {
            if let Some(door) = self.listed[kind.at()].front() {
                let claim = &mut self.kinds[kind.at()];
                claim.count(since, now);
                let turn = claim.turn(typical);
                if best.is_none_or(|(least, ..)| turn < least) {
                    best = Some((turn, kind, *door));
                }
            }
        }
        best.map(|(_, kind, door)| (kind, door))
    }
}

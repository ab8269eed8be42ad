//! Runs and events of one root, put in the order of their causes. Pure.

use std::collections::HashMap;

use evoke_core::event::EventRef;
use evoke_core::id::{Correlation, RunId};
use evoke_core::record::{RunRecord, Trigger};
use evoke_core::store::StoredEvent;
use evoke_core::time::Timestamp;

use crate::api::{EventNode, RunNode, RunTree, TreeNode};

/// Levels of a tree. JSON readers stop at some depth (128 for `serde_json`, of which each level takes two).
const LEVELS: usize = 40;

/// Runs and events by the order of their times; each is in the tree once, whatever causes they claim.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Key {
    Event(Timestamp, u64),
    Run(Timestamp, RunId),
}

impl Key {
    fn at(&self) -> (Timestamp, &Self) {
        match self {
            Self::Event(at, _) | Self::Run(at, _) => (*at, self),
        }
    }
}

enum Thing {
    Event(StoredEvent),
    Run(RunRecord),
}

/// The tree of at most `limit` runs and `limit` events; further ones are left out and said to be.
pub(super) fn build(
    root: Correlation,
    mut runs: Vec<RunRecord>,
    mut events: Vec<StoredEvent>,
    limit: usize,
) -> RunTree {
    let mut truncated = runs.len() > limit || events.len() > limit;
    runs.truncate(limit);
    events.truncate(limit);

    let run_keys: HashMap<RunId, Key> =
        runs.iter().map(|run| (run.id.clone(), Key::Run(run.created_at, run.id.clone()))).collect();
    let event_keys: HashMap<EventRef, Key> = events
        .iter()
        .map(|stored| (stored.event.reference(), Key::Event(stored.accepted_at, stored.seq)))
        .collect();

    let mut things: HashMap<Key, Thing> = HashMap::new();
    let mut children: HashMap<Key, Vec<Key>> = HashMap::new();
    let mut tops = Vec::new();
    let mut place = |key: Key, parent: Option<&Key>| match parent {
        Some(parent) => children.entry(parent.clone()).or_default().push(key),
        None => tops.push(key),
    };
    for run in runs {
        let key = run_keys[&run.id].clone();
        let started_by = match &run.trigger {
            Trigger::Event { event, .. } => event_keys.get(event),
            Trigger::Http { .. } | Trigger::Call { .. } => None,
        };
        place(key.clone(), started_by.or_else(|| run_keys.get(run.cause.parent.as_ref()?)));
        things.insert(key, Thing::Run(run));
    }
    for stored in events {
        let key = Key::Event(stored.accepted_at, stored.seq);
        let published_by = stored.event.extension_str("causationid").map(RunId::from_text);
        place(key.clone(), published_by.and_then(|run| run_keys.get(&run)));
        things.insert(key, Thing::Event(stored));
    }
    for siblings in children.values_mut() {
        siblings.sort_by(|a, b| a.at().cmp(&b.at()));
    }
    tops.sort_by(|a, b| a.at().cmp(&b.at()));

    let mut grower = Grower { things, children, truncated: false };
    let mut nodes: Vec<TreeNode> = tops.into_iter().filter_map(|key| grower.grow(key, LEVELS)).collect();
    truncated |= grower.truncated;
    // What claims to be caused by its own effect hangs from no top.
    let mut circular: Vec<Key> = grower.things.keys().cloned().collect();
    circular.sort_by(|a, b| a.at().cmp(&b.at()));
    if !truncated {
        nodes.extend(circular.into_iter().filter_map(|key| grower.grow(key, LEVELS)));
    }
    RunTree { root, nodes, truncated }
}

struct Grower {
    /// What is not in the tree yet.
    things: HashMap<Key, Thing>,
    children: HashMap<Key, Vec<Key>>,
    truncated: bool,
}

impl Grower {
    fn grow(&mut self, key: Key, levels: usize) -> Option<TreeNode> {
        let thing = self.things.remove(&key)?;
        let mut below = self.children.remove(&key).unwrap_or_default();
        if levels <= 1 {
            self.truncated |= !below.is_empty();
            below.clear();
        }
        let children = below.into_iter().filter_map(|key| self.grow(key, levels - 1)).collect();
        Some(match thing {
            Thing::Run(run) => TreeNode::Run(RunNode { run: run.into(), children }),
            Thing::Event(StoredEvent { seq, accepted_at, event, .. }) => TreeNode::Event(EventNode {
                seq,
                accepted_at: accepted_at.into(),
                source: event.source().to_owned(),
                id: event.id().to_owned(),
                r#type: event.ty().to_owned(),
                subject: event.subject().map(str::to_owned),
                published_by: event.extension_str("causationid").map(RunId::from_text),
                children,
            }),
        })
    }
}

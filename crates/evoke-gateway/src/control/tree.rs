//! Runs and events of one root, put in the order of their causes. Pure.

use std::collections::HashMap;

use evoke_core::event::EventRef;
use evoke_core::id::{Correlation, RunId};
use evoke_core::record::{RunRecord, Trigger};
use evoke_core::store::StoredEvent;
use evoke_core::time::Timestamp;
use evoke_core::wait::Wait;

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
            Trigger::Event { event, .. } | Trigger::Destination { event, .. } => event_keys.get(event),
            Trigger::Wait { wait, by, .. } => event_keys.get(&Wait::reference(&run.app, by, wait)),
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
            Thing::Run(run) => TreeNode::Run(Box::new(RunNode { run: run.into(), children })),
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use evoke_core::event::{Attribute, Event};
    use evoke_core::id::{AppName, FunctionName};
    use evoke_core::record::{Cause, RunState};
    use proptest::prelude::*;

    use super::*;

    fn run(n: usize, event: Option<usize>, parent: Option<usize>) -> RunRecord {
        let trigger = match event {
            Some(event) => Trigger::Event {
                event: EventRef { source: "/s".to_owned(), id: event.to_string() },
                ty: "t".to_owned(),
                subscription: 0,
            },
            None => Trigger::Http { method: "GET".to_owned(), path: "/".to_owned() },
        };
        let cause = Cause {
            root: Correlation::from_text("root"),
            parent: parent.map(run_id),
            depth: 0,
            chain: evoke_core::chain::Chain::default(),
            version: None,
            trace_id: String::new(),
            span_id: String::new(),
            shadow: false,
        };
        RunRecord {
            id: run_id(n),
            app: AppName::new("shop").unwrap(),
            function: FunctionName::new("f").unwrap(),
            trigger,
            replay: None,
            cause,
            state: RunState::Completed,
            created_at: Timestamp(0),
            ended_at: None,
            due_at: None,
            subscription: None,
            undecided: false,
            key: None,
            attempts: Vec::new(),
        }
    }

    fn run_id(n: usize) -> RunId {
        RunId::from_text(format!("run_{n:03}"))
    }

    fn event(n: usize, by: Option<usize>) -> StoredEvent {
        let mut event = Event::new(n.to_string(), "/s", "t");
        if let Some(by) = by {
            event = event.with_extension("causationid", Attribute::String(run_id(by).to_string()));
        }
        let (seq, app) = (n as u64, AppName::new("shop").unwrap());
        StoredEvent {
            seq,
            app,
            accepted_at: Timestamp(0),
            event,
            runs: Vec::new(),
            version: None,
            again: Vec::new(),
            expired_at: None,
        }
    }

    fn names(nodes: &[TreeNode], into: &mut Vec<String>) {
        for node in nodes {
            let children = match node {
                TreeNode::Run(node) => {
                    into.push(node.run.id.to_string());
                    &node.children
                }
                TreeNode::Event(node) => {
                    into.push(node.id.clone());
                    &node.children
                }
            };
            names(children, into);
        }
    }

    fn tree(runs: Vec<RunRecord>, events: Vec<StoredEvent>, limit: usize) -> RunTree {
        build(Correlation::from_text("root"), runs, events, limit)
    }

    #[test]
    fn a_long_chain_is_cut_and_stays_readable_as_json() {
        // Event n starts run n, which publishes event n + 1.
        let runs = (0..100).map(|n| run(n, Some(n), None)).collect();
        let events = (0..100).map(|n: usize| event(n, n.checked_sub(1))).collect();
        let tree = tree(runs, events, 1_000);
        assert!(tree.truncated);
        let mut shown = Vec::new();
        names(&tree.nodes, &mut shown);
        assert_eq!(shown.len(), LEVELS);
        let text = serde_json::to_string(&tree).unwrap();
        assert_eq!(serde_json::from_str::<RunTree>(&text).unwrap(), tree);
    }

    #[test]
    fn more_than_the_limit_is_left_out_and_said_to_be() {
        let tree = tree((0..5).map(|n| run(n, None, None)).collect(), Vec::new(), 4);
        assert_eq!((tree.nodes.len(), tree.truncated), (4, true));
    }

    #[test]
    fn an_event_that_claims_to_be_caused_by_its_own_effect_is_shown_once() {
        let tree = tree(vec![run(1, Some(1), None)], vec![event(1, Some(1))], 10);
        let mut shown = Vec::new();
        names(&tree.nodes, &mut shown);
        assert_eq!((shown.len(), tree.truncated), (2, false));
    }

    proptest! {
        #[test]
        fn everything_is_in_the_tree_exactly_once(
            runs in prop::collection::vec((prop::option::of(0_usize..12), prop::option::of(0_usize..12)), 0..10),
            events in prop::collection::vec(prop::option::of(0_usize..12), 0..10),
        ) {
            let count = runs.len() + events.len();
            let runs = runs.into_iter().enumerate().map(|(n, (event, parent))| run(n, event, parent)).collect();
            let events = events.into_iter().enumerate().map(|(n, by)| event(n, by)).collect();
            let tree = tree(runs, events, 100);
            let mut shown = Vec::new();
            names(&tree.nodes, &mut shown);
            prop_assert_eq!(shown.len(), count);
            prop_assert_eq!(shown.into_iter().collect::<BTreeSet<_>>().len(), count);
            prop_assert!(!tree.truncated);
        }
    }
}

//! Which zygotes there are: one for a function that can be forked, as many as the memory set aside for them allows.

use std::sync::Arc;
use std::time::Duration;

use evoke_core::limits::Limits;
use evoke_core::outcome::Failure;
use evoke_core::record::LogStream;
use evoke_core::runtime::InstanceSpec;
use tokio::sync::OnceCell;
use tokio_util::task::TaskTracker;

use super::{Ground, Setup, Zygote};
use crate::instance::{Loaded, Parts, ProcessInstance};

/// Functions about which is remembered whether they can be forked.
const ENTRIES_MAX: usize = 1_024;
/// A zygote that lived this long has not failed for the same cause as the one before.
const STEADY: Duration = Duration::from_secs(60);

/// All zygotes.
#[derive(Debug)]
pub(crate) struct Zygotes {
    /// The least recently used first.
    entries: parking_lot::Mutex<Vec<Arc<Entry>>>,
    count_max: usize,
    bytes_max: u64,
    idle: Duration,
    fork_ahead: bool,
    failures_max: u32,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct Entry {
    spec: Arc<InstanceSpec>,
    /// `None` inside: it cannot be forked.
    zygote: OnceCell<Option<Zygote>>,
    /// How often in a row its predecessors ended although nobody wanted them to.
    failures: u32,
}

/// Where an instance is to come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// From this one.
    Zygote(Zygote),
    /// From nowhere: the process that was to be a zygote cannot be forked, and is the instance.
    Instance(Box<ProcessInstance>),
    /// It has to load the function itself.
    Itself,
}

impl Zygotes {
    pub(crate) fn new(limits: &Limits, tasks: TaskTracker) -> Self {
        Self {
            entries: parking_lot::Mutex::new(Vec::new()),
            count_max: limits.zygotes,
            bytes_max: limits.zygote_bytes,
            idle: limits.zygote_idle,
            fork_ahead: limits.fork_ahead,
            failures_max: limits.crash_loop,
            tasks,
        }
    }

    /// The zygote of a function. Where there is none, waits until `load` has started a process; who asks meanwhile waits
    /// for the same.
    pub(crate) async fn of(
        &self,
        spec: &Arc<InstanceSpec>,
        load: impl Future<Output = Result<(Loaded, Ground), Failure>>,
    ) -> Result<Source, Failure> {
        let Some(entry) = self.entry(spec) else { return Ok(Source::Itself) };
        let mut itself = None;
        let begin = async {
            Ok::<_, Failure>(match load.await? {
                (Loaded::Zygote(parts, early), ground) => Some(self.begin(spec, *parts, ground, early)),
                (Loaded::Instance(instance), _) => {
                    itself = Some(instance);
                    None
                }
            })
        };
        let begun = entry.zygote.get_or_try_init(|| begin).await.cloned();
        let mut entries = self.entries.lock();
        if begun.is_err() {
            entries.retain(|there| !Arc::ptr_eq(there, &entry) || there.zygote.initialized());
        }
        self.make_room(&mut entries, 0, Some(&entry));
        Ok(match (begun?, itself) {
            (Some(zygote), _) => Source::Zygote(zygote),
            (None, Some(instance)) => Source::Instance(instance),
            (None, None) => Source::Itself,
        })
    }

    /// Whether the function has one that is ready.
    pub(crate) fn has(&self, spec: &InstanceSpec) -> bool {
        let entries = self.entries.lock();
        entries.iter().any(|entry| *entry.spec == *spec && entry.alive().is_some())
    }

    /// Lets all of them go.
    pub(crate) fn clear(&self) {
        self.entries.lock().clear();
    }

    /// One that is not among them, and ends when it is not used any more.
    pub(crate) fn begin(
        &self,
        spec: &InstanceSpec,
        parts: Parts,
        ground: Ground,
        early: Vec<(LogStream, String)>,
    ) -> Zygote {
        let setup = Setup {
            parts,
            ground,
            function: spec.function.to_string(),
            early,
            idle: self.idle,
            bytes_max: self.bytes_max,
            fork_timeout: spec.start_timeout,
            fork_ahead: self.fork_ahead,
        };
        Zygote::start(setup, &self.tasks)
    }

    /// The entry of a function, now the most recently used; `None` when there is no room for another zygote.
    fn entry(&self, spec: &Arc<InstanceSpec>) -> Option<Arc<Entry>> {
        let mut entries = self.entries.lock();
        let at = entries.iter().position(|entry| *entry.spec == **spec);
        let former = at.map(|at| entries.remove(at));
        if let Some(entry) = former.as_ref().filter(|entry| !entry.is_gone()) {
            entries.push(Arc::clone(entry));
            return former;
        }
        let failures = former.map_or(0, |former| former.failures());
        let zygote = if failures >= self.failures_max {
            tracing::warn!(
                function = %spec.function, failures,
                "the process that its instances are forked from keeps failing: each loads the function itself from now on"
            );
            OnceCell::new_with(Some(None))
        } else if self.make_room(&mut entries, 1, None) {
            OnceCell::new()
        } else {
            return None;
        };
        let entry = Arc::new(Entry { spec: Arc::clone(spec), zygote, failures });
        entries.push(Arc::clone(&entry));
        Some(entry)
    }

    /// Lets go of zygotes without instances, the least recently used first, until `more` fit in beside `kept`. Whether
    /// they do by number: memory above the limit, which instances need as well, is given back as they end.
    fn make_room(&self, entries: &mut Vec<Arc<Entry>>, more: usize, kept: Option<&Arc<Entry>>) -> bool {
        while entries.len() + more > ENTRIES_MAX {
            let Some(at) = entries.iter().position(|entry| !entry.counts()) else { break };
            entries.remove(at);
        }
        loop {
            let count = entries.iter().filter(|entry| entry.counts()).count() + more;
            let bytes: u64 =
                entries.iter().filter_map(|entry| entry.alive()).map(|zygote| zygote.shared.bytes).sum();
            if count <= self.count_max && bytes <= self.bytes_max {
                return true;
            }
            let idle = |entry: &Arc<Entry>| {
                entry.alive().is_some_and(Zygote::has_no_instances)
                    && !kept.is_some_and(|kept| Arc::ptr_eq(kept, entry))
            };
            match entries.iter().position(idle) {
                Some(at) => drop(entries.remove(at)),
                None => return count <= self.count_max,
            }
        }
    }
}

impl Entry {
    fn alive(&self) -> Option<&Zygote> {
        self.zygote.get()?.as_ref().filter(|zygote| !zygote.is_gone())
    }

    /// Whether it is a zygote, or is becoming one.
    fn counts(&self) -> bool {
        !self.zygote.initialized() || self.alive().is_some()
    }

    fn is_gone(&self) -> bool {
        matches!(self.zygote.get(), Some(Some(zygote)) if zygote.is_gone())
    }

    /// In a row, this one included.
    fn failures(&self) -> u32 {
        match self.zygote.get() {
            Some(Some(zygote)) if zygote.has_failed() => {
                if zygote.age() < STEADY {
                    self.failures + 1
                } else {
                    1
                }
            }
            _ => 0,
        }
    }
}

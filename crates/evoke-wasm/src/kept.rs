//! Instances between calls, for functions that ask for that.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;

use crate::instance::Instance;

/// Where a connection has its instances between calls: the last one used first, so that there are no more than are needed.
#[derive(Default)]
pub(crate) struct Kept(Mutex<VecDeque<Instance>>);

impl Kept {
    /// Keeps no instance for longer without a call; up to twice as long, since it is looked for so often.
    pub const IDLE_MAX: Duration = Duration::from_secs(10);

    /// An instance that is not too old, if there is one.
    pub fn take(&self) -> Option<Instance> {
        loop {
            // Out of the lock: to drop one takes its time.
            let last = self.0.lock().pop_back();
            if last.as_ref().is_none_or(Instance::is_young) {
                return last;
            }
        }
    }

    /// Keeps it for the next call, unless it has had its share.
    pub fn put(&self, mut instance: Instance) {
        if instance.may_serve() {
            instance.is_idle = false;
            self.0.lock().push_back(instance);
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// Those that were not needed since this was asked before, which are not kept any longer.
    pub fn idle(&self) -> Vec<Instance> {
        let mut kept = self.0.lock();
        let idle = std::iter::from_fn(|| kept.pop_front_if(|instance| instance.is_idle)).collect();
        kept.iter_mut().for_each(|instance| instance.is_idle = true);
        idle
    }

    /// All of them, which are not kept any longer.
    pub fn all(&self) -> Vec<Instance> {
        self.0.lock().drain(..).collect()
    }
}

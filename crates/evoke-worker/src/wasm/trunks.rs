//! The connections of functions to their apps' processes, over which all instances of a function are called.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use evoke_core::runtime::InstanceSpec;
use parking_lot::Mutex;

use crate::instance::Trunk;

/// Those there are.
#[derive(Debug, Default)]
pub(crate) struct Trunks(Mutex<HashMap<usize, Slot>>);

/// Where the one for a function is, once it was opened; who opens it holds the lock.
type Place = Arc<tokio::sync::Mutex<Weak<Trunk>>>;

#[derive(Debug)]
struct Slot {
    /// What the number in the key is the address of, as long as it is there.
    spec: Weak<InstanceSpec>,
    place: Place,
}

impl Trunks {
    /// The one for this function; `open` makes it where there is none that is open.
    pub(crate) async fn get<E>(
        &self,
        spec: &Arc<InstanceSpec>,
        open: impl Future<Output = Result<Trunk, E>>,
    ) -> Result<Arc<Trunk>, E> {
        let place = self.place(spec);
        let mut place = place.lock().await;
        if let Some(trunk) = place.upgrade().filter(|trunk| trunk.is_open()) {
            return Ok(trunk);
        }
        let trunk = Arc::new(open.await?);
        *place = Arc::downgrade(&trunk);
        Ok(trunk)
    }

    fn place(&self, spec: &Arc<InstanceSpec>) -> Place {
        let key = Arc::as_ptr(spec) as usize;
        let mut all = self.0.lock();
        if let Some(slot) = all.get(&key).filter(|slot| slot.spec.strong_count() > 0) {
            return Arc::clone(&slot.place);
        }
        all.retain(|_, slot| slot.spec.strong_count() > 0);
        let place = Place::default();
        all.insert(key, Slot { spec: Arc::downgrade(spec), place: Arc::clone(&place) });
        place
    }
}

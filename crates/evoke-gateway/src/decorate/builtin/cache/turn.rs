//! Of many who ask at once for what is not kept, one asks what is next.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// Addresses that are asked for at once with turns; more go without.
const HELD: usize = 10_000;
/// Addresses remembered as those whose answers are none to keep. When there are more, all are forgotten.
const PASSING: usize = 10_000;

/// Who asks, by address.
#[derive(Default)]
pub(super) struct Turns(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    held: HashMap<String, CancellationToken>,
    passing: HashSet<String>,
}

/// Whose turn it is.
pub(super) enum Asking {
    /// This one's, until it is dropped.
    Mine(Turn),
    /// Somebody has asked; that is over.
    Asked,
    /// Everybody's: the answer is probably none to keep.
    All,
}

/// A turn. Dropped, those who wait look again.
pub(super) struct Turn {
    turns: Arc<Mutex<State>>,
    key: String,
    over: CancellationToken,
}

impl Turns {
    /// Takes the turn for an address, or waits until who has it is done.
    pub async fn take(&self, key: &str) -> Asking {
        let over = {
            let mut state = self.0.lock();
            match state.held.get(key) {
                _ if state.passing.contains(key) => return Asking::All,
                Some(over) => over.clone(),
                None if state.held.len() >= HELD => return Asking::All,
                None => {
                    let over = CancellationToken::new();
                    state.held.insert(key.to_owned(), over.clone());
                    return Asking::Mine(Turn { turns: self.0.clone(), key: key.to_owned(), over });
                }
            }
        };
        over.cancelled().await;
        Asking::Asked
    }

    /// Remembers whether an address has answers to keep.
    pub fn learn(&self, key: &str, is_kept: bool) {
        let mut state = self.0.lock();
        if is_kept {
            state.passing.remove(key);
            return;
        }
        if state.passing.len() >= PASSING {
            state.passing.clear();
        }
        if !state.passing.contains(key) {
            state.passing.insert(key.to_owned());
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.lock().held.remove(&self.key);
        self.over.cancel();
    }
}

//! Waiting to be let in.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Door, Full, Kind};

/// Somebody in line.
pub(super) struct Waiter {
    pub number: u64,
    pub kind: Kind,
    /// Calls above it, for one by a running function.
    pub depth: usize,
    /// Attempts it would like to begin.
    pub want: usize,
    /// Those it may, while more are being given out.
    pub granted: usize,
    pub bytes: u64,
    pub since: Instant,
    pub to: oneshot::Sender<Told>,
}

/// What who waits is told. The line is dropped where the door closes.
#[derive(Debug)]
pub(super) enum Told {
    /// So many attempts may begin.
    In(usize),
    Refused(Full),
}

/// A place in line. Dropping it leaves the line, with what was granted in that moment.
pub(super) struct InLine {
    pub number: u64,
    pub kind: Kind,
    pub told: oneshot::Receiver<Told>,
    pub door: Arc<Door>,
    pub over: bool,
}

impl Drop for InLine {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let now = Instant::now();
        let mut state = self.door.hall.state.lock();
        if state.give_up(self.door.key, self.kind, self.number, now) {
            return;
        }
        self.told.close();
        if let Ok(Told::In(granted)) = self.told.try_recv() {
            state.leave(self.door.key, self.kind, granted, now);
        }
    }
}

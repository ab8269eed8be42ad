//! What ties a call to its connection, in one piece: what comes in for it, and its ways out. Most calls use none of it.

use std::sync::Arc;

use tokio::sync::{Notify, Semaphore};

use evoke_worker::frame::compact::Marks;

use crate::body;
use crate::connection::Common;
use crate::outgoing::Outgoing;
use crate::platform::Platform;

/// A call under way, as its connection and its guest see it.
pub(crate) struct Tie {
    /// Its number.
    pub call: u32,
    /// Bytes of its response's body that may be sent.
    pub credit: Semaphore,
    /// Nobody waits for it any more.
    pub cancelled: Notify,
    /// Its requests to the platform, and to other servers.
    pub platform: Platform,
    pub outgoing: Outgoing,
}

impl Tie {
    /// Of `call`, which marks its requests with `marks`.
    pub fn new(call: u32, common: &Arc<Common>, marks: Option<Marks>) -> Self {
        Self {
            call,
            credit: body::window(),
            cancelled: Notify::new(),
            platform: Platform::new(call, Arc::clone(&common.outbox)),
            outgoing: Outgoing::new(call, Arc::clone(common), marks),
        }
    }

    /// The call is over: nothing goes out in its name any more.
    pub fn end(&self) {
        self.platform.end();
        self.outgoing.end();
    }
}

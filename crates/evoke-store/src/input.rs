//! What an invocation is given: its request, or the event at its position in the log.

use evoke_core::event::json;
use evoke_core::store::StoredInput;
use rusqlite::Connection;

use crate::table::log::Accepted;
use crate::table::requests;
use crate::trouble::Trouble;

/// As stored; decoded on the caller's thread.
pub(crate) enum Input {
    Event(Accepted),
    Request(requests::Encoded),
}

impl Input {
    pub fn read(conn: &Connection, request: bool, n: i64, seq: i64) -> Result<Self, Trouble> {
        if request {
            return requests::Encoded::read(conn, n).map(Self::Request);
        }
        Accepted::read(conn, seq)?.map(Self::Event).ok_or_else(|| Trouble::missing("log", seq))
    }

    pub fn decode(self, n: i64) -> Result<StoredInput, Trouble> {
        match self {
            Self::Request(request) => request.decode(n).map(StoredInput::Request),
            Self::Event(accepted) => {
                let event = accepted.event.as_deref().ok_or_else(|| Trouble::missing("requests", n))?;
                let event = json::parse(event).map_err(|_| Trouble::unreadable("log", accepted.seq))?;
                Ok(StoredInput::Event(event))
            }
        }
    }
}

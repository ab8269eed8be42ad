//! Connections that a component has asked for, and that are being made.

use std::pin::Pin;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use crate::frame::message;
use crate::frame::{CONNECTS_IN_FLIGHT, Encoder, FrameError, Kind};
use crate::wasm::Lending;

/// Those that are not there yet. Made for the first one.
#[derive(Default)]
pub(super) struct Connects(Option<FuturesUnordered<Connecting>>);

type Connecting = Pin<Box<dyn Future<Output = Connected> + Send>>;

/// What became of one.
#[derive(Debug)]
pub(super) struct Connected {
    number: u64,
    word: &'static str,
}

impl Connects {
    pub(super) fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(FuturesUnordered::is_empty)
    }

    /// Begins to make the connection that a frame asks for. A worker that may not ask is told so.
    pub(super) fn ask(&mut self, payload: &[u8], lending: Option<&Lending>) -> Result<(), FrameError> {
        let (number, to) = message::numbered(Kind::Connect, payload)?;
        let connecting = self.0.get_or_insert_default();
        if connecting.len() >= CONNECTS_IN_FLIGHT {
            let message = format!("{CONNECTS_IN_FLIGHT} connections are being made already");
            return Err(FrameError::Malformed { kind: Kind::Connect, message });
        }
        let (lending, to) = (lending.cloned(), to.to_owned());
        connecting.push(Box::pin(async move {
            let word = match lending {
                Some(lending) => lending.lend(number, to).await,
                None => "denied",
            };
            Connected { number, word }
        }));
        Ok(())
    }

    /// The next one. Safe to drop and call again. Waits for ever when nothing was asked.
    pub(super) async fn next(&mut self) -> Connected {
        let connected = match &mut self.0 {
            Some(connecting) => connecting.next().await,
            None => None,
        };
        match connected {
            Some(connected) => connected,
            None => std::future::pending().await,
        }
    }
}

impl std::fmt::Debug for Connects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Connects").field(&self.0.as_ref().map(FuturesUnordered::len)).finish()
    }
}

impl Connected {
    /// Tells the worker.
    pub(super) fn write(&self, call: u32, encoder: &mut Encoder) {
        encoder.parts(Kind::Connected, call, &[&self.number.to_le_bytes(), self.word.as_bytes()]);
    }
}

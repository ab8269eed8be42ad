//! Why a call failed, for the one who wrote the component.

use wasmtime::{Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use evoke_core::usage::Usage;

use crate::meter::Memory;
use crate::wire;

/// Bytes of a message and of a stack trace. The frame that carries both has room for four times as much.
const TEXT_BYTES: usize = 32 << 10;

/// A failed call.
#[derive(Debug)]
pub(crate) struct Failure {
    ty: &'static str,
    message: String,
    stack: Option<String>,
    code: Option<&'static str>,
}

impl Failure {
    /// The function did something it may not, or did not what it must.
    pub fn new(ty: &'static str, message: impl Into<String>) -> Self {
        Self { ty, message: message.into(), stack: None, code: None }
    }

    /// The host has told that nobody waits any more.
    pub fn cancelled() -> Self {
        Self::new("Cancelled", "nobody waits for this call any more")
    }

    /// From what wasmtime says, and what the guest had asked for before.
    pub fn of(error: &wasmtime::Error, memory: &Memory) -> Self {
        let stack = error.downcast_ref::<WasmBacktrace>().map(ToString::to_string);
        let (ty, message) = match (error.downcast_ref::<Trap>(), error.downcast_ref::<I32Exit>()) {
            (Some(trap), _) => ("Trap", trap.to_string()),
            (None, Some(I32Exit(status))) => {
                ("Exit", format!("it exited with status {status} instead of returning"))
            }
            (None, None) => ("Error", error.root_cause().to_string()),
        };
        if memory.was_refused() {
            let message = format!("{message}, after it had asked for more memory than it may have");
            return Self { ty, message, stack, code: Some("out_of_memory") };
        }
        Self { ty, message, stack, code: None }
    }

    /// What happened, in words.
    pub fn words(&self) -> &str {
        &self.message
    }

    /// As it goes to the host, with what the call used.
    pub fn payload(&self, usage: Usage) -> wire::Error<'_> {
        let stack = self.stack.as_deref().map(cut);
        wire::Error { ty: self.ty, message: cut(&self.message), stack, code: self.code, usage: Some(usage) }
    }
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(TEXT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

//! Header fields that mean something to Evoke rather than to the function.

mod hop_by_hop;
mod idempotency;
mod prefer;

pub(crate) use hop_by_hop::{strip, strip_to_pass};
pub(crate) use idempotency::idempotency_key;
pub(crate) use prefer::{
    PREFERENCE_APPLIED, RESPOND_ASYNC, RespondAsync, apply_wait, preferred_wait, take_respond_async,
};

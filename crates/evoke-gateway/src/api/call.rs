//! Calls whose sender does not wait, and the server's own state.

use evoke_core::id::RunId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The answer `202` to a call with `Prefer: respond-async`: it is durable, and will be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Later {
    /// Its run; `Location` has the run's path on the control API.
    #[schema(value_type = String)]
    pub run: RunId,
    /// It had been accepted before under the same `Idempotency-Key`.
    pub duplicate: bool,
}

/// `GET /health` and `GET /ready`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// `ok`.
    pub status: String,
    /// The server's version.
    pub version: String,
}

//! What an attempt used, and all attempts at a function.

use evoke_core::usage;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What an attempt used, as the server measured it. `null`: it could not be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// Microseconds of processor time, of all threads and processes together.
    pub cpu_us: Option<u64>,
    /// Memory of the instance at its largest during the attempt, in bytes, counted as the function's `memory` counts it.
    pub peak_memory_bytes: Option<u64>,
    /// Microseconds of processor time that the instance used before, while it ran nothing: since the attempt before this one, or
    /// to be loaded.
    #[serde(default)]
    pub idle_cpu_us: u64,
    /// Other attempts used the same instance meanwhile: `cpu_us` is a share of what all of them used, `peak_memory_bytes` is of all.
    #[serde(default)]
    pub shared: bool,
}

impl From<usage::Usage> for Usage {
    fn from(usage: usage::Usage) -> Self {
        let usage::Usage { cpu_us, peak_memory_bytes, idle_cpu_us, shared } = usage;
        Self { cpu_us, peak_memory_bytes, idle_cpu_us, shared }
    }
}

/// What the attempts at a function used since the server started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Spent {
    /// Attempts that have ended.
    pub attempts: u64,
    /// Those of which the processor time is not known.
    pub unmeasured: u64,
    /// Microseconds they ran.
    pub ran_us: u64,
    /// Microseconds of processor time.
    pub cpu_us: u64,
    /// Microseconds of processor time of instances without an attempt: loading, and in between.
    pub idle_cpu_us: u64,
    /// Most memory of an instance during an attempt, in bytes; `null` while it was never measured.
    pub peak_memory_bytes: Option<u64>,
}

impl From<evoke_engine::Spent> for Spent {
    fn from(spent: evoke_engine::Spent) -> Self {
        let evoke_engine::Spent { attempts, unmeasured, ran_us, cpu_us, idle_cpu_us, peak_memory_bytes } =
            spent;
        Self { attempts, unmeasured, ran_us, cpu_us, idle_cpu_us, peak_memory_bytes }
    }
}

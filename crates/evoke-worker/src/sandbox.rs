//! What keeps a function from harming the machine, the server and other functions.
//!
//! It is made of layers, each of which the kernel may or may not allow. When the launcher starts it tries every one in a
//! throw-away child (`probe`) and reports the outcome (`Layer`); each process is then started with all that work
//! (`enter`). What each layer stops, and what none does, is told in `docs/reference/sandbox.md`.

mod cgroup;
mod enter;
mod files;
mod place;
mod privileges;
mod probe;
mod root;
mod seccomp;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::netns::Inside;

pub(crate) use enter::{Ending, Setup, Started, Told, start};
pub(crate) use place::{Place, place};
pub(crate) use probe::Sandbox;

/// Name of the layer that is a user per function.
const OWN_USER: &str = "uid";
/// Name of the layer that is the network.
const NETWORK: &str = "network";

/// Whether a server runs where layers are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// With the layers that there are.
    #[default]
    Auto,
    /// Only with all of them.
    Required,
}

/// One layer, and whether this machine has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Stable, for programs and people.
    pub name: String,
    /// What it is for, one phrase.
    pub purpose: String,
    /// Whether every function is held by it.
    pub enforced: bool,
    /// Why not, one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why_not: Option<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// How one process is to be confined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Confinement {
    /// Number of its function on this server: functions do not share a user id.
    pub function: u32,
    /// What it may read and execute besides the system's programs. Absolute.
    pub readable: Vec<PathBuf>,
    /// Folders that it may also write to; absolute. Where it is a user of its own they become that user's.
    pub writable: Vec<PathBuf>,
    /// Its folder for temporary files where it cannot have a `/tmp` of its own; absolute.
    pub scratch: Option<PathBuf>,
    /// Size of its temporary files, in bytes.
    pub tmp_bytes: u64,
    /// Memory of the process and all that it starts, in bytes. Needs cgroups.
    pub memory_bytes: u64,
    /// Private writable memory of each process, in bytes, where there are no cgroups.
    pub data_bytes: u64,
    /// What is in its network, where it can have one of its own; `None` for one that is to have the machine's.
    pub network: Option<Inside>,
}

/// Who can reach a function's runtime API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuntimeApi {
    /// The function alone: it is in its own network.
    Namespace,
    /// On the machine's loopback interface, processes of the function's user.
    FunctionUser,
    /// On the machine's loopback interface, processes of the server's user: functions have none of their own.
    ServerUser,
}

/// What a running launcher has found out about its machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Every layer, in the order in which they are told.
    pub layers: Vec<Layer>,
    /// Version of the cgroups in use.
    pub cgroups: Option<String>,
    /// Whether processes have a `/tmp` of their own.
    pub private_tmp: bool,
}

impl Machine {
    /// Whether functions have networks of their own.
    pub fn isolates_network(&self) -> bool {
        self.layers.iter().any(|layer| layer.name == NETWORK && layer.enforced)
    }

    /// Who can reach the runtime API of a function of the runtime `provided`.
    pub fn runtime_api(&self) -> RuntimeApi {
        match (self.isolates_network(), self.has_own_users()) {
            (true, _) => RuntimeApi::Namespace,
            (false, true) => RuntimeApi::FunctionUser,
            (false, false) => RuntimeApi::ServerUser,
        }
    }

    fn has_own_users(&self) -> bool {
        self.layers.iter().any(|layer| layer.name == OWN_USER && layer.enforced)
    }

    /// The user that the processes of function `number` are, as the host sees it.
    pub(crate) fn user_of(&self, number: u32) -> u32 {
        if self.has_own_users() { privileges::uid_of(number) } else { rustix::process::geteuid().as_raw() }
    }

    /// The layers that are missing.
    pub fn missing(&self) -> impl Iterator<Item = &Layer> {
        self.layers.iter().filter(|layer| !layer.enforced)
    }
}

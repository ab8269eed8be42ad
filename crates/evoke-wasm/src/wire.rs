//! The worker's half of the payloads in JSON (`docs/reference/worker-protocol.md`): what it reads, and what it writes. Heads of calls are
//! in [`compact`](evoke_worker::frame::compact).

use serde::{Deserialize, Serialize};

use evoke_core::usage::Usage;
use evoke_worker::frame::message::{Headers, HeadersOut};

/// Payload of `INIT` on the process's own socket.
#[derive(Debug, Deserialize)]
pub(crate) struct InitProcess {
    /// Live instances of all functions together.
    pub instances: u32,
    /// Whom connections trust, DER in base64.
    #[serde(default)]
    pub authorities: Vec<String>,
}

/// Payload of `INIT` on a function's socket.
#[derive(Debug, Deserialize)]
pub(crate) struct Init {
    /// Its compiled component.
    pub source: String,
    /// Its name, for its requests.
    pub function: String,
    /// Memory of one instance.
    pub memory_mib: u64,
    /// Whether an instance may serve one call after the other.
    #[serde(default)]
    pub reuse: bool,
    /// Environment variables.
    pub variables: Vec<(String, String)>,
    pub limits: InitLimits,
}

#[derive(Debug, Deserialize)]
pub(crate) struct InitLimits {
    /// Of a body held in memory.
    pub body_bytes: usize,
    /// Of one line of output.
    pub log_line_bytes: usize,
}

/// Payload of `READY`.
#[derive(Debug, Serialize)]
pub(crate) struct Ready<'a> {
    pub protocol: u32,
    pub runtime: &'a str,
    pub contract: &'a str,
}

/// Payload of `INIT_ERROR` and `ERROR`.
#[derive(Debug, Serialize)]
pub(crate) struct Error<'a> {
    /// Of a call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    #[serde(rename = "type")]
    pub ty: &'a str,
    pub message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stack: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'a str>,
}

/// The head of a platform request.
#[derive(Debug, Serialize)]
pub(crate) struct PlatformHead<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub headers: HeadersOut<'a>,
}

/// The head of an answer to it.
#[derive(Debug, Deserialize)]
pub(crate) struct AnswerHead<'a> {
    pub status: u16,
    #[serde(borrow)]
    pub headers: Headers<'a>,
}

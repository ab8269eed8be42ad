//! What a function is told when a connection is not made.

use std::net::IpAddr;

use evoke_core::egress::{Destination, Refused};

/// A connection that was not made, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub destination: Destination,
    pub why: Why,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Why {
    /// No entry of the list names it. It is an address that the operator has to open besides, if there is one.
    NotListed { closed: Option<IpAddr> },
    /// It is listed, but at an address nobody may connect to.
    Closed(Refused),
    /// It is listed, but this machine has no address for the name; in the system's words.
    NoAddress(String),
    /// It is listed, but could not be reached.
    Unreachable(String),
    /// There are too many connections already.
    TooMany { limit: usize, whose: &'static str },
}

impl Refusal {
    /// One line of the function's log.
    pub(super) fn sentence(&self, function: &str) -> String {
        let to = &self.destination;
        match &self.why {
            Why::NotListed { closed } => {
                let operator = closed
                    .map(|address| format!("; the server must be started with --egress-allow {address} too"));
                let operator = operator.unwrap_or_default();
                format!(
                    "egress to {to} was refused: add \"{to}\" to egress in [functions.{function}] of evoke.toml{operator}"
                )
            }
            Why::Closed(refused) => format!(
                "egress to {to} was refused: {refused}; the server must be started with --egress-allow {}",
                refused.address
            ),
            Why::NoAddress(cause) => format!("egress to {to} failed: no address: {cause}"),
            Why::Unreachable(cause) => format!("egress to {to} failed: {cause}"),
            Why::TooMany { limit, whose } => {
                format!(
                    "egress to {to} was refused: {limit} connections of {whose} are open, which is the limit"
                )
            }
        }
    }
}

//! The bounds that a call can meet, in words.

use std::fmt;

use evoke_core::manifest::{Rate, units};

/// The bound that a call met, with its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// Attempts of the function at once.
    Concurrency(usize),
    /// Calls that wait for it.
    Waiting(usize),
    /// Starts of it in a time.
    Rate(Rate),
    /// Attempts of the app at once.
    AppConcurrency(usize),
    /// Calls that wait for its functions.
    AppWaiting(usize),
    /// Bytes of their bodies.
    AppWaitingBytes(u64),
    /// Attempts at once on the node.
    NodeConcurrency(usize),
    /// Calls that wait on it.
    NodeWaiting(usize),
    /// Bytes of their bodies.
    NodeWaitingBytes(u64),
    /// Instances on the node.
    Instances(u64),
    /// Their memory.
    InstanceBytes(u64),
}

impl Bound {
    /// Whether it is the node that has no room; otherwise it is the function's limit, or its app's.
    pub const fn is_of_node(&self) -> bool {
        match self {
            Self::Concurrency(_)
            | Self::Waiting(_)
            | Self::Rate(_)
            | Self::AppConcurrency(_)
            | Self::AppWaiting(_)
            | Self::AppWaitingBytes(_) => false,
            Self::NodeConcurrency(_)
            | Self::NodeWaiting(_)
            | Self::NodeWaitingBytes(_)
            | Self::Instances(_)
            | Self::InstanceBytes(_) => true,
        }
    }

    /// Its name, unit last, and its value.
    pub fn limit(&self) -> (&'static str, u64) {
        match *self {
            Self::Concurrency(most) => ("concurrency", most as u64),
            Self::Waiting(most) => ("waiting", most as u64),
            Self::Rate(rate) => ("rate", rate.count.into()),
            Self::AppConcurrency(most) => ("app_concurrency", most as u64),
            Self::AppWaiting(most) => ("app_waiting", most as u64),
            Self::AppWaitingBytes(most) => ("app_waiting_bytes", most),
            Self::NodeConcurrency(most) => ("node_concurrency", most as u64),
            Self::NodeWaiting(most) => ("node_waiting", most as u64),
            Self::NodeWaitingBytes(most) => ("node_waiting_bytes", most),
            Self::Instances(most) => ("instances", most),
            Self::InstanceBytes(most) => ("instance_bytes", most),
        }
    }
}

impl fmt::Display for Bound {
    /// What was full, as the first half of a sentence.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Concurrency(most) => write!(f, "it is at its limit of {most} concurrent calls"),
            Self::Waiting(most) => write!(f, "its line is at its limit of {most} waiting calls"),
            Self::Rate(rate) => write!(f, "it is started {rate} at most"),
            Self::AppConcurrency(most) => write!(f, "its app is at its limit of {most} concurrent calls"),
            Self::AppWaiting(most) => write!(f, "its app is at its limit of {most} waiting calls"),
            Self::AppWaitingBytes(most) => {
                let most = units::format_bytes(most);
                write!(f, "the bodies of its app's waiting calls are at their limit of {most}")
            }
            Self::NodeConcurrency(most) => write!(f, "this node is at its limit of {most} concurrent calls"),
            Self::NodeWaiting(most) => write!(f, "this node is at its limit of {most} waiting calls"),
            Self::NodeWaitingBytes(most) => {
                let most = units::format_bytes(most);
                write!(f, "the bodies of this node's waiting calls are at their limit of {most}")
            }
            Self::Instances(most) => write!(f, "all {most} instances of this node are busy"),
            Self::InstanceBytes(most) => {
                write!(
                    f,
                    "of the {} that this node has for instances too little is free",
                    units::format_bytes(most)
                )
            }
        }
    }
}

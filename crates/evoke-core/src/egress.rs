//! Where a function may connect to: the `egress` list of its manifest, and the addresses no list opens.
//!
//! Two questions, both pure. [`AllowList::allows`]: does the manifest name this destination? [`AddressPolicy::check`]: may
//! anything on this node connect to this address? The first is asked with what the function wanted (a name, or an address
//! where it dialled one), the second with every address the connection is really made to, at the time it is made: a name
//! that is allowed may resolve to an address that is not.

mod address;
mod entry;

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use address::{AddressPolicy, Cidr, CidrError, Refused};
pub use entry::{Entry, EntryError, HostPattern};

/// A place a function wants to connect to. Its text is an entry that would allow exactly it: `api.github.com:443`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Destination {
    /// Which machine.
    pub host: Host,
    /// TCP port.
    pub port: u16,
}

/// A machine as a function names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// By name: lower case, without the last dot.
    Name(String),
    /// By address.
    Address(IpAddr),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Which addresses a connection that Evoke itself makes may lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Those of the public internet, and those the operator opened.
    Public,
    /// Only those the operator opened: what is sent there is not encrypted.
    Opened,
}

/// The `egress` list of a function. Empty: it may connect to nothing. As JSON, an array of strings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AllowList(Vec<Entry>);

impl AllowList {
    /// Whether nothing is allowed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The entries, in the manifest's order.
    pub fn entries(&self) -> &[Entry] {
        &self.0
    }

    /// Whether an entry names the destination.
    pub fn allows(&self, destination: &Destination) -> bool {
        self.0.iter().any(|entry| entry.allows(destination))
    }

    /// Whether an entry has this name, with whatever port.
    pub fn names(&self, name: &str) -> bool {
        self.0.iter().any(|entry| entry.host.matches_name(name))
    }

    /// All ports of the list.
    pub fn ports(&self) -> BTreeSet<u16> {
        self.0.iter().map(|entry| entry.port).collect()
    }
}

impl FromIterator<Entry> for AllowList {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        Self(entries.into_iter().collect())
    }
}

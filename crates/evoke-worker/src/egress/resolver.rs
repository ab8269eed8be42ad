//! From a name to the addresses it has out here.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

/// Addresses one name is tried at.
const ADDRESSES_MAX: usize = 16;

/// Who knows the addresses of names.
#[derive(Debug, Clone, Default)]
pub enum Resolver {
    /// The system: its hosts file, its name servers.
    #[default]
    System,
    /// This table, and nobody else.
    Table(BTreeMap<String, Vec<IpAddr>>),
}

impl Resolver {
    /// The addresses of a name, in the order in which they are to be tried. The error is the system's, when it knows none.
    pub(super) async fn look_up(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        match self {
            Self::Table(table) => {
                let unknown = || io::Error::from(io::ErrorKind::NotFound);
                table.get(name).cloned().ok_or_else(unknown)
            }
            Self::System => {
                let found = tokio::net::lookup_host((name, 0)).await?;
                let mut addresses: Vec<IpAddr> = Vec::new();
                for address in found.map(|found| found.ip()) {
                    if addresses.len() < ADDRESSES_MAX && !addresses.contains(&address) {
                        addresses.push(address);
                    }
                }
                Ok(addresses)
            }
        }
    }
}

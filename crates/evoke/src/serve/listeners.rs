//! Where a server listens, written into its data folder for the commands of the same machine.

use std::path::Path;

use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use crate::exit::{Error, Result};

/// The file's name.
pub const LISTENERS_FILE: &str = "listeners.json";

/// The file's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listeners {
    /// Process id of the server.
    pub pid: u32,
    /// Base URL of the data listener.
    pub data: String,
    /// Base URL of the control listener.
    pub admin: String,
}

impl Listeners {
    /// Those of this process.
    pub fn of(data: &TcpListener, admin: &TcpListener, tls: bool) -> Result<Self> {
        let url = |listener: &TcpListener, scheme: &str| {
            let address = listener.local_addr().map_err(|cause| {
                Error::failed("listen", format!("a listener does not know its own address: {cause}"))
            })?;
            Ok::<_, Error>(format!("{scheme}://{address}"))
        };
        Ok(Self {
            pid: std::process::id(),
            data: url(data, if tls { "https" } else { "http" })?,
            admin: url(admin, "http")?,
        })
    }

    /// Those of the server with this data folder, if one said so.
    pub fn read(folder: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(folder.join(LISTENERS_FILE)).ok()?).ok()
    }

    /// Says where this server listens. A file left by a killed one is replaced.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(LISTENERS_FILE);
        let text = serde_json::to_vec_pretty(self).map_err(std::io::Error::from);
        text.and_then(|text| std::fs::write(&path, text)).map_err(|cause| {
            Error::failed("data_folder", format!("{} cannot be written: {cause}", path.display()))
        })
    }

    /// Nobody listens any more. That the file cannot be removed is no reason to fail: readers check.
    pub fn remove(folder: &Path) {
        let _ = std::fs::remove_file(folder.join(LISTENERS_FILE));
    }
}

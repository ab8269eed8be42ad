//! `evoke store …`: what can be asked of the files of a store.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `evoke store …`.
#[derive(Debug, Subcommand)]
pub enum StoreVerb {
    /// Look at every page, record, reference and object for damage.
    Verify {
        /// Where.
        #[command(flatten)]
        data: DataArgs,
    },
    /// Copy the store, also while its server runs.
    Backup {
        /// Folder of the backup: empty, or not there yet.
        #[arg(value_name = "BACKUP")]
        to: PathBuf,
        /// Where.
        #[command(flatten)]
        data: DataArgs,
    },
    /// Make a data folder of a backup.
    Restore {
        /// Folder of the backup.
        #[arg(value_name = "BACKUP")]
        from: PathBuf,
        /// The data folder to make: empty, or not there yet.
        #[command(flatten)]
        data: DataArgs,
    },
    /// Make a new data folder of what is intact in a damaged store.
    Salvage {
        /// The data folder to make: empty, or not there yet.
        #[arg(value_name = "NEW")]
        to: PathBuf,
        /// Where the damaged one is.
        #[command(flatten)]
        data: DataArgs,
    },
    /// Write the store anew without its free pages; its server must be stopped.
    Compact {
        /// Where.
        #[command(flatten)]
        data: DataArgs,
    },
    /// Count what is in the store, by app and by table.
    Stats {
        /// Where.
        #[command(flatten)]
        data: DataArgs,
    },
}

/// Which store.
#[derive(Debug, Clone, Args)]
pub struct DataArgs {
    /// Folder of everything durable.
    #[arg(long, value_name = "DIR", env = "EVOKE_DATA", default_value = ".evoke")]
    pub data: PathBuf,
}

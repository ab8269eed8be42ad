//! Evoke's embedded store: one SQLite file, one writer, group commit.
//!
//! **What it is:** the back end of [`evoke_core::store::Store`] for a single machine, with nothing to install or run
//! beside it. All writes go through one named thread, which takes whatever waits, runs it in one transaction and
//! answers when that is on the disk; so a hundred producers share one `fsync`. Reads run on threads of their own and
//! never wait for writes. Objects (bundles) are files beside the database. `docs/reference/store.md` describes the
//! files, the guarantees and the bounds.
//!
//! **What it is not:** shared. One process owns a data directory, by a lock; the leases of an earlier owner are void.
//!
//! **Bounds:** [`limit`] has them all.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use evoke_core::store::{Space, Store};
//! use evoke_core::time::Timestamp;
//! use evoke_store::{OpenOptions, SqliteStore};
//!
//! let store = SqliteStore::open("./.evoke".as_ref(), OpenOptions::default())?;
//! let apps = store.get(&Space::apps(), "shop", Timestamp(0)).await?;
//! store.close().await?;
//! # Ok(())
//! # }
//! ```

pub mod backup;
mod compact;
mod crc;
mod dir;
mod input;
pub mod limit;
mod migrate;
mod number;
mod object;
mod open;
mod read;
mod rest;
mod schema;
pub mod stats;
mod store;
mod table;
mod trouble;
mod verify;
mod write;

pub use compact::{Compacted, compact};
pub use migrate::Progress;
pub use open::{OpenError, OpenOptions};
pub use schema::VERSION as FORMAT;
pub use store::SqliteStore;
pub use verify::{Finding, Report, Severity, verify};

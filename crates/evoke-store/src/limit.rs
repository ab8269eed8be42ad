//! Every bound of the store, in one place.

use std::time::Duration;

/// Bytes of work that may wait for the writer; whoever brings more waits. An item counts as at least 1 KiB.
pub const WAITING_BYTES: usize = 64 << 20;
/// Items of one transaction at most.
pub const BATCH_ITEMS: usize = 1_024;
/// Bytes of one transaction at most, unless a single item is larger.
pub const BATCH_BYTES: usize = 16 << 20;
/// How long what [`record`](evoke_core::store::Store::record) was given may wait in memory.
pub const RECORD_DELAY: Duration = Duration::from_millis(200);
/// Calls of `record` that may wait in memory.
pub const RECORDS_WAITING: usize = 256;
/// Reads that may wait for a reader; whoever brings more waits.
pub const READS_WAITING: usize = 256;
/// Rows of each kind one sweep deletes at most, so that the writer is never busy for long.
pub const SWEEP_ROWS: usize = 500;
/// Rows of events one sweep looks at at most: those that are needed are passed over.
pub const SWEEP_LOOKS: usize = 2_000;
/// Queues of which one sweep sees whether anything is in them.
pub const SWEEP_QUEUES: usize = 200;
/// Pages (of 4 KiB) that are given back to the file system at once.
pub const SHRINK_PAGES: i64 = 64;
/// Free pages that are kept in any case, to be used again.
pub const FREE_PAGES: i64 = 1_024;
/// Of all pages one in so many may be free.
pub const FREE_SHARE: i64 = 8;
/// Page cache of the writer, in KiB; it grows with use.
pub const WRITER_CACHE_KIB: i64 = 16 << 10;
/// Page cache of each reader, in KiB.
pub const READER_CACHE_KIB: i64 = 2 << 10;
/// Pages (of 4 KiB) in the write-ahead log after which it is moved into the database.
pub const LOG_PAGES: i64 = 4_096;
/// Bytes to which the write-ahead log is cut after it grew beyond them.
pub const LOG_BYTES: i64 = 64 << 20;
/// Findings of one [`verify`](crate::verify()) that are told one by one; further ones are counted.
pub const FINDINGS: usize = 1_000;

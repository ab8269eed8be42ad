//! One binary for all integration tests of the crate; the files mirror `src`.

mod event;
mod manifest;
mod retry;
mod store;

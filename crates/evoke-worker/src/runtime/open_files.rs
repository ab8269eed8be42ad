//! How many files the host may have open, which bounds how many instances it can have.

use rustix::process::{Resource, Rlimit};

/// How many files this process may have open: now, and at most. `None` is without a limit.
pub fn open_files() -> (Option<u64>, Option<u64>) {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    (limit.current, limit.maximum)
}

/// Each instance takes four descriptors of this process; the customary soft limit of 1,024 is soon reached.
pub(super) fn allow_open_files() {
    let most = rustix::process::getrlimit(Resource::Nofile).maximum;
    if let Err(cause) = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most })
    {
        tracing::warn!(%cause, "the limit of open files cannot be raised");
    }
}

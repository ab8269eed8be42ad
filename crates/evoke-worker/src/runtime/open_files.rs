//! How many files the host may have open, which bounds how many instances it can have.

use std::os::fd::AsFd;

use rustix::process::{Resource, Rlimit};

/// How many files this process may have open: now, and at most. `None` is without a limit.
pub fn open_files() -> (Option<u64>, Option<u64>) {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    (limit.current, limit.maximum)
}

/// Each instance takes four descriptors of this process; the customary soft limit of 1,024 is soon reached.
pub fn allow_open_files() {
    let most = rustix::process::getrlimit(Resource::Nofile).maximum;
    if let Err(cause) = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most })
    {
        tracing::warn!(%cause, "the limit of open files cannot be raised");
    }
}

/// Makes the kernel's table of this process's files large enough for `count` of them, or for as many as it may have. `any` is one of
/// them. To be called while there is one thread: with several, each doubling of the table makes who opens a file wait for all
/// processors (`expand_fdtable`, `synchronize_rcu`), 10 to 20 ms.
pub fn make_room_for_open_files(any: impl AsFd, count: u64) {
    let most = rustix::process::getrlimit(Resource::Nofile).current.unwrap_or(count).min(count);
    if let Ok(last) = i32::try_from(most.saturating_sub(1)) {
        // Where there is no memory for the table, it grows later, or says so then.
        drop(rustix::io::fcntl_dupfd_cloexec(any, last));
    }
}

#[cfg(test)]
mod tests {
    use super::{make_room_for_open_files, open_files};

    /// As the kernel tells of this process.
    fn table_size() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("FDSize:")).unwrap();
        line.trim().parse().unwrap()
    }

    #[test]
    fn the_table_of_open_files_is_as_large_as_was_asked_for_or_is_allowed() {
        let allowed = open_files().0.unwrap_or(u64::MAX);
        make_room_for_open_files(std::io::stdin(), 3_000);
        assert!(table_size() >= allowed.min(3_000), "{}", table_size());
    }
}

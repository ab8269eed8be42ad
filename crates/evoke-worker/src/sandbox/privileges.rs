//! Who a process is, and what it may do as that: user ids, the map of a user namespace, capabilities, resource limits.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::process::{DumpableBehavior, Gid, Resource, Rlimit, Uid};
use rustix::thread::{CapabilitiesSecureBits, CapabilitySet, CapabilitySets};

/// The first user id of functions. Above what `useradd`, subordinate ids and systemd hand out.
pub(super) const FIRST_UID: u32 = 400_000_000;
/// How many ids there are.
pub(super) const UIDS: u32 = 65_536;

/// Open files of a process.
const OPEN_FILES: u64 = 1024;

/// The user id of a function, by its number.
pub(super) fn uid_of(function: u32) -> u32 {
    FIRST_UID + function % UIDS
}

/// Becomes the user `uid`, in the group of the same number and no other.
pub(super) fn become_user(uid: u32) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(uid));
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    Ok(())
}

/// The folder of this process in the host's `/proc`, to reach it after the root has changed.
pub(super) fn own_proc() -> io::Result<OwnedFd> {
    Ok(rustix::fs::open("/proc/self", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// In a user namespace that was just made: maps the user and group that this process has outside, and nobody else.
pub(super) fn map_to_itself(proc: BorrowedFd<'_>, uid: Uid, gid: Gid) -> io::Result<()> {
    // A change of user makes /proc/self belong to root, until the next exec or this.
    rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable)?;
    write(proc, "setgroups", "deny")?;
    write(proc, "gid_map", &format!("{0} {0} 1", gid.as_raw()))?;
    write(proc, "uid_map", &format!("{0} {0} 1", uid.as_raw()))
}

pub(super) fn write(folder: BorrowedFd<'_>, name: &str, text: &str) -> io::Result<()> {
    let file = rustix::fs::openat(folder, name, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, text.as_bytes())?;
    Ok(())
}

/// Empties the set of what may ever be gained, as far as this process is allowed to. A change of user must come after it, a
/// new user namespace before it.
pub(super) fn drop_bounding_set() -> io::Result<()> {
    if !may_set_capabilities()? {
        return Ok(());
    }
    for bit in 0..64 {
        match rustix::thread::remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << bit)) {
            Ok(()) => {}
            // Past the last one that this kernel knows.
            Err(rustix::io::Errno::INVAL) => break,
            Err(cause) => return Err(cause.into()),
        }
    }
    Ok(())
}

fn may_set_capabilities() -> io::Result<bool> {
    Ok(rustix::thread::capabilities(None)?.effective.contains(CapabilitySet::SETPCAP))
}

/// Gives up every capability, for good: also a program with file capabilities or the user id 0 gets none.
pub(super) fn drop_capabilities() -> io::Result<()> {
    drop_bounding_set()?;
    if may_set_capabilities()? {
        use CapabilitiesSecureBits as Bits;
        let bits =
            Bits::NO_ROOT | Bits::NO_ROOT_LOCKED | Bits::NO_SETUID_FIXUP | Bits::NO_SETUID_FIXUP_LOCKED;
        rustix::thread::set_capabilities_secure_bits(
            bits | Bits::NO_CAP_AMBIENT_RAISE | Bits::NO_CAP_AMBIENT_RAISE_LOCKED,
        )?;
    }
    // Kernels before 4.3 have no such set.
    let _ = rustix::thread::clear_ambient_capability_set();
    let none = CapabilitySet::empty();
    rustix::thread::set_capabilities(
        None,
        CapabilitySets { effective: none, permitted: none, inheritable: none },
    )?;
    Ok(())
}

/// Limits of one process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rlimits {
    /// Private writable memory.
    pub data_bytes: Option<u64>,
    /// Size of a file it writes.
    pub file_bytes: Option<u64>,
    /// Processes and threads. Counted by user and user namespace, so only where at least one of these is its own.
    pub processes: Option<u64>,
}

/// Sets them, and that there are no core dumps.
pub(super) fn limit(limits: Rlimits) -> io::Result<()> {
    let set = |resource, value: u64| {
        // A lower limit that somebody else has set stays.
        let had = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let value = Some(value.min(had));
        rustix::process::setrlimit(resource, Rlimit { current: value, maximum: value })
    };
    set(Resource::Core, 0)?;
    set(Resource::Nofile, OPEN_FILES)?;
    let optional = [
        (Resource::Data, limits.data_bytes),
        (Resource::Fsize, limits.file_bytes),
        (Resource::Nproc, limits.processes),
    ];
    for (resource, value) in optional {
        if let Some(value) = value {
            set(resource, value)?;
        }
    }
    Ok(())
}

//! The calls into the kernel that the standard library and rustix cannot make safely. The only `unsafe` of Evoke.

#![expect(
    unsafe_code,
    reason = "what runs between fork and exec, signal dispositions and poller registration have no safe interface"
)]

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, Signal};
use tokio::io::unix::AsyncFd;

/// The file descriptor at which an instance finds its end of the socket.
pub(crate) const CHANNEL_FD: i32 = 3;

/// Open files an instance may have, unless it asks for more.
const FILES: u64 = 1024;

/// Signals a terminal or a service manager sends to whole groups: the launcher outlives them to finish its work.
const IGNORED: [libc::c_int; 3] = [libc::SIGHUP, libc::SIGINT, libc::SIGTERM];

/// Registers a non-blocking socket or pipe with the runtime's poller.
pub(crate) fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the value owns the open descriptor, gives out the same one each time, and is not replaced while registered.
    Ok(unsafe { AsyncFd::register(fd) }?)
}

/// Makes this process deaf to the signals of [`IGNORED`]. Children set up by [`confine`] hear them again.
pub(crate) fn ignore_group_signals() {
    for signal in IGNORED {
        // SAFETY: SIG_IGN installs no handler, so nothing of ours can run in signal context.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Makes every file descriptor from 3 on close on exec: what the host leaked into the launcher stops here.
pub(crate) fn close_on_exec_from_3() -> io::Result<()> {
    // SAFETY: CLOSE_RANGE_CLOEXEC closes nothing, it only sets a flag on descriptors that are open.
    let done = unsafe { libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sets up what happens in the child between fork and exec: a session of its own, death with the launcher, orphans of
/// its descendants collected below it, resource limits, and `channel` at [`CHANNEL_FD`].
///
/// Needs descriptor 3 to be taken in this process, so that neither `channel` nor a pipe of the standard library is there.
pub(crate) fn confine(command: &mut Command, channel: OwnedFd, data_bytes_max: Option<u64>) {
    let launcher = rustix::process::getpid();
    let before_exec = move || -> io::Result<()> {
        for signal in IGNORED {
            // SAFETY: signal(2) is async-signal-safe; SIG_DFL installs no handler.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        rustix::process::setsid()?;
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // If the launcher died before the line above, no signal will ever come.
        if rustix::process::getppid() != Some(launcher) {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        let limit = |bytes| Rlimit { current: Some(bytes), maximum: Some(bytes) };
        rustix::process::setrlimit(Resource::Core, limit(0))?;
        if let Some(bytes) = data_bytes_max {
            rustix::process::setrlimit(Resource::Data, limit(bytes))?;
        }
        // Whatever the host needs for itself; above 1,024 programs that use select(2) have to know what they do.
        let files = rustix::process::getrlimit(Resource::Nofile).maximum;
        let files_now = files.map_or(FILES, |most| most.min(FILES));
        rustix::process::setrlimit(Resource::Nofile, Rlimit { current: Some(files_now), maximum: files })?;
        rustix::process::umask(Mode::from_raw_mode(0o077));
        // SAFETY: the descriptor is only named as the target of dup2, and never closed through this value.
        let mut target = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(CHANNEL_FD) });
        rustix::io::dup2(&channel, &mut target)?;
        Ok(())
    };
    // SAFETY: the closure makes only async-signal-safe system calls, allocates nothing and takes no lock; the launcher
    // is single-threaded besides.
    unsafe { command.pre_exec(before_exec) };
}

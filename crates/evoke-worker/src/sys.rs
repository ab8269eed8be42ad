//! The calls into the kernel that the standard library and rustix cannot make safely. The only `unsafe` of Evoke.

#![expect(
    unsafe_code,
    reason = "fork, mount attributes, signal dispositions and poller registration have no safe interface"
)]

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;

use bytes::{BufMut as _, BytesMut};
use rustix::net::RecvFlags;
use rustix::process::Pid;
use rustix::thread::UnshareFlags;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The file descriptor at which an instance finds its end of the socket.
pub(crate) const CHANNEL_FD: i32 = 3;

/// Signals a terminal or a service manager sends to whole groups: the launcher outlives them to finish its work.
const IGNORED: [libc::c_int; 3] = [libc::SIGHUP, libc::SIGINT, libc::SIGTERM];

/// The host's socket, in a program that was started as a worker. Only its main function may ask, and only once.
pub fn channel() -> OwnedFd {
    // SAFETY: the launcher leaves the worker's end of the socket at this number, and nobody else knows of it.
    unsafe { OwnedFd::from_raw_fd(CHANNEL_FD) }
}

/// Registers a non-blocking socket or pipe with the runtime's poller.
pub(crate) fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    watch_for(fd, Interest::READABLE | Interest::WRITABLE)
}

/// The same, to be told of one thing only.
pub(crate) fn watch_for(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the value owns the open descriptor, gives out the same one each time, and is not replaced while registered.
    Ok(unsafe { AsyncFd::register_with_interest(fd, interest) }?)
}

/// The same of one that others may hold too. Two runtimes may watch it at a time.
pub(crate) fn watch_shared(fd: Arc<OwnedFd>, interest: Interest) -> io::Result<AsyncFd<Arc<OwnedFd>>> {
    // SAFETY: as above; whoever else holds it, the descriptor stays open as long as this one does.
    Ok(unsafe { AsyncFd::register_with_interest(fd, interest) }?)
}

/// Appends what a socket has received, as far as there is capacity for it, without waiting; 0 bytes at its end.
pub(crate) fn receive(socket: BorrowedFd<'_>, to: &mut BytesMut) -> io::Result<usize> {
    let (_, bytes) = rustix::net::recv(socket, to.spare_capacity_mut(), RecvFlags::DONTWAIT)?;
    // SAFETY: the kernel has written so many bytes behind those there were; without MSG_TRUNC it counts no others.
    unsafe { to.advance_mut(bytes) };
    Ok(bytes)
}

/// Makes this process deaf to the signals of [`IGNORED`]. [`heed_group_signals`] undoes it.
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

/// Puts `channel` at [`CHANNEL_FD`], where exec leaves it open.
///
/// Needs descriptor 3 to be taken in this process by something that nobody uses again.
pub(crate) fn place_channel(channel: &OwnedFd) -> io::Result<()> {
    // SAFETY: the descriptor is only named as the target of dup2, and never closed through this value.
    let mut target = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(CHANNEL_FD) });
    rustix::io::dup2(channel, &mut target)?;
    Ok(())
}

/// Makes this process hear the signals of [`IGNORED`] again.
pub(crate) fn heed_group_signals() {
    for signal in IGNORED {
        // SAFETY: SIG_DFL installs no handler.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Forks, with namespaces (`CLONE_NEW…`) of its own for the child. The child runs `child` and exits with what it returns.
///
/// Only for a process with one thread: there, unlike anywhere else, the child may do whatever the parent may.
pub(crate) fn fork(namespaces: i32, child: impl FnOnce() -> i32) -> io::Result<(Pid, OwnedFd)> {
    let mut pidfd: libc::c_int = -1;
    let flags = namespaces | libc::CLONE_PIDFD | libc::SIGCHLD;
    // SAFETY: without CLONE_VM and with no stack of its own the child goes on with a copy of this process's memory, as
    // after fork(2); the only pointer is to a live integer. Not clone3, which container runtimes refuse.
    let pid = unsafe {
        libc::syscall(libc::SYS_clone, flags as libc::c_long, 0usize, &raw mut pidfd, 0usize, 0usize)
    };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let _leave = Leave;
            let status = child();
            // SAFETY: ends the process without running anything of the parent's.
            unsafe { libc::_exit(status) }
        }
        pid => {
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            let pid = pid.ok_or_else(|| io::Error::other("the kernel returned no process id"))?;
            // SAFETY: the kernel has just made this descriptor for us.
            Ok((pid, unsafe { OwnedFd::from_raw_fd(pidfd) }))
        }
    }
}

/// Processor time of a process with all its threads, also those that have ended, in nanoseconds; `None` when there is no such process.
/// What it started is left out. No right over the process is needed.
pub(crate) fn process_cpu_ns(pid: i32) -> Option<u64> {
    // What clock_getcpuclockid(3) makes of a process id: the number's complement, and that the scheduler is asked.
    const SCHEDULER: i32 = 2;
    // Zero would be this process, and above there is no room for the number; the kernel's limit is 2²².
    let clock = if (1..1 << 28).contains(&pid) { (!pid << 3) | SCHEDULER } else { return None };
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec, to a live one.
    let done = unsafe { libc::clock_gettime(clock, &raw mut time) };
    let ns =
        u64::try_from(time.tv_sec).ok()?.checked_mul(1_000_000_000)? + u64::try_from(time.tv_nsec).ok()?;
    (done == 0).then_some(ns)
}

/// Ends this process, a forked child, without running anything of its parent's.
pub(crate) fn exit(status: i32) -> ! {
    // SAFETY: no handler or destructor runs.
    unsafe { libc::_exit(status) }
}

/// Ends a forked child that panics, before it unwinds into its parent's code.
struct Leave;

impl Drop for Leave {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe { libc::_exit(125) }
    }
}

/// Closes every file descriptor but `kept`, which becomes descriptor 0.
pub(crate) fn keep_only(kept: OwnedFd) -> io::Result<OwnedFd> {
    let kept = ManuallyDrop::new(kept);
    // SAFETY: the caller is a forked child that owns all descriptors and uses none but the one it gets back.
    unsafe {
        if libc::dup2(kept.as_raw_fd(), 0) == -1 {
            return Err(io::Error::last_os_error());
        }
        libc::syscall(libc::SYS_close_range, 1u32, u32::MAX, 0u32);
        Ok(OwnedFd::from_raw_fd(0))
    }
}

/// Lets only those packets into a socket that the filter keeps.
pub(crate) fn attach_filter(socket: BorrowedFd<'_>, filter: &[libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
    // SAFETY: the option's value is a sock_fprog of that size, whose instructions live across the call; the kernel copies
    // them and writes nothing.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            size_of_val(&program) as libc::socklen_t,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Moves this process, which has one thread, into new namespaces.
pub(crate) fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: the descriptor table is not among what callers unshare, and there is one thread only.
    Ok(unsafe { rustix::thread::unshare_unsafe(flags) }?)
}

/// Adds attributes (`MOUNT_ATTR_…`) to the mount that `at` is the root of, and with `recursive` to all below it.
pub(crate) fn restrict_mount(at: BorrowedFd<'_>, attributes: u64, recursive: bool) -> io::Result<()> {
    let attr = libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: an empty C string, and a live structure with its size.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            at.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of_val(&attr),
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

//! System calls no function needs, and most attacks on a kernel begin with. They fail with EPERM.
//!
//! A list of what is denied, not of what is allowed: functions are ordinary programs, and what is not on this list is what
//! an unprivileged user may call anyway. Nothing on it is used by Node.js, CPython or the C library in normal work.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, sock_filter,
};

/// Denied whatever the arguments.
const DENIED: &[libc::c_long] = &[
    // Other processes' memory.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // Mounts and namespaces.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_open_by_handle_at,
    libc::SYS_quotactl,
    SYS_QUOTACTL_FD,
    libc::SYS_acct,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    // Wide and young parts of the kernel.
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_userfaultfd,
    libc::SYS_fanotify_init,
    libc::SYS_vhangup,
    // The machine as a whole.
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_syslog,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
];

/// The number is the same on every architecture since the tables were unified.
const SYS_QUOTACTL_FD: libc::c_long = 443;

/// `clone` with any of these makes a namespace.
const NAMESPACES: [libc::c_int; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// `ioctl`s that type into a terminal.
const TYPING: [u64; 2] = [libc::TIOCSTI, 0x541c /* TIOCLINUX */];

/// Compiled, to be applied one after the other.
#[derive(Debug, Clone)]
pub(super) struct Filters(Vec<BpfProgram>);

impl Filters {
    /// Compiles for this machine. The error is a sentence.
    pub(super) fn compile() -> Result<Self, String> {
        let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|cause| cause.to_string())?;
        let denied = filter(denied().map_err(text)?, libc::EPERM, arch)?;
        // Its flags are in memory, where a filter cannot look; the C library falls back to clone.
        let absent = filter(BTreeMap::from([(libc::SYS_clone3, Vec::new())]), libc::ENOSYS, arch)?;
        let mut programs = vec![denied, absent];
        programs.extend(other_numbering());
        Ok(Self(programs))
    }

    /// From here on this process, and all that come from it, are held to them.
    pub(super) fn apply(&self) -> Result<(), String> {
        self.0.iter().try_for_each(|program| seccompiler::apply_filter(program).map_err(text))
    }
}

fn filter(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    errno: i32,
    arch: TargetArch,
) -> Result<BpfProgram, String> {
    let action = SeccompAction::Errno(errno.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, action, arch).map_err(text)?;
    filter.try_into().map_err(text)
}

fn denied() -> Result<BTreeMap<i64, Vec<SeccompRule>>, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = DENIED.iter().map(|&call| (call, Vec::new())).collect();
    let is = |argument, operator, value| SeccompCondition::new(argument, Len::Dword, operator, value);

    let mut clone = Vec::new();
    for flag in NAMESPACES {
        let flag = u64::from(flag.unsigned_abs());
        clone.push(SeccompRule::new(vec![is(0, Op::MaskedEq(flag), flag)?])?);
    }
    rules.insert(libc::SYS_clone, clone);

    let mut ioctl = Vec::new();
    for request in TYPING {
        ioctl.push(SeccompRule::new(vec![is(1, Op::Eq, request)?])?);
    }
    rules.insert(libc::SYS_ioctl, ioctl);

    // What is not the default, nor the question which one it is: switching off address randomisation, above all.
    let default_or_query = vec![is(0, Op::Ne, 0)?, is(0, Op::Ne, 0xffff_ffff)?];
    rules.insert(libc::SYS_personality, vec![SeccompRule::new(default_or_query)?]);

    let family = |family: libc::c_int| u64::from(family.unsigned_abs());
    let known = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
    let others = known.iter().map(|&known| is(0, Op::Ne, family(known))).collect::<Result<Vec<_>, _>>()?;
    let mut socket = vec![SeccompRule::new(others)?];
    for inet in [libc::AF_INET, libc::AF_INET6] {
        let raw = family(libc::SOCK_RAW);
        socket.push(SeccompRule::new(vec![is(0, Op::Eq, family(inet))?, is(1, Op::MaskedEq(0xf), raw)?])?);
    }
    // The C library lists network interfaces over NETLINK_ROUTE; nothing else of netlink is wanted.
    let route = u64::from(libc::NETLINK_ROUTE.unsigned_abs());
    let netlink = vec![is(0, Op::Eq, family(libc::AF_NETLINK))?, is(2, Op::Ne, route)?];
    socket.push(SeccompRule::new(netlink)?);
    rules.insert(libc::SYS_socket, socket);
    Ok(rules)
}

/// On x86-64 a second numbering of the same calls (x32) begins at this bit; a list of denied numbers must not be got
/// around by it.
fn other_numbering() -> Option<BpfProgram> {
    const X32: u32 = 0x4000_0000;
    const LOAD_NUMBER: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS, from offset 0 of seccomp_data
    const JUMP_IF_AT_LEAST: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    const ALLOW: u32 = 0x7fff_0000;
    const ERRNO: u32 = 0x0005_0000;
    let step = |code, jt, k| sock_filter { code, jt, jf: 0, k };
    cfg!(target_arch = "x86_64").then(|| {
        vec![
            step(LOAD_NUMBER, 0, 0),
            step(JUMP_IF_AT_LEAST, 1, X32),
            step(RETURN, 0, ALLOW),
            step(RETURN, 0, ERRNO | libc::ENOSYS.unsigned_abs()),
        ]
    })
}

fn text(cause: impl std::fmt::Display) -> String {
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_compile_and_fit_the_kernels_bound() {
        for program in Filters::compile().unwrap().0 {
            assert!(program.len() < 4096, "{} instructions", program.len());
        }
    }
}

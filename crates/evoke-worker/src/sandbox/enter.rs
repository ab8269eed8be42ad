//! From the launcher to a program in its sandbox: fork, put on every layer, exec.
//!
//! The launcher has one thread, so its forked child is an ordinary process and this is ordinary code. Where there is a pid
//! namespace that child becomes its process 1, which does nothing but wait for the program and collect orphans: as
//! process 1 a program would be deaf to most signals, and nobody would tell how it ended.

use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::pipe::PipeFlags;
use rustix::process::{DumpableBehavior, Gid, Pid, Signal, Uid, WaitOptions, WaitStatus};
use rustix::thread::UnshareFlags;

use super::Confinement;
use super::cgroup::Group;
use super::files::{self, Rules};
use super::privileges::{self, Rlimits};
use super::probe::{Sandbox, Tier};
use super::root::{self, Root};
use crate::gauge::Counters;

/// Processes and threads of one instance.
pub(super) const PROCESSES: u64 = 256;
/// What it is called, to itself.
const HOST_NAME: &[u8] = b"function";
/// When memory runs out, functions go before anything else of the machine.
const OOM_SCORE: &str = "500";
/// Bytes of a sentence about a start that failed.
const CAUSE_BYTES: usize = 1024;

/// A program, and what it is connected to.
#[derive(Debug)]
pub(crate) struct Setup {
    pub program: String,
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    pub cwd: String,
    /// `None` for a program that is the operator's own.
    pub confinement: Option<Confinement>,
    pub channel: OwnedFd,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
    /// Where the sockets of its own network leave, if it is to have one.
    pub network: Option<OwnedFd>,
}

/// A process that was started.
#[derive(Debug)]
pub(crate) struct Started {
    /// Of the outermost process: killing it kills all of them, where there is a pid namespace.
    pub pid: Pid,
    pub pidfd: OwnedFd,
    /// Tells how it ended, or why it did not begin.
    status: File,
    group: Option<Group>,
}

/// How a process ended, as far as it is known from within.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    /// Nothing was told: its own exit status says it.
    Nothing,
    /// This is how the program in the pid namespace ended.
    Ended(Ending),
    /// It never ran.
    Failed(String),
}

/// The end of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// With this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl Ending {
    /// Out of what `wait` says of a process that is dead.
    pub(crate) fn of(status: WaitStatus) -> Option<Self> {
        let signal = status.terminating_signal().map(Self::Signal);
        status.exit_status().map(Self::Code).or(signal)
    }
}

impl Started {
    /// What it told before it died. Only for a dead process.
    pub(crate) fn told(&mut self) -> Told {
        let mut said = Vec::new();
        // A remnant of it may still hold the pipe; it does not wait.
        let _ = (&self.status).take(CAUSE_BYTES as u64).read_to_end(&mut said);
        match said.split_first() {
            Some((b'E', text)) => {
                // Process 1 adds how the one ended that said this.
                let text = text.split(|byte| *byte == 0).next().unwrap_or(text);
                Told::Failed(String::from_utf8_lossy(text).into_owned())
            }
            Some((kind @ (b'C' | b'S'), number)) => match number.try_into().map(i32::from_le_bytes) {
                Ok(code) if *kind == b'C' => Told::Ended(Ending::Code(code)),
                Ok(signal) => Told::Ended(Ending::Signal(signal)),
                Err(_) => Told::Nothing,
            },
            _ => Told::Nothing,
        }
    }

    /// Whether the kernel has killed something in it for want of memory.
    pub(crate) fn ran_out_of_memory(&self) -> bool {
        self.group.as_ref().is_some_and(Group::ran_out_of_memory)
    }

    /// What is used in its groups, where it has some.
    pub(crate) fn counters(&self) -> Option<&Counters> {
        self.group.as_ref().map(Group::counters)
    }

    /// Gives back what it had of the machine. `false` when it has to be tried again, because remnants live.
    pub(crate) fn release(&self) -> bool {
        self.group.as_ref().is_none_or(Group::remove)
    }
}

/// Starts a program. Returns at once: whether it could be is told by [`Started::told`] when the process is dead.
/// `number` is used once in the life of a launcher.
pub(crate) fn start(sandbox: &Sandbox, number: u64, setup: &Setup) -> io::Result<Started> {
    let confinement = setup.confinement.as_ref();
    let group = match confinement {
        Some(confinement) => sandbox.group(number, confinement.memory_bytes, PROCESSES)?,
        None => None,
    };
    let (told, tell) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    let launcher = rustix::process::getpid();
    let namespaces = confinement.map_or(0, |held| sandbox.tier.namespaces(held.network.is_some()));
    let forked = crate::sys::fork(namespaces, || {
        let entered = Entering { sandbox, setup, launcher, group: group.as_ref() }.enter(&tell);
        let Err(cause) = entered.map(|never| match never {});
        say(&tell, b'E', cause.as_bytes());
        125
    });
    match forked {
        Ok((pid, pidfd)) => Ok(Started { pid, pidfd, status: File::from(told), group }),
        Err(cause) => {
            group.iter().for_each(|group| _ = group.remove());
            Err(cause)
        }
    }
}

fn say(to: &OwnedFd, kind: u8, text: &[u8]) {
    let mut message = vec![kind];
    message.extend_from_slice(&text[..text.len().min(CAUSE_BYTES - 8)]);
    if kind == b'E' {
        message.push(0);
    }
    let _ = rustix::io::write(to, &message);
}

/// The child, on its way from a copy of the launcher to the program.
struct Entering<'a> {
    sandbox: &'a Sandbox,
    setup: &'a Setup,
    launcher: Pid,
    group: Option<&'a Group>,
}

impl Entering<'_> {
    fn enter(&self, tell: &OwnedFd) -> Result<Infallible, String> {
        let own = |cause: io::Error| format!("its process cannot be set up: {cause}");
        let Some(confinement) = &self.setup.confinement else {
            self.tie_to_launcher(false).map_err(own)?;
            self.collect_orphans().map_err(own)?;
            privileges::limit(Rlimits { data_bytes: None, file_bytes: None, processes: None })
                .map_err(own)?;
            return self.execute();
        };
        let tier = &self.sandbox.tier;
        if let Some(group) = self.group {
            group.join().map_err(|cause| format!("its cgroup cannot be entered: {cause}"))?;
        }
        // Fails for nobody: everybody may raise it.
        let _ = std::fs::write("/proc/self/oom_score_adj", OOM_SCORE);
        if let (true, Some(network)) = (tier.network, &confinement.network) {
            // While there are capabilities over it.
            let host =
                self.setup.network.as_ref().ok_or("sandbox layer network: nobody takes its sockets")?;
            let made = network.set_up(host.as_fd());
            made.map_err(|cause| format!("sandbox layer network: {cause}"))?;
        }
        put_on(self.sandbox, confinement)?;
        self.tie_to_launcher(tier.pid).map_err(own)?;
        if !tier.pid {
            self.collect_orphans().map_err(own)?;
            return self.limit_and_execute(confinement);
        }
        // This process has the launcher's memory, with what it knows of other functions: nobody may look into it.
        rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
            .map_err(|cause| own(cause.into()))?;
        let program = crate::sys::fork(0, || {
            let Err(cause) = self.limit_and_execute(confinement).map(|never| match never {});
            say(tell, b'E', cause.as_bytes());
            125
        });
        let (program, _) = program.map_err(own)?;
        let tell = rustix::io::fcntl_dupfd_cloexec(tell, 3).map_err(|cause| own(cause.into()))?;
        let tell = crate::sys::keep_only(tell).map_err(own)?;
        attend(program, &tell)
    }

    /// Signals, session, and death with the launcher.
    fn tie_to_launcher(&self, in_own_pid_namespace: bool) -> io::Result<()> {
        rustix::process::setsid()?;
        // Cleared by a change of user, so after that.
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // If the launcher died before the line above, no signal will ever come.
        let orphan = !in_own_pid_namespace && rustix::process::getppid() != Some(self.launcher);
        if orphan { Err(io::Error::from_raw_os_error(libc::ESRCH)) } else { Ok(()) }
    }

    /// What is left below a dead instance is found by the launcher.
    fn collect_orphans(&self) -> io::Result<()> {
        Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
    }

    fn limit_and_execute(&self, confinement: &Confinement) -> Result<Infallible, String> {
        let own = |cause: io::Error| format!("its process cannot be set up: {cause}");
        let tier = &self.sandbox.tier;
        if tier.pid {
            rustix::process::setsid().map_err(|cause| own(cause.into()))?;
        }
        privileges::limit(Rlimits {
            data_bytes: (!self.sandbox.limits_memory()).then_some(confinement.data_bytes),
            // What is written to a private /tmp meets its end first, and that is an error instead of a signal.
            file_bytes: Some(confinement.tmp_bytes.saturating_mul(2)),
            processes: tier.user.then_some(PROCESSES),
        })
        .map_err(own)?;
        self.execute()
    }

    fn execute(&self) -> Result<Infallible, String> {
        let Setup { program, args, env, cwd, channel, stdout, stderr, .. } = self.setup;
        let own = |cause: io::Error| format!("its process cannot be connected: {cause}");
        let clone = |fd: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(fd, 4).map_err(|cause| own(cause.into()));
        let (stdout, stderr) = (clone(stdout)?, clone(stderr)?);
        crate::sys::heed_group_signals();
        // What the operator's own programs write (compiled shims) is for functions to read.
        let mask = if self.setup.confinement.is_some() { 0o077 } else { 0o022 };
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask));
        let mut command = Command::new(program);
        command.args(args).env_clear().envs(env.iter().map(|(name, value)| (name, value))).current_dir(cwd);
        command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        crate::sys::place_channel(channel).map_err(own)?;
        Err(command.exec().to_string())
    }
}

/// Process 1 of a pid namespace: waits for everything, until the program has ended; then all ends.
fn attend(program: Pid, tell: &OwnedFd) -> Result<Infallible, String> {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == program => {
                match Ending::of(status) {
                    Some(Ending::Code(code)) => say(tell, b'C', &code.to_le_bytes()),
                    Some(Ending::Signal(signal)) => say(tell, b'S', &signal.to_le_bytes()),
                    None => continue,
                }
                crate::sys::exit(0);
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(cause) => return Err(format!("its process is not to be found: {cause}")),
        }
    }
}

/// Everything but what is bound to one program: the layers that are there, in the order that each needs of the next.
pub(super) fn put_on(sandbox: &Sandbox, confinement: &Confinement) -> Result<(), String> {
    let tier = &sandbox.tier;
    let layer = |name: &'static str| move |cause: io::Error| format!("sandbox layer {name}: {cause}");
    let proc = privileges::own_proc().map_err(layer("user"))?;
    let (mut uid, mut gid) = (rustix::process::geteuid(), rustix::process::getegid());
    if tier.user && !tier.privileged {
        // Made with the fork. Only the parent namespace knows these numbers until they are mapped.
        (uid, gid) = (Uid::from_raw(sandbox.uid), Gid::from_raw(sandbox.gid));
        privileges::map_to_itself(proc.as_fd(), uid, gid).map_err(layer("user"))?;
    }
    let function_uid = if tier.own_uid { privileges::uid_of(confinement.function) } else { uid.as_raw() };
    if tier.uts {
        rustix::system::sethostname(HOST_NAME).map_err(|cause| layer("uts")(cause.into()))?;
    }
    if tier.mount {
        root::enter(&Root {
            readable: &confinement.readable,
            writable: &confinement.writable,
            tmp_bytes: confinement.tmp_bytes,
            uid: function_uid,
            proc: tier.proc,
            network: tier.network && confinement.network.is_some(),
        })
        .map_err(|cause| format!("sandbox layer mount: {cause}"))?;
    }
    if tier.own_uid {
        for folder in confinement.writable.iter().chain(&confinement.scratch) {
            std::os::unix::fs::chown(folder, Some(function_uid), Some(function_uid)).map_err(layer("uid"))?;
        }
        privileges::drop_bounding_set().map_err(layer("capabilities"))?;
        privileges::become_user(function_uid).map_err(layer("uid"))?;
        (uid, gid) = (Uid::from_raw(function_uid), Gid::from_raw(function_uid));
    }
    if tier.user && tier.privileged {
        crate::sys::unshare(UnshareFlags::NEWUSER).map_err(layer("user"))?;
        privileges::map_to_itself(proc.as_fd(), uid, gid).map_err(layer("user"))?;
    }
    drop(proc);
    privileges::drop_capabilities().map_err(layer("capabilities"))?;
    rustix::thread::set_no_new_privs(true).map_err(|cause| layer("no_new_privs")(cause.into()))?;
    if tier.landlock {
        files::restrict(&rules(tier, confinement))
            .map_err(|cause| format!("sandbox layer landlock: {cause}"))?;
    }
    if let Some(filters) = &sandbox.filters {
        filters.apply().map_err(|cause| format!("sandbox layer seccomp: {cause}"))?;
    }
    Ok(())
}

fn rules<'a>(tier: &Tier, confinement: &'a Confinement) -> Rules<'a> {
    let system = root::SYSTEM.iter().chain(&root::CONFIGURATION).map(Path::new);
    let mut readable: Vec<&Path> = system.chain([Path::new("/proc")]).collect();
    readable.extend(confinement.readable.iter().map(|path| path.as_path()));
    if tier.mount {
        readable.extend([Path::new("/etc/passwd"), Path::new("/etc/group"), Path::new("/dev")]);
    }
    let private = tier.mount.then_some(Path::new("/tmp"));
    let own = private.or(confinement.scratch.as_deref());
    let writable = own.into_iter().chain(confinement.writable.iter().map(|path| path.as_path())).collect();
    Rules { readable, writable }
}

/// The namespaces of a fork for this tier.
impl Tier {
    pub(super) fn namespaces(&self, own_network: bool) -> i32 {
        let mut flags = 0;
        for (on, flag) in [
            // A privileged process enters it last, when the root is made.
            (self.user && !self.privileged, libc::CLONE_NEWUSER),
            (self.pid, libc::CLONE_NEWPID),
            (self.mount, libc::CLONE_NEWNS),
            (self.ipc, libc::CLONE_NEWIPC),
            (self.uts, libc::CLONE_NEWUTS),
            (self.cgroup, libc::CLONE_NEWCGROUP),
            (self.network && own_network, libc::CLONE_NEWNET),
        ] {
            if on {
                flags |= flag;
            }
        }
        flags
    }
}

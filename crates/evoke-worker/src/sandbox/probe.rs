//! Which layers this machine allows: each is tried in a throw-away child, and once more all together.

use std::io::{self, Read};
use std::os::fd::AsFd;

use rustix::pipe::PipeFlags;
use rustix::process::{Gid, Uid, WaitOptions};
use rustix::thread::UnshareFlags;

use super::cgroup::{Cgroups, Group, Missing};
use super::files::{self, Rules};
use super::root::{self, Root};
use super::seccomp::Filters;
use super::{Confinement, Layer, Machine, NETWORK, OWN_USER, enter, privileges};
use crate::netns::Inside;

/// Bytes of a reason.
const CAUSE_BYTES: u64 = 1024;
/// Size of `/tmp` in trials.
const TMP_BYTES: u64 = 1 << 20;

/// What can be had here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tier {
    /// Mounts are made by the privileged host user; otherwise inside a user namespace.
    pub privileged: bool,
    pub user: bool,
    pub pid: bool,
    pub mount: bool,
    /// A `/proc` of the pid namespace.
    pub proc: bool,
    pub ipc: bool,
    pub uts: bool,
    pub cgroup: bool,
    pub network: bool,
    /// Each function is a host user of its own.
    pub own_uid: bool,
    pub landlock: bool,
}

/// What a launcher puts on every process.
#[derive(Debug)]
pub(crate) struct Sandbox {
    pub(super) tier: Tier,
    pub(super) filters: Option<Filters>,
    /// Of this process, outside of any user namespace that is made.
    pub(super) uid: u32,
    pub(super) gid: u32,
    cgroups: Cgroups,
    machine: Machine,
}

/// The outcome of one trial.
type Trial = Result<(), String>;

impl Sandbox {
    /// Tries everything. Takes some tens of milliseconds. Only in a process with one thread.
    pub(crate) fn probe() -> Self {
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        let mut tier = Tier::default();
        let privileged = try_in_child(libc::CLONE_NEWNS, || {
            let flags =
                rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC;
            rustix::mount::mount_change("/", flags).map_err(text)
        });
        tier.privileged = privileged.is_ok();
        let mut own_uid = try_in_child(0, || privileges::become_user(privileges::uid_of(0)).map_err(text));
        if !tier.privileged && own_uid.is_ok() {
            let why = "without CAP_SYS_ADMIN the root has to be made in a user namespace, which holds one user only";
            own_uid = Err(why.to_owned());
        }
        let user = try_user(tier.privileged, own_uid.is_ok(), uid, gid);
        tier.user = user.is_ok();

        let base = if tier.privileged { 0 } else { libc::CLONE_NEWUSER };
        let may = tier.privileged || tier.user;
        let namespace = |flag| {
            if may {
                try_in_child(base | flag, || Ok(()))
            } else {
                Err("it needs a user namespace, or CAP_SYS_ADMIN".to_owned())
            }
        };
        let pid = namespace(libc::CLONE_NEWPID);
        let ipc = namespace(libc::CLONE_NEWIPC);
        let uts = namespace(libc::CLONE_NEWUTS);
        let cgroup = namespace(libc::CLONE_NEWCGROUP);
        let network = namespace(libc::CLONE_NEWNET).and_then(|()| {
            try_in_child(base | libc::CLONE_NEWNET, || Inside::default().try_out().map_err(text))
        });
        (tier.pid, tier.ipc, tier.uts) = (pid.is_ok(), ipc.is_ok(), uts.is_ok());
        (tier.cgroup, tier.network) = (cgroup.is_ok(), network.is_ok());

        let root = |proc| {
            let flags = base | libc::CLONE_NEWNS | if tier.pid { libc::CLONE_NEWPID } else { 0 };
            try_in_child(flags, || {
                if base != 0 {
                    let own = privileges::own_proc().map_err(text)?;
                    privileges::map_to_itself(own.as_fd(), uid, gid).map_err(text)?;
                }
                root::enter(&Root {
                    readable: &[],
                    writable: &[],
                    tmp_bytes: TMP_BYTES,
                    uid: uid.as_raw(),
                    proc,
                    network: tier.network,
                })
            })
        };
        let mut mount = if may { root(tier.pid) } else { namespace(0) };
        let mut proc = match &mount {
            Ok(()) if tier.pid => Ok(()),
            _ => Err("it needs a pid and a mount namespace".to_owned()),
        };
        if let (Err(cause), true) = (&mount, tier.pid && may) {
            let without = root(false);
            if without.is_ok() {
                proc = Err(cause.clone());
                mount = without;
            }
        }
        (tier.mount, tier.proc) = (mount.is_ok(), proc.is_ok());
        if !tier.mount && own_uid.is_ok() {
            own_uid =
                Err("without a mount namespace other users could not reach the server's folders".to_owned());
        }
        tier.own_uid = own_uid.is_ok();

        let landlock = try_in_child(0, || files::restrict(&Rules::default()));
        tier.landlock = landlock.is_ok();
        let capabilities = try_in_child(0, || privileges::drop_capabilities().map_err(text));
        let no_new_privs = try_in_child(0, || rustix::thread::set_no_new_privs(true).map_err(text));
        let (filters, seccomp) = match Filters::compile() {
            Ok(filters) => {
                let tried = try_in_child(0, || filters.apply());
                (tried.is_ok().then_some(filters), tried)
            }
            Err(cause) => (None, Err(cause)),
        };
        let (cgroups, missing) = Cgroups::find();
        let mut sandbox = Self {
            tier,
            filters,
            uid: uid.as_raw(),
            gid: gid.as_raw(),
            cgroups,
            machine: Machine { layers: Vec::new(), cgroups: None, private_tmp: false },
        };
        let mut layers = vec![
            layer(
                "no_new_privs",
                "no program gains privileges by being started",
                &no_new_privs,
                "use Linux 3.5 or newer",
            ),
            layer(
                "capabilities",
                "no right of root is left",
                &capabilities,
                "start the server with all or no capabilities",
            ),
            layer("rlimits", "open files, file sizes and core dumps are bounded", &Ok(()), ""),
            layer(
                "seccomp",
                "system calls that no function needs fail",
                &seccomp,
                "use a kernel with CONFIG_SECCOMP_FILTER",
            ),
            layer(
                "landlock",
                "files, signals and abstract sockets of others are out of reach",
                &landlock,
                "use Linux 6.2 or newer with landlock among its lsm=",
            ),
            layer(
                OWN_USER,
                "each function is a user of its own",
                &own_uid,
                "start the server as root, with mount namespaces",
            ),
            layer(
                "user",
                "a user namespace of its own",
                &user,
                "allow user namespaces: sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0",
            ),
            layer(
                "pid",
                "other processes cannot be seen or signalled; none outlives its instance",
                &pid,
                "allow user namespaces, or start the server with CAP_SYS_ADMIN",
            ),
            layer(
                "mount",
                "a read-only root with the system, the code, and a private /tmp of limited size",
                &mount,
                "allow user namespaces (Linux 5.12 or newer), or start the server with CAP_SYS_ADMIN",
            ),
            layer(
                "proc",
                "/proc shows the instance's own processes only",
                &proc,
                "in a container, do not mask /proc (systempaths=unconfined)",
            ),
            layer(
                "ipc",
                "System V and POSIX message queues of its own",
                &ipc,
                "allow user namespaces, or start the server with CAP_SYS_ADMIN",
            ),
            layer(
                "uts",
                "a host name of its own",
                &uts,
                "allow user namespaces, or start the server with CAP_SYS_ADMIN",
            ),
            layer(
                "cgroup",
                "the host's control groups cannot be seen",
                &cgroup,
                "use Linux 4.6 or newer with user namespaces",
            ),
            layer(
                NETWORK,
                "no network but what the function's egress list names",
                &network,
                "allow user namespaces, or start the server with CAP_SYS_ADMIN",
            ),
        ];
        layers.extend(sandbox.cgroup_layers(&missing));
        if let Err(cause) = sandbox.try_all() {
            // Each alone is allowed, not all at once: the namespaces are what depends on each other.
            let kept = Tier { landlock: tier.landlock, ..Tier::default() };
            sandbox.tier = kept;
            for layer in &mut layers {
                if [OWN_USER, "user", "pid", "mount", "proc", "ipc", "uts", "cgroup", NETWORK]
                    .contains(&layer.name.as_str())
                {
                    layer.enforced = false;
                    layer.why_not.get_or_insert_with(|| format!("all together they fail: {cause}"));
                }
            }
        }
        sandbox.machine = Machine {
            layers,
            cgroups: sandbox.cgroups.version().map(str::to_owned),
            private_tmp: sandbox.tier.mount,
        };
        sandbox
    }

    /// What was found out.
    pub(crate) fn machine(&self) -> &Machine {
        &self.machine
    }

    pub(super) fn limits_memory(&self) -> bool {
        self.cgroups.limits_memory()
    }

    pub(super) fn group(&self, number: u64, memory_bytes: u64, processes: u64) -> io::Result<Option<Group>> {
        if self.cgroups.version().is_none() {
            return Ok(None);
        }
        self.cgroups.create(number, memory_bytes, processes).map(Some)
    }

    fn try_all(&self) -> Trial {
        let confinement = Confinement {
            function: 0,
            readable: Vec::new(),
            writable: Vec::new(),
            scratch: None,
            tmp_bytes: TMP_BYTES,
            memory_bytes: 64 << 20,
            data_bytes: 64 << 20,
            network: Some(Inside::default()),
        };
        try_in_child(self.tier.namespaces(true), || enter::put_on(self, &confinement))
    }

    /// Lets a child enter a group of its own.
    fn cgroup_layers(&mut self, missing: &Missing) -> Vec<Layer> {
        let entered = self.group(0, 64 << 20, 16).map_err(text).and_then(|group| {
            let Some(group) = group else { return Ok(()) };
            let entered = try_in_child(0, || group.join().map_err(text));
            group.remove();
            entered
        });
        let trial = |why: &Option<String>| match (why, &entered) {
            (Some(why), _) => Err(why.clone()),
            (None, entered) => entered.clone(),
        };
        let fix = "start the server as root, or as a systemd service with Delegate=yes and User=";
        let layers = vec![
            layer(
                "memory",
                "memory of an instance with all it starts is bounded, and an end for want of it is named",
                &trial(&missing.memory),
                fix,
            ),
            layer("pids", "processes and threads of an instance are bounded", &trial(&missing.pids), fix),
            layer("cpu", "instances share the processors equally", &trial(&missing.cpu), fix),
        ];
        if entered.is_err() {
            self.cgroups.give_up();
        }
        layers
    }
}

fn try_user(privileged: bool, own_uid: bool, uid: Uid, gid: Gid) -> Trial {
    if !privileged {
        return try_in_child(libc::CLONE_NEWUSER, || {
            let own = privileges::own_proc().map_err(text)?;
            privileges::map_to_itself(own.as_fd(), uid, gid).map_err(text)
        });
    }
    try_in_child(0, || {
        let own = privileges::own_proc().map_err(text)?;
        let (mut uid, mut gid) = (uid, gid);
        if own_uid {
            let function = privileges::uid_of(0);
            privileges::become_user(function).map_err(text)?;
            (uid, gid) = (Uid::from_raw(function), Gid::from_raw(function));
        }
        crate::sys::unshare(UnshareFlags::NEWUSER).map_err(text)?;
        privileges::map_to_itself(own.as_fd(), uid, gid).map_err(text)
    })
}

fn layer(name: &str, purpose: &str, trial: &Trial, fix: &str) -> Layer {
    let why_not = trial.as_ref().err().cloned();
    let fix = why_not.is_some().then(|| fix.to_owned()).filter(|fix| !fix.is_empty());
    Layer { name: name.to_owned(), purpose: purpose.to_owned(), enforced: why_not.is_none(), why_not, fix }
}

/// Runs `trial` in a child with these namespaces. What it returns, or why it could not be run.
fn try_in_child(namespaces: i32, trial: impl FnOnce() -> Trial) -> Trial {
    let (hear, tell) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(text)?;
    let (child, _pidfd) = crate::sys::fork(namespaces, || match trial() {
        Ok(()) => 0,
        Err(cause) => {
            let _ = rustix::io::write(&tell, cause.as_bytes());
            1
        }
    })
    .map_err(text)?;
    drop(tell);
    let mut cause = String::new();
    let _ = std::fs::File::from(hear).take(CAUSE_BYTES).read_to_string(&mut cause);
    let status = loop {
        match rustix::process::waitpid(Some(child), WaitOptions::empty()) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other.map_err(text)?,
        }
    };
    match status.and_then(|(_, status)| status.exit_status()) {
        Some(0) => Ok(()),
        _ if cause.is_empty() => Err("the trial ended without a word".to_owned()),
        _ => Err(cause),
    }
}

fn text(cause: impl Into<io::Error>) -> String {
    cause.into().to_string()
}

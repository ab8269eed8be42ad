//! Control groups: how much memory, how many processes and how much of the processors a sandboxed process gets, with all
//! that it starts. Versions 1 and 2, as plain file writes.
//!
//! Groups are made below the one this process is in, so that limits somebody has set for the whole server still hold:
//! `<own>/evoke/<pid of the launcher>/<number>`, removed with the process, and at the next start when a launcher was
//! killed. What a group uses is counted in it, and read through [`Counters`].

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::gauge::Counters;

/// Share of the processors that functions have against the rest of the machine, in units of one process of default
/// priority per processor. Among themselves they are equal.
const WEIGHT: u64 = 4;
/// The group that all launchers on a machine share.
const SHARED: &str = "evoke";
/// Where the server itself goes under version 2, which allows no processes beside groups.
const SERVER: &str = "server";

/// Where groups can be made.
#[derive(Debug)]
pub(super) struct Cgroups {
    version: Version,
    memory: Option<PathBuf>,
    pids: Option<PathBuf>,
    cpu: Option<PathBuf>,
    /// Where processor time is counted. It limits nothing.
    usage: Option<PathBuf>,
}

/// Which of the kernel's two interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    V2,
}

/// The groups of one process. [`Group::remove`] when it is dead.
#[derive(Debug)]
pub(super) struct Group {
    version: Version,
    folders: Vec<PathBuf>,
    memory: Option<PathBuf>,
    counters: Counters,
}

/// Why a controller cannot be used.
#[derive(Debug, Clone, Default)]
pub(super) struct Missing {
    pub memory: Option<String>,
    pub pids: Option<String>,
    pub cpu: Option<String>,
}

impl Cgroups {
    /// Looks where groups can be made, tries, and clears away what former launchers left.
    pub(super) fn find() -> (Self, Missing) {
        let own = own();
        let (mut found, mut missing) = match version(&own) {
            Version::V1 => v1(&own),
            Version::V2 => v2(&own),
        };
        let version = found.version;
        let controllers = [
            (&mut found.memory, &mut missing.memory),
            (&mut found.pids, &mut missing.pids),
            (&mut found.cpu, &mut missing.cpu),
        ];
        for (folder, why) in controllers {
            let Some(parent) = folder.take() else { continue };
            match prepare(&parent, version) {
                Ok(ours) => *folder = Some(ours),
                Err(cause) => *why = Some(format!("{} cannot be written: {cause}", parent.display())),
            }
        }
        found.usage = match version {
            Version::V1 => {
                folder(&own, "cgroup", Some("cpuacct")).and_then(|parent| prepare(&parent, version).ok())
            }
            // Every group counts.
            Version::V2 => found.all().next().cloned(),
        };
        (found, missing)
    }

    pub(super) fn version(&self) -> Option<&'static str> {
        let some = self.memory.is_some() || self.pids.is_some() || self.cpu.is_some();
        some.then_some(match self.version {
            Version::V1 => "1",
            Version::V2 => "2",
        })
    }

    /// Uses none of them.
    pub(super) fn give_up(&mut self) {
        self.all().for_each(|ours| _ = remove(ours));
        (self.memory, self.pids, self.cpu, self.usage) = (None, None, None, None);
    }

    /// The folders in use; one of version 2 as often as it has a use.
    fn all(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.memory, &self.pids, &self.cpu, &self.usage].into_iter().flatten()
    }

    pub(super) fn limits_memory(&self) -> bool {
        self.memory.is_some()
    }

    /// Makes the groups for one process.
    pub(super) fn create(&self, number: u64, memory_bytes: u64, processes: u64) -> io::Result<Group> {
        let counters = Counters::default();
        let mut group = Group { version: self.version, folders: Vec::new(), memory: None, counters };
        for parent in self.all() {
            let folder = parent.join(number.to_string());
            if group.folders.contains(&folder) {
                continue;
            }
            // The number is used once in the life of a launcher; what is there was left by one of the same process id.
            if let Err(cause) = fs::create_dir(&folder)
                && cause.kind() != io::ErrorKind::AlreadyExists
            {
                group.remove();
                return Err(cause);
            }
            group.folders.push(folder);
        }
        if let Err(cause) = self.limit(&mut group, number, memory_bytes, processes) {
            group.remove();
            return Err(cause);
        }
        let usage = self.usage.as_ref().map(|parent| parent.join(number.to_string()));
        group.counters = Counters::open(usage.as_deref(), group.memory.as_deref());
        Ok(group)
    }

    fn limit(&self, group: &mut Group, number: u64, memory_bytes: u64, processes: u64) -> io::Result<()> {
        let number = number.to_string();
        if let Some(parent) = &self.memory {
            let folder = parent.join(&number);
            match self.version {
                Version::V1 => fs::write(folder.join("memory.limit_in_bytes"), memory_bytes.to_string())?,
                Version::V2 => {
                    fs::write(folder.join("memory.max"), memory_bytes.to_string())?;
                    // All of a function's processes end when one has to. Absent before Linux 4.19.
                    let _ = fs::write(folder.join("memory.oom.group"), "1");
                    // Absent without swap.
                    let _ = fs::write(folder.join("memory.swap.max"), "0");
                }
            }
            group.memory = Some(folder);
        }
        if let Some(parent) = &self.pids {
            fs::write(parent.join(&number).join("pids.max"), processes.to_string())?;
        }
        Ok(())
    }
}

impl Group {
    /// Puts the calling process into the groups.
    pub(super) fn join(&self) -> io::Result<()> {
        self.folders.iter().try_for_each(|folder| fs::write(folder.join("cgroup.procs"), "0"))
    }

    /// Puts another process into them.
    pub(super) fn take(&self, pid: i32) -> io::Result<()> {
        self.folders.iter().try_for_each(|folder| fs::write(folder.join("cgroup.procs"), pid.to_string()))
    }

    /// Whether the kernel has killed a process in it for want of memory.
    pub(super) fn ran_out_of_memory(&self) -> bool {
        let Some(folder) = &self.memory else { return false };
        let counters = match self.version {
            Version::V1 => "memory.oom_control",
            Version::V2 => "memory.events",
        };
        let text = fs::read_to_string(folder.join(counters)).unwrap_or_default();
        text.lines().any(|line| line.strip_prefix("oom_kill ").is_some_and(|count| count.trim() != "0"))
    }

    /// What is used in it.
    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Removes the groups. `false` when somebody is still in them.
    pub(super) fn remove(&self) -> bool {
        self.folders.iter().filter(|folder| !remove(folder)).count() == 0
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        for ours in self.all() {
            remove(ours);
            // Stays while another server uses it.
            if let Some(shared) = ours.parent() {
                let _ = fs::remove_dir(shared);
            }
        }
    }
}

fn remove(folder: &Path) -> bool {
    match fs::remove_dir(folder) {
        Ok(()) => true,
        Err(cause) => cause.kind() == io::ErrorKind::NotFound,
    }
}

/// What `/proc` says this process is in: hierarchy number, controllers, path.
type Own = Vec<(String, Vec<String>, String)>;

fn own() -> Own {
    let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let line = |line: &str| {
        let mut parts = line.splitn(3, ':');
        let (number, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        Some((number.to_owned(), controllers.split(',').map(str::to_owned).collect(), path.to_owned()))
    };
    text.lines().filter_map(line).collect()
}

fn version(own: &Own) -> Version {
    let v1 = own
        .iter()
        .any(|(_, controllers, _)| controllers.iter().any(|name| name == "memory" || name == "pids"));
    if v1 { Version::V1 } else { Version::V2 }
}

/// The folder of a group, by the mount that shows it: `(file system type, option that must be among the superblock's)`.
fn folder(own: &Own, kind: &str, controller: Option<&str>) -> Option<PathBuf> {
    let (_, _, path) = own.iter().find(|(number, controllers, _)| match controller {
        Some(name) => controllers.iter().any(|has| has == name),
        None => number == "0",
    })?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    mounts.lines().find_map(|line| {
        // `36 35 98:0 /root /mount/point options … - type source superblock-options`
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let (root, point) = (left.next()?, left.next()?);
        let mut right = right.split(' ');
        let (of_kind, options) = (right.next()?, right.nth(1)?);
        let shows =
            of_kind == kind && controller.is_none_or(|name| options.split(',').any(|has| has == name));
        // In a container the mount shows only a part of the tree.
        let below = if root == "/" { path.as_str() } else { path.strip_prefix(root)? };
        shows.then(|| Path::new(point).join(below.trim_start_matches('/')))
    })
}

fn v1(own: &Own) -> (Cgroups, Missing) {
    let mut missing = Missing::default();
    let find = |name: &str, why: &mut Option<String>| {
        let found = folder(own, "cgroup", Some(name));
        if found.is_none() {
            *why = Some(format!("the {name} controller of cgroup v1 is not mounted"));
        }
        found
    };
    let memory = find("memory", &mut missing.memory);
    let pids = find("pids", &mut missing.pids);
    let cpu = find("cpu", &mut missing.cpu);
    (Cgroups { version: Version::V1, memory, pids, cpu, usage: None }, missing)
}

fn v2(own: &Own) -> (Cgroups, Missing) {
    let mut found = Cgroups { version: Version::V2, memory: None, pids: None, cpu: None, usage: None };
    let all = |why: &str| {
        let why = Some(why.to_owned());
        Missing { memory: why.clone(), pids: why.clone(), cpu: why }
    };
    let Some(folder) = folder(own, "cgroup2", None) else {
        return (found, all("no cgroup file system is mounted"));
    };
    // A launcher that is started again finds itself where the first one has moved the server.
    let moved = folder.parent().filter(|parent| folder.ends_with(SERVER) && parent.join(SHARED).is_dir());
    let folder = moved.map_or(folder.clone(), Path::to_owned);
    let available = fs::read_to_string(folder.join("cgroup.controllers")).unwrap_or_default();
    let mut missing = Missing::default();
    let controllers = [
        ("memory", &mut found.memory, &mut missing.memory),
        ("pids", &mut found.pids, &mut missing.pids),
        ("cpu", &mut found.cpu, &mut missing.cpu),
    ];
    for (name, slot, why) in controllers {
        if !available.split_whitespace().any(|has| has == name) {
            *why = Some(format!("{} has no {name} controller", folder.display()));
            continue;
        }
        match hand_down(&folder, name) {
            Ok(()) => *slot = Some(folder.clone()),
            Err(cause) => *why = Some(format!("{}: {cause}", folder.display())),
        }
    }
    (found, missing)
}

/// Lets groups below `folder` use a controller. A group with processes in it cannot (but for the root), so ours are moved
/// down one level, provided that nobody else's are there.
fn hand_down(folder: &Path, controller: &str) -> io::Result<()> {
    let control = folder.join("cgroup.subtree_control");
    let order = format!("+{controller}");
    if fs::write(&control, &order).is_ok() {
        return Ok(());
    }
    let ours = [rustix::process::getpid().as_raw_nonzero().get()]
        .into_iter()
        .chain(rustix::process::getppid().map(|parent| parent.as_raw_nonzero().get()))
        .map(|pid| pid.to_string())
        .collect::<Vec<_>>();
    let procs = fs::read_to_string(folder.join("cgroup.procs"))?;
    if let Some(other) = procs.lines().find(|pid| !ours.iter().any(|own| own == pid)) {
        return Err(io::Error::other(format!(
            "other processes (such as {other}) share the server's group; give it one of its own with Delegate=yes"
        )));
    }
    let server = folder.join(SERVER);
    if let Err(cause) = fs::create_dir(&server)
        && cause.kind() != io::ErrorKind::AlreadyExists
    {
        return Err(cause);
    }
    for pid in procs.lines() {
        fs::write(server.join("cgroup.procs"), pid)?;
    }
    fs::write(&control, &order)
}

/// Makes the folder of this launcher below `parent`, tries to limit something in it, and removes what was left by others.
fn prepare(parent: &Path, version: Version) -> io::Result<PathBuf> {
    let shared = parent.join(SHARED);
    let ours = shared.join(rustix::process::getpid().to_string());
    fs::create_dir_all(&ours)?;
    for entry in fs::read_dir(&shared)?.flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            for left in fs::read_dir(entry.path()).into_iter().flatten().flatten() {
                let _ = fs::remove_dir(left.path());
            }
            let _ = fs::remove_dir(entry.path());
        }
    }
    let processors = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    match version {
        Version::V1 => {
            // Exists below the cpu controller only.
            let shares = shared.join("cpu.shares");
            if shares.exists() {
                fs::write(shares, (1024 * WEIGHT * processors).to_string())?;
            }
        }
        Version::V2 => {
            for folder in [&shared, &ours] {
                for controller in ["memory", "pids", "cpu"] {
                    let _ = fs::write(folder.join("cgroup.subtree_control"), format!("+{controller}"));
                }
            }
            let _ = fs::write(shared.join("cpu.weight"), (100 * WEIGHT * processors).min(10_000).to_string());
        }
    }
    let trial = ours.join("trial");
    fs::create_dir(&trial)?;
    let writable = rustix::fs::access(trial.join("cgroup.procs"), rustix::fs::Access::WRITE_OK);
    fs::remove_dir(&trial)?;
    writable?;
    Ok(ours)
}

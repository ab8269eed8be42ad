//! What a process and all that it starts use, read from outside: by the counters of its control groups, and where there are none
//! by what the kernel says of the process itself. `docs/decisions/0038` has what that costs and what it leaves out.
//!
//! The files of a group are opened by the launcher, which makes the group, and stay open: a reading is one system call.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::zygote::program_of;

/// Bytes of a counter's file that are looked at; `/proc/PID/status` is the longest.
const FILE_BYTES: usize = 4096;

/// What was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reading {
    /// Nanoseconds of processor time since it was started, or put into its group.
    pub cpu_ns: Option<u64>,
    /// Memory at its largest since it was last forgotten, in bytes.
    pub peak_bytes: Option<u64>,
}

/// The counters of a process's control groups.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    cpu: Option<OwnedFd>,
    memory: Option<OwnedFd>,
}

/// Which of them come along with a message, in the order of their fields.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sent {
    cpu: bool,
    memory: bool,
}

/// Reads what one process uses.
#[derive(Debug)]
pub(crate) struct Gauge {
    pid: i32,
    counters: Counters,
    /// For what the counters do not tell.
    itself: OnceLock<Itself>,
    /// What was read when it was dead.
    last: OnceLock<Reading>,
}

/// A process without groups. What it starts is left out.
#[derive(Debug)]
struct Itself {
    pid: i32,
    status: Option<File>,
    /// Takes the order to forget how large it was.
    clear: Option<File>,
}

impl Counters {
    /// Opens what there is below the groups' folders. Version 1 counts in two hierarchies, version 2 in one.
    pub(crate) fn open(cpu: Option<&Path>, memory: Option<&Path>) -> Self {
        let first = |folder: Option<&Path>, names: &[&str]| {
            let files = names.iter().filter_map(|name| open(folder?.join(name)).ok());
            files.map(OwnedFd::from).next()
        };
        Self {
            cpu: first(cpu, &["cpuacct.usage", "cpu.stat"]),
            memory: first(memory, &["memory.max_usage_in_bytes", "memory.peak"]),
        }
    }

    pub(crate) fn sent(&self) -> Sent {
        Sent { cpu: self.cpu.is_some(), memory: self.memory.is_some() }
    }

    pub(crate) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.cpu.iter().chain(&self.memory).map(AsFd::as_fd)
    }

    /// Out of what came along with a message.
    pub(crate) fn received(sent: Sent, mut fds: impl Iterator<Item = OwnedFd>) -> Self {
        let mut next = |is_there: bool| if is_there { fds.next() } else { None };
        Self { cpu: next(sent.cpu), memory: next(sent.memory) }
    }

    pub(crate) fn read(&self) -> Reading {
        Reading { cpu_ns: self.cpu_ns(), peak_bytes: self.peak_bytes() }
    }

    fn cpu_ns(&self) -> Option<u64> {
        read(self.cpu.as_ref()?, |text| match text.strip_prefix("usage_usec ") {
            Some(micros) => first_number(micros)?.checked_mul(1000),
            None => first_number(text),
        })
    }

    fn peak_bytes(&self) -> Option<u64> {
        read(self.memory.as_ref()?, first_number)
    }
}

/// For reading, and for writing where that may be: what is written makes it forget.
fn open(path: PathBuf) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(&path).or_else(|_| File::open(path))
}

impl Gauge {
    /// Of the process `pid`, which the launcher has put into groups with these counters.
    pub(crate) fn new(pid: i32, counters: Counters) -> Self {
        Self { pid, counters, itself: OnceLock::new(), last: OnceLock::new() }
    }

    /// Of something that cannot be measured from outside.
    pub(crate) fn none() -> Self {
        Self { last: OnceLock::from(Reading::default()), ..Self::new(0, Counters::default()) }
    }

    /// The process is dead; `last` was read before its groups went.
    pub(crate) fn over(&self, last: Reading) {
        // It dies once.
        let _ = self.last.set(last);
    }

    /// Everything, now.
    pub(crate) fn read(&self) -> Reading {
        if let Some(last) = self.last.get() {
            return *last;
        }
        Reading { cpu_ns: self.cpu_ns(), peak_bytes: self.peak_bytes() }
    }

    /// Processor time in nanoseconds.
    pub(crate) fn cpu_ns(&self) -> Option<u64> {
        match (self.last.get(), &self.counters.cpu) {
            (Some(last), _) => last.cpu_ns,
            (None, Some(_)) => self.counters.cpu_ns(),
            (None, None) => crate::sys::process_cpu_ns(self.itself().pid),
        }
    }

    fn peak_bytes(&self) -> Option<u64> {
        match &self.counters.memory {
            Some(_) => self.counters.peak_bytes(),
            None => self.itself().peak_bytes(),
        }
    }

    /// From now on memory at its largest is that of from now on. Where the kernel cannot do that (version 2 before Linux 6.12) it
    /// stays what it was since the process was started.
    pub(crate) fn forget_peak(&self) {
        if self.last.get().is_some() {
            return;
        }
        let (file, order) = match &self.counters.memory {
            Some(file) => (Some(file.as_fd()), b"0"),
            None => (self.itself().clear.as_ref().map(AsFd::as_fd), b"5"),
        };
        if let Some(file) = file {
            let _ = rustix::io::pwrite(file, order, 0);
        }
    }

    fn itself(&self) -> &Itself {
        // Once it is running: in a pid namespace the outermost process only waits.
        self.itself.get_or_init(|| Itself::of(program_of(self.pid)))
    }
}

impl Itself {
    fn of(pid: i32) -> Self {
        let status = File::open(format!("/proc/{pid}/status")).ok();
        let clear = OpenOptions::new().write(true).open(format!("/proc/{pid}/clear_refs")).ok();
        Self { pid, status, clear }
    }

    fn peak_bytes(&self) -> Option<u64> {
        let kib = read(self.status.as_ref()?, |text| {
            text.lines().find_map(|line| line.strip_prefix("VmHWM:")).and_then(first_number)
        })?;
        kib.checked_mul(1024)
    }
}

/// The start of a file of the kernel's, which is made anew for each reader.
fn read(file: impl AsFd, number: impl FnOnce(&str) -> Option<u64>) -> Option<u64> {
    let mut bytes = [0; FILE_BYTES];
    let read = rustix::io::pread(file, &mut bytes, 0).ok()?;
    number(str::from_utf8(&bytes[..read]).ok()?)
}

fn first_number(text: &str) -> Option<u64> {
    text.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_both_versions_are_understood() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("1"), folder.path().join("2"));
        let files = [
            (&one, "cpuacct.usage", "1234567\n"),
            (&one, "memory.max_usage_in_bytes", "65536\n"),
            (&two, "cpu.stat", "usage_usec 1234\nuser_usec 1000\nsystem_usec 234\n"),
            (&two, "memory.peak", "65536\n"),
        ];
        for (folder, name, text) in files {
            std::fs::create_dir_all(folder).unwrap();
            std::fs::write(folder.join(name), text).unwrap();
        }
        let read = |folder: &Path| Counters::open(Some(folder), Some(folder)).read();
        assert_eq!(read(&one), Reading { cpu_ns: Some(1_234_567), peak_bytes: Some(65536) });
        assert_eq!(read(&two), Reading { cpu_ns: Some(1_234_000), peak_bytes: Some(65536) });
        assert_eq!(read(folder.path()), Reading::default(), "no counters, no figures");
    }

    #[test]
    fn a_process_without_groups_tells_of_itself() {
        let own = i32::try_from(std::process::id()).unwrap();
        let itself = Itself::of(own);
        assert!(crate::sys::process_cpu_ns(own).unwrap() > 0);
        assert!(itself.peak_bytes().unwrap() > 64 << 10);
        assert_eq!(crate::sys::process_cpu_ns(i32::MAX), None);
        assert_eq!(Itself::of(i32::MAX).peak_bytes(), None);
    }

    #[test]
    fn of_a_dead_process_is_known_what_was_read_last() {
        let gauge = Gauge::new(1, Counters::default());
        let last = Reading { cpu_ns: Some(7), peak_bytes: None };
        gauge.over(last);
        assert_eq!((gauge.read(), gauge.cpu_ns()), (last, Some(7)));
        assert_eq!(Gauge::none().read(), Reading::default());
    }
}

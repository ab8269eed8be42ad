//! The file system of a sandboxed process: a read-only root made for it, in which there is only what it needs.
//!
//! Everything is where it is on the host, so that no path has to be translated: the system's programs and libraries, the
//! interpreter, the shims, the bundle; a few devices; a few files of `/etc`. `/tmp` is empty, private and of limited size.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::mount::{MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};

/// Folders of the system: programs and what they need.
pub(super) const SYSTEM: [&str; 8] =
    ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store"];

/// Configuration that libraries read, and nothing that names users or holds secrets.
pub(super) const CONFIGURATION: [&str; 17] = [
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/gai.conf",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/pki",
    "/etc/protocols",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/ssl",
    "/etc/timezone",
];

const DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

/// Links where programs expect them. Shared memory is taken from the private `/tmp`.
const LINKS: [(&str, &str); 5] = [
    ("dev/fd", "/proc/self/fd"),
    ("dev/stdin", "/proc/self/fd/0"),
    ("dev/stdout", "/proc/self/fd/1"),
    ("dev/stderr", "/proc/self/fd/2"),
    ("dev/shm", "/tmp"),
];

/// Where the new root is mounted while it is made. Any folder that exists would do.
const WORKBENCH: &str = "/tmp";
/// Bytes of the root itself: folders, links and three small files.
const ROOT_BYTES: u64 = 1 << 20;
/// Files and folders in the private `/tmp`.
const TMP_FILES: u64 = 16_384;

const SEALED: u64 = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID;
const OPEN: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;

/// What the root is to hold.
#[derive(Debug)]
pub(super) struct Root<'a> {
    /// Further trees, absolute, besides those of the system.
    pub readable: &'a [PathBuf],
    /// Folders that are not read-only, absolute.
    pub writable: &'a [PathBuf],
    /// Size of `/tmp`.
    pub tmp_bytes: u64,
    /// Whose name stands in `/etc/passwd`.
    pub uid: u32,
    /// Whether to mount a `/proc` of the process's own pid namespace.
    pub proc: bool,
    /// Whether its network is its own, and with it its name server.
    pub network: bool,
}

const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Makes the root and moves into it. The process must be in a mount namespace of its own.
pub(super) fn enter(root: &Root<'_>) -> Result<(), String> {
    let step = |what: &'static str| move |cause: io::Error| format!("{what}: {cause}");
    let errno =
        |what: &'static str| move |cause: rustix::io::Errno| format!("{what}: {}", io::Error::from(cause));
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).map_err(errno("mounts cannot be made private"))?;

    // Opened first: what is made below hides /tmp.
    let mut trees = trees(root.readable, root.writable)?;
    trees.retain(|tree| !root.network || tree.path != Path::new(RESOLV_CONF));
    let small = format!("mode=0755,size={ROOT_BYTES}");
    tmpfs(WORKBENCH, &small).map_err(step("a tmpfs cannot be mounted"))?;
    std::env::set_current_dir(WORKBENCH).map_err(step("the new root"))?;
    folders_and_links().map_err(step("the new root"))?;
    passwd(root.uid).map_err(step("/etc/passwd"))?;
    if root.network {
        // Relative to the new root, which is not entered yet.
        sealed_file(&RESOLV_CONF[1..], crate::netns::RESOLV_CONF).map_err(step(RESOLV_CONF))?;
    }
    tmpfs("tmp", &format!("mode=1777,size={},nr_inodes={TMP_FILES}", root.tmp_bytes))
        .map_err(step("a tmpfs cannot be mounted"))?;
    for tree in &trees {
        tree.attach().map_err(|cause| format!("{} cannot be mounted: {cause}", tree.path.display()))?;
    }
    if root.proc {
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::RDONLY;
        rustix::mount::mount("proc", "proc", "proc", flags, None)
            .map_err(errno("/proc cannot be mounted"))?;
    }
    // The old root lies on top of the new one for a moment, and then nowhere.
    rustix::process::pivot_root(".", ".").map_err(errno("pivot_root"))?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).map_err(errno("the old root cannot be left"))?;
    std::env::set_current_dir("/").map_err(step("the new root"))?;
    let slash = rustix::fs::open("/", rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC, 0.into())
        .map_err(errno("the new root"))?;
    crate::sys::restrict_mount(slash.as_fd(), SEALED | libc::MOUNT_ATTR_NODEV, false)
        .map_err(step("the new root cannot be made read-only"))
}

/// A part of the host's file system on its way into the new root.
struct Tree {
    path: PathBuf,
    mount: OwnedFd,
    is_folder: bool,
}

impl Tree {
    fn open(path: &Path, attributes: u64) -> io::Result<Self> {
        let is_folder = fs::metadata(path)?.is_dir();
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let mount = rustix::mount::open_tree(CWD, path, flags | OpenTreeFlags::AT_RECURSIVE)?;
        crate::sys::restrict_mount(mount.as_fd(), attributes, true)?;
        Ok(Self { path: path.to_owned(), mount, is_folder })
    }

    fn attach(&self) -> io::Result<()> {
        let target = self.path.strip_prefix("/").map_err(io::Error::other)?;
        if self.is_folder {
            fs::create_dir_all(target)?;
        } else {
            if let Some(parent) = target.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::File::create(target)?;
        }
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        Ok(rustix::mount::move_mount(self.mount.as_fd(), "", CWD, target, flags)?)
    }
}

fn trees(readable: &[PathBuf], writable: &[PathBuf]) -> Result<Vec<Tree>, String> {
    let mut trees: Vec<Tree> = Vec::new();
    let system = SYSTEM.iter().filter(|path| fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir()));
    let configuration = CONFIGURATION.iter().filter(|path| Path::new(path).exists());
    let host = system.chain(configuration).map(|path| (Path::new(path), SEALED | libc::MOUNT_ATTR_NODEV));
    let devices = DEVICES.iter().map(|path| (Path::new(path), SEALED | libc::MOUNT_ATTR_NOEXEC));
    let own = readable.iter().map(|path| (path.as_path(), SEALED | libc::MOUNT_ATTR_NODEV));
    let to_write = writable.iter().map(|path| (path.as_path(), OPEN));
    for (path, attributes) in host.chain(devices).chain(own).chain(to_write) {
        if trees.iter().any(|tree| path.starts_with(&tree.path)) {
            continue;
        }
        let tree = Tree::open(path, attributes);
        trees.push(
            tree.map_err(|cause| format!("{} cannot be opened for mounting: {cause}", path.display()))?,
        );
    }
    Ok(trees)
}

fn folders_and_links() -> io::Result<()> {
    for folder in ["tmp", "proc", "dev", "etc"] {
        fs::create_dir(folder)?;
    }
    for path in SYSTEM {
        // On most systems /bin and /lib are links into /usr.
        if let Ok(target) = fs::read_link(path) {
            symlink(target, &path[1..])?;
        }
    }
    LINKS.iter().try_for_each(|(link, target)| symlink(target, link))
}

fn passwd(uid: u32) -> io::Result<()> {
    let users =
        format!("root:x:0:0:root:/:/usr/sbin/nologin\nfunction:x:{uid}:{uid}:function:/tmp:/bin/sh\n");
    sealed_file("etc/passwd", &users)?;
    sealed_file("etc/group", &format!("root:x:0:\nfunction:x:{uid}:\n"))
}

/// A small file everybody may read.
fn sealed_file(path: &str, content: &str) -> io::Result<()> {
    fs::write(path, content)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o444))
}

fn tmpfs(at: &str, options: &str) -> io::Result<()> {
    let options = std::ffi::CString::new(options)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    Ok(rustix::mount::mount("tmpfs", at, "tmpfs", flags, options.as_c_str())?)
}

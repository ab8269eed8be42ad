//! From what a tool has left to what functions may see: counted, without anything that leads out of it, the server's own, and
//! read-only. Whoever made it is dead by then, but is not believed.

use std::fs::{Metadata, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::{Component, Path};

/// What there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Size {
    pub bytes: u64,
    /// Files, folders and links.
    pub files: usize,
}

/// Folders above a file.
const DEPTH_MAX: usize = 64;

/// Checks and seals the folder. The error is a sentence. Blocks on the disk.
pub(super) fn seal(folder: &Path, bytes_max: u64, files_max: usize) -> Result<Size, String> {
    let owner = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    // Compared with where links really lead.
    let root = folder.canonicalize().map_err(|cause| format!("{}: {cause}", folder.display()))?;
    let mut sealing = Sealing { root: &root, owner, bytes_max, files_max, size: Size::default() };
    sealing.folder(&root, 0)?;
    Ok(sealing.size)
}

struct Sealing<'a> {
    root: &'a Path,
    owner: (u32, u32),
    bytes_max: u64,
    files_max: usize,
    size: Size,
}

impl Sealing<'_> {
    fn folder(&mut self, folder: &Path, depth: usize) -> Result<(), String> {
        let shown = self.shown(folder);
        let failed = |cause: std::io::Error| format!("{shown} cannot be read: {cause}");
        if depth > DEPTH_MAX {
            return Err(format!("{} is deeper than {DEPTH_MAX} folders", self.shown(folder)));
        }
        self.own(folder, 0o755)?;
        let entries: Vec<_> = std::fs::read_dir(folder).and_then(Iterator::collect).map_err(failed)?;
        for entry in entries {
            let path = entry.path();
            let meta = std::fs::symlink_metadata(&path).map_err(failed)?;
            self.count(&meta)?;
            if meta.is_dir() {
                self.folder(&path, depth + 1)?;
            } else if meta.is_symlink() {
                self.link(&path)?;
            } else if meta.is_file() {
                let executable = meta.permissions().mode() & 0o111 != 0;
                self.own(&path, if executable { 0o555 } else { 0o444 })?;
            } else {
                return Err(format!("{} is neither a file nor a folder", self.shown(&path)));
            }
        }
        let sealed = std::fs::set_permissions(folder, Permissions::from_mode(0o555));
        sealed.map_err(|cause| format!("{} cannot be sealed: {cause}", self.shown(folder)))
    }

    fn count(&mut self, meta: &Metadata) -> Result<(), String> {
        self.size.files += 1;
        // As it counts on the disk: a file with holes is no larger than that.
        self.size.bytes += meta.blocks() * 512;
        if self.size.files > self.files_max {
            return Err(format!("the packages have more than the limit of {} files", self.files_max));
        }
        if self.size.bytes > self.bytes_max {
            return Err(format!("the packages have more than the limit of {} bytes", self.bytes_max));
        }
        Ok(())
    }

    /// Also takes away what a mode can have besides the right to read and execute.
    fn own(&self, path: &Path, mode: u32) -> Result<(), String> {
        let (user, group) = self.owner;
        let owned = std::fs::symlink_metadata(path).and_then(|meta| {
            if (meta.uid(), meta.gid()) != self.owner {
                lchown(path, Some(user), Some(group))?;
            }
            std::fs::set_permissions(path, Permissions::from_mode(mode))
        });
        owned.map_err(|cause| format!("{} cannot be sealed: {cause}", self.shown(path)))
    }

    fn link(&self, path: &Path) -> Result<(), String> {
        let target = std::fs::read_link(path).map_err(|cause| format!("{}: {cause}", self.shown(path)))?;
        // Through other links it may lead elsewhere than its text says; what leads nowhere has only its text.
        let leads_out = || Err(format!("{} is a link out of the packages", self.shown(path)));
        if path.canonicalize().is_ok_and(|real| !real.starts_with(self.root)) {
            return leads_out();
        }
        let mut depth =
            path.parent().and_then(|parent| parent.strip_prefix(self.root).ok()).map_or(0, depth_of);
        for part in target.components() {
            match part {
                Component::Normal(_) => depth += 1,
                Component::CurDir => {}
                Component::ParentDir if depth > 0 => depth -= 1,
                _ => return leads_out(),
            }
        }
        Ok(())
    }

    fn shown(&self, path: &Path) -> String {
        path.strip_prefix(self.root).unwrap_or(path).display().to_string()
    }
}

fn depth_of(path: &Path) -> usize {
    path.components().count()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("lib/bin")).unwrap();
        std::fs::write(dir.path().join("lib/a.py"), "1").unwrap();
        std::fs::write(dir.path().join("lib/run"), "1").unwrap();
        std::fs::set_permissions(dir.path().join("lib/run"), Permissions::from_mode(0o4777)).unwrap();
        symlink("../run", dir.path().join("lib/bin/run")).unwrap();
        dir
    }

    #[test]
    fn everything_is_read_only_and_counted() {
        let dir = folder();
        assert_eq!(seal(dir.path(), u64::MAX, 10).unwrap().files, 5);
        let mode =
            |path: &str| std::fs::metadata(dir.path().join(path)).unwrap().permissions().mode() & 0o7777;
        assert_eq!([mode("lib"), mode("lib/a.py"), mode("lib/run")], [0o555, 0o444, 0o555]);
        crate::prepare::remove(dir.path());
    }

    #[test]
    fn what_leads_out_is_refused() {
        for target in ["/etc/passwd", "../../../x", "../../.."] {
            let dir = folder();
            symlink(target, dir.path().join("lib/bin/out")).unwrap();
            let told = seal(dir.path(), u64::MAX, 100).unwrap_err();
            assert_eq!(told, "lib/bin/out is a link out of the packages", "{target}");
            crate::prepare::remove(dir.path());
        }
    }

    #[test]
    fn what_leads_out_through_another_link_is_refused() {
        let dir = folder();
        symlink("../..", dir.path().join("lib/bin/up")).unwrap();
        symlink("lib/bin/up/..", dir.path().join("out")).unwrap();
        assert_eq!(seal(dir.path(), u64::MAX, 100).unwrap_err(), "out is a link out of the packages");
        crate::prepare::remove(dir.path());
    }

    #[test]
    fn more_than_the_limit_is_refused() {
        let dir = folder();
        assert!(seal(dir.path(), u64::MAX, 4).unwrap_err().contains("limit of 4 files"));
        crate::prepare::remove(dir.path());
        let dir = folder();
        assert!(seal(dir.path(), 0, 100).unwrap_err().contains("limit of 0 bytes"));
        crate::prepare::remove(dir.path());
    }
}

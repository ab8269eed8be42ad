//! Unpacking a tar that anybody may have made.

use std::fs::Permissions;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use evoke_core::limits::Limits;
use evoke_core::runtime::PrepareError;
use tar::EntryType;

use super::unwritable;

/// Bytes of one path, and folders above one file.
const PATH_BYTES_MAX: usize = 512;
const DEPTH_MAX: usize = 32;

/// Writes the archive's files below `to`. Only files and folders are taken, and of a file's mode whether it can be executed; a path that leads elsewhere, a second file of
/// one name, or more than the limits allow is an error.
pub(super) fn unpack(tar: &[u8], to: &Path, limits: &Limits) -> Result<(), PrepareError> {
    let broken = |cause: std::io::Error| PrepareError::Archive(format!("not a readable tar: {cause}"));
    let mut archive = tar::Archive::new(tar);
    let (mut files, mut bytes_left) = (0, limits.bundle_bytes);
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let path = entry.path().map_err(broken)?.into_owned();
        let relative = check_path(&path)?;
        match entry.header().entry_type() {
            EntryType::Directory => {
                if !relative.as_os_str().is_empty() {
                    make_folder(&to.join(relative))?;
                }
                continue;
            }
            EntryType::Regular | EntryType::Continuous => {}
            EntryType::Symlink | EntryType::Link => {
                return Err(refuse(&path, "is a link; pack the file it leads to instead"));
            }
            _ => return Err(refuse(&path, "is neither a file nor a folder")),
        }
        files += 1;
        if files > limits.bundle_files {
            return Err(PrepareError::Archive(format!(
                "more than the limit of {} files",
                limits.bundle_files
            )));
        }
        if relative.as_os_str().is_empty() {
            return Err(refuse(&path, "is no name for a file"));
        }
        let target = to.join(relative);
        if let Some(folder) = target.parent() {
            make_folder(folder)?;
        }
        let is_executable = entry.header().mode().map_err(broken)? & 0o111 != 0;
        bytes_left -= write_file(&mut entry, &path, &target, bytes_left, limits)?;
        if is_executable {
            std::fs::set_permissions(&target, Permissions::from_mode(0o755))
                .map_err(|cause| unwritable(&target, &cause))?;
        }
    }
    Ok(())
}

fn write_file(
    from: &mut impl Read,
    path: &Path,
    target: &Path,
    bytes_left: u64,
    limits: &Limits,
) -> Result<u64, PrepareError> {
    let mut file = match std::fs::File::create_new(target) {
        Ok(file) => file,
        Err(cause) if cause.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(refuse(path, "is there twice"));
        }
        Err(cause) => return Err(unwritable(target, &cause)),
    };
    let written = std::io::copy(&mut from.take(bytes_left + 1), &mut file)
        .map_err(|cause| unwritable(target, &cause))?;
    if written > bytes_left {
        return Err(PrepareError::Archive(format!(
            "more than the limit of {} bytes unpacked",
            limits.bundle_bytes
        )));
    }
    file.flush().map_err(|cause| unwritable(target, &cause))?;
    Ok(written)
}

fn make_folder(path: &Path) -> Result<(), PrepareError> {
    std::fs::create_dir_all(path).map_err(|cause| unwritable(path, &cause))
}

/// The path without `./`, if it stays where it belongs.
fn check_path(path: &Path) -> Result<PathBuf, PrepareError> {
    if path.as_os_str().len() > PATH_BYTES_MAX {
        return Err(refuse(path, "is a path of more than 512 bytes"));
    }
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) if name.to_str().is_some() => clean.push(name),
            Component::Normal(_) => return Err(refuse(path, "is not UTF-8")),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return Err(refuse(path, "is an absolute path")),
            Component::ParentDir => return Err(refuse(path, "leads out of the bundle")),
        }
    }
    if clean.components().count() > DEPTH_MAX {
        return Err(refuse(path, "is deeper than 32 folders"));
    }
    Ok(clean)
}

fn refuse(path: &Path, why: &str) -> PrepareError {
    let shown: String = path.to_string_lossy().chars().take(120).collect();
    PrepareError::Archive(format!("{shown:?} {why}"))
}

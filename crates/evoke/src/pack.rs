//! An app's folder as one tar: the same files give the same bytes, wherever and whenever they were written.

pub mod files;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use evoke_core::limits::Limits;
use sha2::{Digest as _, Sha256};

use crate::output::words;

/// The component of a crate, as it is packed.
const COMPONENT_FILE: &str = "component.wasm";
/// What tells that a folder is a crate.
const CARGO_MANIFEST: &str = "Cargo.toml";

/// A packed app.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// A tar, not compressed: files by path in byte order, all owned by nobody, from 1970, mode 0644,
    /// or 0755 for what can be executed.
    pub tar: Bytes,
    /// SHA-256 of the tar, lower-case hex.
    pub digest: String,
}

/// A Rust crate of the app, built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// Its folder within the app.
    pub folder: String,
    /// What came of it.
    pub component: PathBuf,
}

/// Why a folder cannot be packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// A file or folder cannot be read.
    #[error("{} cannot be read: {cause}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// A file's name is not UTF-8.
    #[error("the name of {} is not UTF-8", .0.display())]
    Name(PathBuf),
    /// A symbolic link leads out of the app's folder.
    #[error("{path} is a link to {}, outside the app's folder", target.display())]
    LinkOutside {
        /// The link, within the app.
        path: String,
        /// Where it leads.
        target: PathBuf,
    },
    /// Too many files.
    #[error("the app has more than {limit} files")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// Too many bytes.
    #[error("the app is larger than {}; the largest part is {largest} with {}", words::size(*limit_bytes), words::size(*largest_bytes))]
    TooLarge {
        /// The limit.
        limit_bytes: u64,
        /// The file or top folder with the most bytes.
        largest: String,
        /// How many.
        largest_bytes: u64,
    },
}

impl PackError {
    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Read { .. } => "make it readable, or name it in .evokeignore",
            Self::Name(_) => "rename it, or move it out of the app's folder",
            Self::LinkOutside { .. } => {
                "copy the file into the app's folder, or name the link in .evokeignore"
            }
            Self::TooMany { .. } | Self::TooLarge { .. } => {
                "name what the functions do not need in .evokeignore, one name or path per line; also node_modules, which is then installed at deploy from package-lock.json"
            }
        }
    }
}

/// Packs the app in `root`. Of crates that were `built` only the component is packed, and the `Cargo.toml`, which tells what the folder is.
pub fn pack(root: &Path, built: &[Built], limits: &Limits) -> Result<Bundle, PackError> {
    let mut found = files::find(root, limits.bundle_files)?;
    for Built { folder, component } in built {
        let manifest = format!("{folder}/{CARGO_MANIFEST}");
        found.files.retain(|within, _| *within == manifest || !Path::new(within).starts_with(folder));
        found.files.insert(format!("{folder}/{COMPONENT_FILE}"), component.clone());
    }
    let mut tar = tar::Builder::new(Vec::new());
    let read = |path: &Path, cause| PackError::Read { path: path.to_owned(), cause };
    for (within, path) in &found.files {
        let metadata = path.metadata().map_err(|cause| read(path, cause))?;
        if tar.get_ref().len() as u64 + metadata.len() > limits.bundle_bytes {
            return Err(too_large(&found, limits.bundle_bytes));
        }
        let bytes = std::fs::read(path).map_err(|cause| read(path, cause))?;
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Regular);
        // Nothing else of its mode means anything elsewhere.
        let is_executable = metadata.permissions().mode() & 0o111 != 0;
        header.set_mode(if is_executable { 0o755 } else { 0o644 });
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, within, bytes.as_slice()).map_err(|cause| read(path, cause))?;
    }
    let tar = tar.into_inner().map_err(|cause| read(root, cause))?;
    if tar.len() as u64 > limits.bundle_bytes {
        return Err(too_large(&found, limits.bundle_bytes));
    }
    let digest = Sha256::digest(&tar).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Bundle { tar: tar.into(), digest })
}

/// Says where the bytes are: that is what the reader wants to know next.
fn too_large(found: &files::Found, limit_bytes: u64) -> PackError {
    let mut parts = std::collections::BTreeMap::<&str, u64>::new();
    for (within, path) in &found.files {
        let top = within.split('/').next().unwrap_or(within);
        *parts.entry(top).or_default() += path.metadata().map_or(0, |meta| meta.len());
    }
    let (largest, largest_bytes) = parts.into_iter().max_by_key(|(_, bytes)| *bytes).unwrap_or_default();
    PackError::TooLarge { limit_bytes, largest: largest.to_owned(), largest_bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(root: &Path, limits: &Limits) -> Result<Bundle, PackError> {
        super::pack(root, &[], limits)
    }

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        dir
    }

    fn names(bundle: &Bundle) -> Vec<String> {
        let mut archive = tar::Archive::new(&bundle.tar[..]);
        archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect()
    }

    #[test]
    fn the_same_files_give_the_same_bytes() {
        let files = [("evoke.toml", "a"), ("src/b.ts", "b"), ("src/a.ts", "c")];
        let mut reversed = files;
        reversed.reverse();
        let (one, other) = (folder(&files), folder(&reversed));
        let pack = |dir: &tempfile::TempDir| pack(dir.path(), &Limits::default()).unwrap();
        assert_eq!(pack(&one).tar, pack(&other).tar);
        assert_eq!(names(&pack(&one)), ["evoke.toml", "src/a.ts", "src/b.ts"]);
        std::fs::write(one.path().join("src/a.ts"), "changed").unwrap();
        assert_ne!(pack(&one).digest, pack(&other).digest);
    }

    #[test]
    fn what_functions_never_need_is_left_out() {
        let dir = folder(&[
            (".env", "SECRET=1"),
            (".evoke/evoke.db", "x"),
            (".evokeignore", "# not needed\n*.md\n/docs/\n"),
            ("README.md", "x"),
            ("docs/guide.txt", "x"),
            ("evoke.toml", "x"),
            ("lib/docs/kept.txt", "x"),
            ("node_modules/a/target/index.js", "x"),
            ("src/__pycache__/a.pyc", "x"),
            ("target/debug/x", "x"),
        ]);
        let bundle = pack(dir.path(), &Limits::default()).unwrap();
        assert_eq!(names(&bundle), ["evoke.toml", "lib/docs/kept.txt", "node_modules/a/target/index.js"]);
    }

    #[test]
    fn links_are_followed_within_the_app_and_refused_beyond_it() {
        let dir = folder(&[("evoke.toml", "x"), ("lib/a.ts", "a")]);
        std::os::unix::fs::symlink("lib", dir.path().join("again")).unwrap();
        std::os::unix::fs::symlink("..", dir.path().join("lib/loop")).unwrap();
        assert_eq!(
            names(&pack(dir.path(), &Limits::default()).unwrap()),
            ["again/a.ts", "evoke.toml", "lib/a.ts"]
        );
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("passwd")).unwrap();
        let error = pack(dir.path(), &Limits::default()).unwrap_err();
        assert_eq!(error.to_string(), "passwd is a link to /etc/passwd, outside the app's folder");
    }

    #[test]
    fn bounds_name_the_limit_and_where_the_bytes_are() {
        let dir =
            folder(&[("evoke.toml", "x"), ("big/a", &"x".repeat(3_000)), ("big/b", &"x".repeat(3_000))]);
        let limits = Limits { bundle_bytes: 4_096, bundle_files: 10, ..Limits::default() };
        let error = pack(dir.path(), &limits).unwrap_err();
        assert_eq!(error.to_string(), "the app is larger than 4 KiB; the largest part is big with 5.9 KiB");
        let limits = Limits { bundle_files: 2, ..Limits::default() };
        assert_eq!(pack(dir.path(), &limits).unwrap_err().to_string(), "the app has more than 2 files");
    }

    #[test]
    fn of_a_crate_the_component_is_packed_and_neither_its_sources_nor_what_else_was_built() {
        let dir = folder(&[
            ("evoke.toml", "x"),
            ("hello/Cargo.toml", "x"),
            ("hello/data.bin", "x"),
            ("hello/src/lib.rs", "x"),
            ("hello/target/release/hello.wasm", "built"),
            ("hello-2/main.py", "x"),
        ]);
        let component = dir.path().join("hello/target/release/hello.wasm");
        let built = [Built { folder: "hello".to_owned(), component }];
        let bundle = super::pack(dir.path(), &built, &Limits::default()).unwrap();
        assert_eq!(
            names(&bundle),
            ["evoke.toml", "hello-2/main.py", "hello/Cargo.toml", "hello/component.wasm"]
        );
    }

    #[test]
    fn long_paths_survive() {
        let long = format!("{}/{}.ts", "d".repeat(120), "f".repeat(120));
        let dir = folder(&[("evoke.toml", "x"), (&long, "x")]);
        assert_eq!(names(&pack(dir.path(), &Limits::default()).unwrap()), [long.as_str(), "evoke.toml"]);
    }
}

//! The folder of an app: where it is, and what its `evoke.toml` says.

use std::path::{Path, PathBuf};

use evoke_core::manifest::{self, FileKind, Manifest, ManifestErrors};

use crate::excerpt;
use crate::exit::{Detail, Error, Result};

/// The manifest's file name.
pub const MANIFEST_FILE: &str = "evoke.toml";

const MANIFEST_BYTES_MAX: u64 = 1 << 20;

/// The nearest folder, `from` or one above it, that has an `evoke.toml`.
pub fn nearest(from: &Path) -> Option<PathBuf> {
    from.ancestors().find(|folder| folder.join(MANIFEST_FILE).is_file()).map(Path::to_owned)
}

/// The folder named on the command line, as an absolute path.
pub fn open(dir: &Path) -> Result<PathBuf> {
    let folder = dir
        .canonicalize()
        .map_err(|cause| Error::usage(format!("the folder {} cannot be used: {cause}", dir.display())))?;
    if folder.is_dir() {
        return Ok(folder);
    }
    Err(Error::usage(format!("{} is no folder", dir.display())).help("name the folder with the evoke.toml"))
}

/// Refuses a folder without a manifest: most likely another one was meant.
pub fn expect_manifest(folder: &Path) -> Result<()> {
    if folder.join(MANIFEST_FILE).exists() { Ok(()) } else { Err(no_manifest(folder)) }
}

/// The manifest of the app in `folder`.
pub fn manifest(folder: &Path) -> Result<Manifest> {
    let path = folder.join(MANIFEST_FILE);
    let unreadable = |why: String| Error::usage(format!("{} cannot be read: {why}", path.display()));
    let meta = path.metadata().map_err(|cause| match cause.kind() {
        std::io::ErrorKind::NotFound => no_manifest(folder),
        _ => unreadable(cause.to_string()),
    })?;
    if meta.len() > MANIFEST_BYTES_MAX {
        return Err(unreadable(format!("it is larger than {MANIFEST_BYTES_MAX} bytes")));
    }
    let bytes = std::fs::read(&path).map_err(|cause| unreadable(cause.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| unreadable("it is not UTF-8".to_owned()))?;
    check(folder, &text)
}

/// What `text` says, as the `evoke.toml` of `folder`.
pub fn check(folder: &Path, text: &str) -> Result<Manifest> {
    let kind = |path: &Path| file_kind(folder, path);
    manifest::parse(text, MANIFEST_FILE, &kind).map_err(|errors| broken(&errors, text))
}

fn no_manifest(folder: &Path) -> Error {
    Error::usage(format!("there is no {MANIFEST_FILE} in {}", folder.display()))
        .help("name the app's folder, or make a new one with `evoke new NAME`")
}

fn file_kind(folder: &Path, path: &Path) -> Option<FileKind> {
    let meta = folder.join(path).metadata().ok()?;
    Some(if meta.is_dir() { FileKind::Folder } else { FileKind::File })
}

fn broken(errors: &ManifestErrors, text: &str) -> Error {
    let message = match errors.problems().len() {
        1 => format!("{MANIFEST_FILE} has a problem"),
        n => format!("{MANIFEST_FILE} has {n} problems"),
    };
    let mut error = Error::failed("manifest_invalid", message);
    for problem in errors.problems() {
        let mut detail = Detail {
            message: problem.message.clone(),
            file: Some(problem.file.clone()),
            line: Some(problem.line),
            column: Some(problem.column),
            help: problem.help.clone(),
            output: Vec::new(),
            excerpt: None,
        };
        detail.excerpt = excerpt::of(&detail, text, problem.span.offset, problem.span.length);
        error = error.detail(detail);
    }
    error
}

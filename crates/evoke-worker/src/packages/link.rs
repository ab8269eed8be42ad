//! The links in a prepared bundle that lead to installed packages.
//!
//! Node.js looks for packages in a `node_modules` in the folder of whoever imports and in those above it, by real paths: so the
//! tree has to be found beside the file that asks for it, and what is in the tree finds its own like there.

use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::name;
use crate::interpreter::Language;

/// Makes `folder` of a sealed bundle have the packages of `tree`, if it does not yet. Blocks on the disk.
pub(crate) fn link(folder: &Path, tree: &Path, language: Language) -> io::Result<()> {
    let (link, target) = (folder.join(name(language)), tree.join(name(language)));
    if std::fs::read_link(&link).is_ok_and(|now| now == target) {
        return Ok(());
    }
    let new = folder.join(format!(".{}-{:?}", name(language), std::thread::current().id()));
    let made = unsealed(folder, || {
        let _ = std::fs::remove_file(&new);
        symlink(&target, &new)?;
        std::fs::rename(&new, &link)
    });
    made.map_err(|cause| io::Error::new(cause.kind(), format!("{}: {cause}", link.display())))
}

fn unsealed(folder: &Path, change: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    std::fs::set_permissions(folder, PermissionsExt::from_mode(0o755))?;
    let changed = change();
    std::fs::set_permissions(folder, PermissionsExt::from_mode(0o555))?;
    changed
}

/// The installed trees that a source in `folder` of the bundle in `root` finds.
pub(crate) fn trees(root: &Path, folder: &Path, language: Language) -> Vec<PathBuf> {
    let up = folder.ancestors().take_while(|above| above.starts_with(root));
    let target =
        |above: &Path| Some(std::fs::read_link(above.join(name(language))).ok()?.parent()?.to_owned());
    up.filter_map(target).collect()
}

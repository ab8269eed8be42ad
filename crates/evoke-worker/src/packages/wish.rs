//! What the functions of a bundle ask for: which files, and all that a tool is given to install from them.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use evoke_core::manifest::{Install, RuntimeKind};
use evoke_core::runtime::InstallError;

use super::{node, python};
use crate::interpreter::Language;

/// A file that asks for packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wish {
    pub language: Language,
    /// The folder it is in, relative to the bundle.
    pub folder: PathBuf,
    /// Itself, relative to the bundle, for people.
    pub file: String,
    /// All the tool is given, by path relative to the bundle.
    pub inputs: BTreeMap<PathBuf, Vec<u8>>,
    /// What is asked for by name, with the line of `file` that does, from 1.
    pub names: Vec<(String, u32)>,
}

/// What has to be installed for these sources of the bundle in `root`. Blocks on the disk.
pub(crate) fn wishes(
    root: &Path,
    sources: &[(RuntimeKind, PathBuf)],
    install: Install,
) -> Result<Vec<Wish>, InstallError> {
    let mut wishes: BTreeMap<(Language, PathBuf), Wish> = BTreeMap::new();
    for (runtime, source) in sources {
        // Programs bring what they need.
        let Some(language) = Language::of(*runtime) else { continue };
        let folders = folders_up(root, source);
        let wish = match language {
            Language::Node => node::wish(root, &folders)?,
            Language::Python => python::wish(root, &folders, install)?,
        };
        wishes.extend(wish.map(|wish| ((wish.language, wish.folder.clone()), wish)));
    }
    Ok(wishes.into_values().collect())
}

/// The folder of a source and all above it up to the bundle itself, relative to it.
fn folders_up(root: &Path, source: &Path) -> Vec<PathBuf> {
    let source: PathBuf = source.components().filter(|part| matches!(part, Component::Normal(_))).collect();
    let is_folder = root.join(&source).is_dir();
    source.ancestors().skip(usize::from(!is_folder)).map(Path::to_owned).collect()
}

/// Whether packages came with the bundle in this folder, and nothing has to be installed.
pub(super) fn is_carried(root: &Path, folder: &Path, language: Language) -> bool {
    let carried = root.join(folder).join(super::name(language));
    std::fs::symlink_metadata(carried).is_ok_and(|meta| meta.is_dir())
}

/// A path in `folder` that a file names, if it stays in the bundle; relative to it.
pub(super) fn within(folder: &Path, path: &str) -> Option<PathBuf> {
    let mut clean: Vec<Component<'_>> = folder.components().collect();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(_) => clean.push(part),
            Component::CurDir => {}
            Component::ParentDir => _ = clean.pop()?,
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(clean.iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_in_the_bundle() {
        let folder = Path::new("api/v1");
        assert_eq!(within(folder, "./a.txt"), Some("api/v1/a.txt".into()));
        assert_eq!(within(folder, "../../a.txt"), Some("a.txt".into()));
        assert_eq!(within(folder, "../../../a.txt"), None);
        assert_eq!(within(folder, "/a.txt"), None);
    }

    #[test]
    fn folders_are_looked_at_from_the_source_upwards() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("api/v1")).unwrap();
        let up = |source: &str| folders_up(dir.path(), Path::new(source));
        assert_eq!(up("api/v1"), [Path::new("api/v1"), Path::new("api"), Path::new("")]);
        assert_eq!(up("./api/main.py"), [Path::new("api"), Path::new("")]);
        assert_eq!(up("main.py"), [Path::new("")]);
    }
}

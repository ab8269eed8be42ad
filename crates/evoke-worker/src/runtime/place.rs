//! Where a function is on the disk.

use std::path::{Path, PathBuf};

use evoke_core::outcome::Failure;
use evoke_core::runtime::InstanceSpec;

use super::init_error;
use crate::interpreter::Language;
use crate::packages;
use crate::prepare::{Bundles, find_entry};

/// Where a function is on the disk. All are absolute but `name`, which is for people.
#[derive(Debug)]
pub(super) struct Place {
    pub root: String,
    pub source: String,
    pub folder: String,
    pub name: String,
    pub is_translated: bool,
    /// Trees of packages that it finds.
    pub packages: Vec<PathBuf>,
}

impl Place {
    /// Finds it among the prepared bundles.
    pub(super) fn find(bundles: &Bundles, spec: &InstanceSpec) -> Result<Self, Failure> {
        let root = bundles.folder(&spec.bundle);
        let entry =
            find_entry(&root, spec.runtime, &spec.source).map_err(|cause| init_error(cause.to_string()))?;
        let source = root.join(&entry.load);
        let folder = source.parent().unwrap_or(&root);
        let packages = Language::of(spec.runtime).map(|language| packages::trees(&root, folder, language));
        let packages = packages.unwrap_or_default();
        let texts = (root.to_str(), source.to_str(), folder.to_str(), entry.source.to_str());
        let (Some(root), Some(source), Some(folder), Some(name)) = texts else {
            return Err(init_error(format!("path {} is not UTF-8", source.display())));
        };
        let (root, source) = (root.to_owned(), source.to_owned());
        let (folder, name) = (folder.to_owned(), name.to_owned());
        Ok(Self { root, source, folder, name, is_translated: entry.is_translated(), packages })
    }

    /// That of a function which is part of a shim; `None` where its path is not UTF-8.
    pub(super) fn of_shim(source: &Path) -> Option<Self> {
        let folder = source.parent()?.to_str()?.to_owned();
        let name = source.file_name()?.to_str()?.to_owned();
        let source = source.to_str()?.to_owned();
        Some(Self { root: folder.clone(), source, folder, name, is_translated: false, packages: Vec::new() })
    }
}

//! Making a data directory of a backup.

use std::fs::{self, File};
use std::path::Path;

use super::{BackupError, Manifest, copy, empty, manifest::folders};
use crate::dir;
use crate::object::digest_of;
use crate::schema;
use crate::verify::verify;

/// Makes `target`, which must be empty or not there, the store that was saved in `backup`. Each file is compared with the
/// manifest, and the whole looked at as [`verify`] does (of an older format, that is left to the migration). The database
/// gets its name last: what was interrupted is no store.
pub fn restore(backup: &Path, target: &Path) -> Result<Manifest, BackupError> {
    let manifest = Manifest::read(backup)?;
    empty(target)?;
    let unfinished = target.join("unfinished-evoke.db");
    for listed in &manifest.files {
        let from = backup.join(&listed.path);
        let is_database = listed.path == "evoke.db";
        let to = if is_database { unfinished.clone() } else { target.join(&listed.path) };
        let changed = |cause: String| BackupError::Changed { file: from.clone(), cause };
        if !from.is_file() {
            return Err(changed("it is not there".to_owned()));
        }
        copy(&from, &to).map_err(|cause| BackupError::io(&to, cause))?;
        // The copy is what counts.
        let digest = digest_of(&to).map_err(|cause| BackupError::io(&to, cause))?;
        if digest != listed.sha256 {
            return Err(changed(format!("its digest is {digest}, the manifest has {}", listed.sha256)));
        }
    }
    let name = || -> std::io::Result<()> {
        dir::create(&dir::objects(target))?;
        for folder in folders(&dir::objects(target)) {
            File::open(folder)?.sync_all()?;
        }
        fs::rename(&unfinished, dir::database(target))?;
        dir::sync(target)
    };
    name().map_err(|cause| BackupError::io(target, cause))?;
    if manifest.format == schema::VERSION {
        let report = verify(target)?;
        if !report.is_intact() {
            return Err(BackupError::Damaged(report.findings));
        }
    }
    Ok(manifest)
}

//! Landlock: which files a process may touch, whatever it sees of the file system. Also keeps its signals and its
//! abstract sockets among its own processes, and shuts it out of `/proc` entries of others.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus,
    Scope, path_beneath_rules,
};

/// The newest version whose rules are known here; older kernels enforce what they can.
const NEWEST: ABI = ABI::V6;
/// Below this, truncation is not covered, and a read-only file could be emptied.
const OLDEST: ABI = ABI::V3;

/// Devices a process may write to as well.
const DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

/// What may be done where. Paths that do not exist are left out.
#[derive(Debug, Default)]
pub(super) struct Rules<'a> {
    /// Read and execute.
    pub readable: Vec<&'a Path>,
    /// Everything.
    pub writable: Vec<&'a Path>,
}

/// From here on this process, and all that come from it, are held to the rules.
pub(super) fn restrict(rules: &Rules<'_>) -> Result<(), String> {
    let text = |cause: landlock::RulesetError| cause.to_string();
    let devices = DEVICES.map(PathBuf::from);
    let on_devices = AccessFs::ReadFile | AccessFs::WriteFile;
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(OLDEST))
        .map_err(text)?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))
        .map_err(text)?
        .scope(Scope::from_all(NEWEST))
        .map_err(text)?
        .create()
        .map_err(text)?
        .add_rules(path_beneath_rules(&rules.readable, AccessFs::from_read(NEWEST)))
        .map_err(text)?
        .add_rules(path_beneath_rules(&rules.writable, AccessFs::from_all(NEWEST)))
        .map_err(text)?
        .add_rules(path_beneath_rules(&devices, on_devices))
        .map_err(text)?
        .restrict_self()
        .map_err(text)?;
    match status.ruleset {
        RulesetStatus::NotEnforced => {
            Err("the kernel has no Landlock (CONFIG_SECURITY_LANDLOCK, lsm=landlock)".to_owned())
        }
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
    }
}

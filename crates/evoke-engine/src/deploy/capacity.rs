//! Whether a deployment fits on the node: what could never be started, or would keep all others from being started, is
//! refused before it is current.

use std::collections::BTreeMap;

use evoke_core::id::{AppName, FunctionName};
use evoke_core::limits::Limits;
use evoke_core::manifest::{Function, units};

/// Checks the functions of all apps, as they would be after the deployment. Each must fit beside what is kept warm of the
/// others. The error is a sentence.
pub(super) fn check<'a>(
    apps: impl Iterator<Item = (&'a AppName, &'a BTreeMap<FunctionName, Function>)> + Clone,
    deployed: &AppName,
    limits: &Limits,
) -> Result<(), String> {
    let all =
        apps.flat_map(|(app, functions)| functions.iter().map(move |(name, function)| (app, name, function)));
    let kept = |function: &Function| u64::from(function.min_instances);
    let count: u64 = all.clone().map(|(_, _, function)| kept(function)).sum();
    let bytes: u64 =
        all.clone().map(|(_, _, function)| kept(function).saturating_mul(function.memory_bytes)).sum();
    for (app, name, function) in all {
        if app == deployed && function.memory_bytes > limits.instance_bytes {
            return Err(too_large(name, function.memory_bytes, limits.instance_bytes));
        }
        // Its own first instance, if it keeps none.
        let more = u64::from(function.min_instances == 0);
        let needed = bytes.saturating_add(more * function.memory_bytes);
        if count + more > limits.instances as u64 || needed > limits.instance_bytes {
            return Err(format!(
                "min_instances of all functions keep {count} instances with {} on this node, which has places for {} with {}: \
                 no instance of {name} ({}) would fit beside them; lower min_instances or memory, or raise --instance-memory",
                units::format_bytes(bytes),
                limits.instances,
                units::format_bytes(limits.instance_bytes),
                units::format_bytes(function.memory_bytes),
            ));
        }
    }
    Ok(())
}

/// Why a function can never have an instance here.
pub(crate) fn too_large(function: &FunctionName, memory_bytes: u64, limit: u64) -> String {
    format!(
        "function {function}: memory {} is above the {} that all instances of this node have together; lower it, or raise --instance-memory",
        units::format_bytes(memory_bytes),
        units::format_bytes(limit)
    )
}

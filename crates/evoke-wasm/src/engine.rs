//! How components are compiled and held: one configuration, for the process that compiles and for those that run.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

use crate::trim;

/// A guest's call stack, in bytes. Deeper recursion is a trap.
const STACK_BYTES: usize = 1 << 20;
/// What is mapped for a guest's stack: its own and room for the host functions it calls.
const FIBRE_BYTES: usize = 2 << 20;
/// Memory of an instance that is kept in place, and only made what it was, when the instance is dropped.
const KEEP_RESIDENT_BYTES: usize = 1 << 20;
/// Core modules, memories and tables that one component may have. Languages with a runtime of their own have several.
const PER_COMPONENT: u32 = 16;
const MEMORIES_PER_COMPONENT: u32 = 4;
/// Entries of one table.
const TABLE_ELEMENTS: usize = 100_000;

/// What calls of components look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tasks {
    /// One after the other, as in WASI 0.2: nothing is prepared for others.
    One,
    /// Several that wait at the same time, as in WASI 0.3.
    Several,
}

/// The engine of a worker that holds up to `instances` live instances.
pub(crate) fn running(tasks: Tasks, instances: u32) -> wasmtime::Result<Engine> {
    let mut config = common(tasks);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(4))
        .total_memories(instances.saturating_mul(2))
        .total_tables(instances.saturating_mul(4).max(PER_COMPONENT))
        .total_stacks(instances.saturating_mul(match tasks {
            Tasks::One => 1,
            Tasks::Several => 2,
        }))
        .max_core_instances_per_component(PER_COMPONENT)
        .max_memories_per_component(MEMORIES_PER_COMPONENT)
        .max_tables_per_component(PER_COMPONENT)
        .max_tables_per_module(PER_COMPONENT)
        .table_elements(TABLE_ELEMENTS);
    if !has_swap() {
        // With the kernel's list of written pages, only those are made new. It omits pages that were swapped out, which
        // would show an earlier request's data to a later one: so never where there is swap.
        pool.pagemap_scan(Enabled::Auto)
            .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
            .table_keep_resident(64 << 10)
            .async_stack_keep_resident(64 << 10);
    }
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config)
}

/// The engine of a process that compiles. What it makes, an engine of [`running`] can load.
pub(crate) fn compiling(tasks: Tasks) -> wasmtime::Result<Engine> {
    // The allocation strategy decides how memories are laid out, which compiled code relies on.
    running(tasks, 1)
}

/// The engine of a process that calls a component once, before it is compiled.
pub(crate) fn preloading() -> wasmtime::Result<Engine> {
    Engine::new(&common(Tasks::Several))
}

/// Names what components are compiled for: the version of wasmtime, its settings, what this machine's processor can, and how they are
/// trimmed before. What was compiled for another name cannot be loaded.
pub fn name() -> Result<String, String> {
    let mut hash = DefaultHasher::new();
    trim::VERSION.hash(&mut hash);
    for tasks in [Tasks::One, Tasks::Several] {
        let engine = compiling(tasks).map_err(|cause| format!("{cause:#}"))?;
        engine.precompile_compatibility_hash().hash(&mut hash);
    }
    Ok(format!("wasmtime-{:016x}", hash.finish()))
}

fn common(tasks: Tasks) -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .wasm_component_model_async(tasks == Tasks::Several)
        .concurrency_support(tasks == Tasks::Several)
        .epoch_interruption(true)
        .cranelift_opt_level(OptLevel::Speed)
        .max_wasm_stack(STACK_BYTES)
        .async_stack_size(FIBRE_BYTES)
        .memory_init_cow(true);
    config
}

/// Whether this machine may swap.
fn has_swap() -> bool {
    may_swap(std::fs::read_to_string("/proc/swaps").ok().as_deref())
}

/// By what `/proc/swaps` says: a line of titles, and one for each place there is. Unknown counts as yes.
fn may_swap(swaps: Option<&str>) -> bool {
    swaps.is_none_or(|swaps| swaps.lines().count() != 1)
}

#[cfg(test)]
mod tests {
    use super::may_swap;

    #[test]
    fn a_machine_swaps_unless_it_says_that_it_does_not() {
        let titles = "Filename\tType\tSize\tUsed\tPriority\n";
        assert!(!may_swap(Some(titles)));
        assert!(may_swap(Some(&format!("{titles}/dev/vda2 partition 1000000 0 -2\n"))));
        assert!(may_swap(Some("")) && may_swap(None));
    }
}

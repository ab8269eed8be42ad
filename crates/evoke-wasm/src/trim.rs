//! What a component does not need is cut at deploy, so that no call pays for it.
//!
//! Making an instance costs in proportion to what its modules import from one another and from the host: a hello from Rust imports
//! 141 functions, half of them of sockets and files, which nobody gets here, and it was two thirds of a call's instructions to hand
//! them over. Two things are cut, in the core modules only; the component around them stays as it is, and the compiler leaves out
//! what nothing refers to any more:
//!
//! * a function on a resource that the host never gives out ([`never`]). Whoever calls it holds no handle, so the call is a trap; it
//!   becomes one without asking the host.
//! * the detour by a *shim*. Functions that need the module's own memory cannot be imported before the module exists, so
//!   `wit-component` makes a module that exports a function for each, which calls what is in a place of its table, and a *fixup* that
//!   fills the table in the end. Each of these functions is prepared for each instance. Now the module imports the table, and has
//!   functions of its own that call what is there.
//!
//! Whatever does not look like this stays untouched, and so does a component that would not be valid afterwards. What comes out is
//! compiled like any other component: nothing here is trusted.

mod module;
mod never;
mod outline;
mod shim;

use std::collections::{BTreeMap, BTreeSet};

use wasm_encoder::{Component, ModuleArg, RawSection};
use wasmparser::Validator;

use module::Cut;
use outline::{CoreInstance, Outline, Provided};
use shim::{Fixup, Shim};

/// Which way of trimming this is: components that were compiled after another are compiled anew.
pub(crate) const VERSION: u32 = 1;
/// Core instances of a component, looked at one by one for each of them. Valid components have no more.
const INSTANCES_MAX: usize = 1_000;
/// The name under which a module is handed the shim's table: that of no import there is.
const TABLE_FROM: &str = "evoke:shim";

/// The component without what it does not need; nothing where that is all of it.
pub(crate) fn trimmed(bytes: &[u8]) -> Option<Vec<u8>> {
    let outline =
        Outline::read(bytes).ok().filter(|outline| outline.core_instances.len() <= INSTANCES_MAX)?;
    let plan = Plan::new(&outline, bytes);
    if plan.modules.is_empty() {
        return None;
    }
    let trimmed = plan.carry_out(&outline, bytes)?;
    let mut validator = Validator::new_with_features(wasmparser::WasmFeatures::all());
    validator.validate_all(&trimmed).ok().map(|_| trimmed)
}

/// What is to be done.
#[derive(Default)]
struct Plan {
    /// Modules that are replaced, by their place among the component's own.
    modules: BTreeMap<u32, Vec<u8>>,
    /// Core instances that are handed the table of a shim's instance: theirs, and the shim's.
    tables: BTreeMap<u32, u32>,
}

impl Plan {
    fn new(outline: &Outline<'_>, bytes: &[u8]) -> Self {
        let mut plan = Self::default();
        let pair = Pair::find(outline, bytes);
        for (number, instance) in (0..).zip(&outline.core_instances) {
            let CoreInstance::Of { module, arguments } = instance else { continue };
            let is_of_pair =
                pair.as_ref().is_some_and(|pair| pair.shim_is == number || pair.fixup_is == number);
            let Some(range) = outline.module_of_one(*module).filter(|_| !is_of_pair) else { continue };
            let provider = |from: &str, name: &str| {
                let function = outline.provided(*arguments.get(from)?, name)?;
                match (function, &pair) {
                    (Provided::Function(function), _) => {
                        outline.is_never_called(function).then_some(Cut::Trap)
                    }
                    (Provided::Export(of, name), Some(pair)) if of == pair.shim_is => {
                        let place = *pair.shim.places.get(name)?;
                        let is_dead = pair.dead.contains(&place);
                        Some(if is_dead { Cut::Trap } else { Cut::Call(place) })
                    }
                    _ => None,
                }
            };
            let shim = pair.as_ref().filter(|_| !arguments.contains_key(TABLE_FROM)).map(|pair| &pair.shim);
            let replaced = bytes.get(range).and_then(|module| module::without(module, provider, shim));
            let Some((module_bytes, has_table)) = replaced else { continue };
            plan.modules.insert(*module, module_bytes);
            if let (true, Some(pair)) = (has_table, &pair) {
                plan.tables.insert(number, pair.shim_is);
            }
        }
        if let Some(Pair { fixup, dead, fixup_module, .. }) = pair
            && !dead.is_empty()
        {
            plan.modules.insert(fixup_module, fixup.without(&dead));
        }
        plan
    }

    /// The component, section by section.
    fn carry_out(mut self, outline: &Outline<'_>, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut component = Component::new();
        let (mut module, mut instance) = (0, 0);
        for section in &outline.sections {
            let data = bytes.get(section.range.clone())?;
            if let Some(at) = section.module {
                module = at;
            }
            match (section.module.and_then(|_| self.modules.remove(&module)), section.instances) {
                (Some(replaced), _) => component.section(&RawSection { id: section.id, data: &replaced }),
                (None, count) if self.tables.range(instance..instance + count).next().is_some() => {
                    let written = self.instances(outline, instance..instance + count);
                    component.section(&written)
                }
                _ => component.section(&RawSection { id: section.id, data }),
            };
            instance += section.instances;
        }
        Some(component.finish())
    }

    /// A section of core instances, some with one argument more.
    fn instances(&self, outline: &Outline<'_>, range: std::ops::Range<u32>) -> wasm_encoder::InstanceSection {
        let mut section = wasm_encoder::InstanceSection::new();
        for number in range {
            match &outline.core_instances[number as usize] {
                CoreInstance::Of { module, arguments } => {
                    let table = self.tables.get(&number).map(|shim| (TABLE_FROM, *shim));
                    let all: Vec<_> =
                        arguments.iter().map(|(name, index)| (*name, *index)).chain(table).collect();
                    section.instantiate(
                        *module,
                        all.into_iter().map(|(name, index)| (name, ModuleArg::Instance(index))),
                    );
                }
                CoreInstance::Bag(exports) => {
                    let all: Vec<_> =
                        exports.iter().map(|(name, (kind, index))| (*name, *kind, *index)).collect();
                    section.export_items(all);
                }
            }
        }
        section
    }
}

/// A shim and the fixup that fills its table.
struct Pair {
    shim_is: u32,
    shim: Shim,
    fixup_is: u32,
    fixup_module: u32,
    fixup: Fixup,
    /// Places of the table whose functions are never called.
    dead: BTreeSet<u32>,
}

impl Pair {
    fn find(outline: &Outline<'_>, bytes: &[u8]) -> Option<Self> {
        let instances = || (0..).zip(&outline.core_instances);
        let (shim_is, shim) = instances().find_map(|(number, instance)| {
            let CoreInstance::Of { module, arguments } = instance else { return None };
            let range = outline.module_of_one(*module).filter(|_| arguments.is_empty())?;
            Some((number, Shim::read(bytes.get(range)?)?))
        })?;
        let (fixup_is, fixup_module, fixup, arguments) = instances().find_map(|(number, instance)| {
            let CoreInstance::Of { module, arguments } = instance else { return None };
            let fixup = Fixup::read(bytes.get(outline.module_of_one(*module)?)?)?;
            let from = *arguments.get(fixup.table.0.as_str())?;
            let Some(Provided::Table(of, name)) = outline.provided(from, &fixup.table.1) else { return None };
            (of == shim_is && name == shim.table_name).then_some((number, *module, fixup, arguments))
        })?;
        // Nobody else fills the table.
        if !outline.is_handed_over_once(shim_is, &shim.table_name) {
            return None;
        }
        let is_dead = |import: u32| {
            let (from, name) = &fixup.imports[import as usize].0;
            let provided = arguments.get(from.as_str()).and_then(|from| outline.provided(*from, name));
            matches!(provided, Some(Provided::Function(function)) if outline.is_never_called(function))
        };
        let dead =
            fixup.places.iter().filter(|(_, import)| is_dead(**import)).map(|(place, _)| *place).collect();
        Some(Self { shim_is, shim, fixup_is, fixup_module, fixup, dead })
    }
}

#[cfg(test)]
mod tests;

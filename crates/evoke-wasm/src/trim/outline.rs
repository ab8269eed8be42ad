//! What is where in a component, as far as it takes to find out what a core module's imports are.
//!
//! Each kind of thing has numbers of its own, in the order in which the sections define them. Components inside are passed over.

use std::collections::BTreeMap;
use std::ops::Range;

use wasm_encoder::ExportKind;
use wasmparser::{
    CanonicalFunction, ComponentAlias, ComponentExternalKind, ComponentOuterAliasKind, ComponentTypeRef,
    ExternalKind, Instance, Parser, Payload, Result,
};

use super::never;

/// A section of the component itself.
pub(super) struct Section {
    pub id: u8,
    pub range: Range<usize>,
    /// The number of the module it is.
    pub module: Option<u32>,
    /// Core instances it defines.
    pub instances: u32,
}

pub(super) enum CoreInstance<'a> {
    /// Of a module, with what it is handed by the names of the modules it imports from.
    Of { module: u32, arguments: BTreeMap<&'a str, u32> },
    /// A bag of things that there are already.
    Bag(BTreeMap<&'a str, (ExportKind, u32)>),
}

/// A core function that no module of the component has.
pub(super) enum CoreFunction<'a> {
    /// A function of the component's, for a module to call.
    Lowered(u32),
    /// Gives back a handle of a type.
    Drop(u32),
    /// A core instance's.
    Export(u32, &'a str),
    /// Something of the component model.
    Other,
}

/// What a core instance has under a name.
pub(super) enum Provided<'o, 'a> {
    Function(&'o CoreFunction<'a>),
    /// The export of an instance of a module: a function, as far as is known.
    Export(u32, &'a str),
    /// A table that an instance of a module exports.
    Table(u32, &'a str),
}

/// The component.
#[derive(Default)]
pub(super) struct Outline<'a> {
    pub sections: Vec<Section>,
    pub core_instances: Vec<CoreInstance<'a>>,
    /// Where its own modules are; nothing of others.
    modules: Vec<Option<Range<usize>>>,
    core_functions: Vec<CoreFunction<'a>>,
    /// Of which core instance, by which name.
    core_tables: Vec<(u32, &'a str)>,
    /// Imported functions, types and instances: of which instance, by which name; and nothing of others.
    functions: Vec<Option<(u32, &'a str)>>,
    types: Vec<Option<(u32, &'a str)>>,
    instances: Vec<Option<&'a str>>,
}

impl<'a> Outline<'a> {
    pub fn read(bytes: &'a [u8]) -> Result<Self> {
        let mut outline = Self::default();
        let mut depth = 0;
        for payload in Parser::new(0).parse_all(bytes) {
            let payload = payload?;
            match payload {
                Payload::Version { .. } => depth += 1,
                Payload::End(_) => depth -= 1,
                payload if depth == 1 => outline.take(payload)?,
                _ => {}
            }
        }
        Ok(outline)
    }

    fn take(&mut self, payload: Payload<'a>) -> Result<()> {
        let (instances, modules) = (self.core_instances.len(), self.modules.len());
        let section = payload.as_section();
        let mut own_module = None;
        match payload {
            Payload::ModuleSection { unchecked_range, .. } => {
                own_module = Some(number(modules));
                self.modules.push(Some(unchecked_range));
            }
            Payload::InstanceSection(all) => {
                for instance in all {
                    self.core_instances.push(core_instance(instance?));
                }
            }
            Payload::ComponentInstanceSection(all) => {
                for instance in all {
                    instance?;
                    self.instances.push(None);
                }
            }
            Payload::ComponentTypeSection(all) => {
                for ty in all {
                    ty?;
                    self.types.push(None);
                }
            }
            Payload::ComponentAliasSection(all) => {
                for alias in all {
                    self.alias(alias?);
                }
            }
            Payload::ComponentCanonicalSection(all) => {
                for function in all {
                    match function? {
                        CanonicalFunction::Lift { .. } => self.functions.push(None),
                        CanonicalFunction::Lower { func_index, .. } => {
                            self.core_functions.push(CoreFunction::Lowered(func_index));
                        }
                        CanonicalFunction::ResourceDrop { resource } => {
                            self.core_functions.push(CoreFunction::Drop(resource));
                        }
                        _ => self.core_functions.push(CoreFunction::Other),
                    }
                }
            }
            Payload::ComponentImportSection(all) => {
                for import in all {
                    let import = import?;
                    match import.ty {
                        ComponentTypeRef::Instance(_) => self.instances.push(Some(import.name.name)),
                        other => self.unknown(other.kind()),
                    }
                }
            }
            Payload::ComponentExportSection(all) => {
                for export in all {
                    self.unknown(export?.kind);
                }
            }
            _ => {}
        }
        if let Some((id, range)) = section {
            let instances = number(self.core_instances.len() - instances);
            self.sections.push(Section { id, range, module: own_module, instances });
        }
        Ok(())
    }

    fn alias(&mut self, alias: ComponentAlias<'a>) {
        match alias {
            ComponentAlias::InstanceExport { kind: ComponentExternalKind::Func, instance_index, name } => {
                self.functions.push(Some((instance_index, name)));
            }
            ComponentAlias::InstanceExport { kind: ComponentExternalKind::Type, instance_index, name } => {
                self.types.push(Some((instance_index, name)));
            }
            ComponentAlias::InstanceExport { kind, .. } => self.unknown(kind),
            ComponentAlias::CoreInstanceExport { kind, instance_index, name } => match kind {
                ExternalKind::Func | ExternalKind::FuncExact => {
                    self.core_functions.push(CoreFunction::Export(instance_index, name));
                }
                ExternalKind::Table => self.core_tables.push((instance_index, name)),
                ExternalKind::Memory | ExternalKind::Global | ExternalKind::Tag => {}
            },
            ComponentAlias::Outer { kind: ComponentOuterAliasKind::CoreModule, .. } => {
                self.modules.push(None)
            }
            ComponentAlias::Outer { kind: ComponentOuterAliasKind::Type, .. } => self.types.push(None),
            ComponentAlias::Outer { .. } => {}
        }
    }

    /// Something whose origin is of no interest.
    fn unknown(&mut self, kind: ComponentExternalKind) {
        match kind {
            ComponentExternalKind::Module => self.modules.push(None),
            ComponentExternalKind::Func => self.functions.push(None),
            ComponentExternalKind::Type => self.types.push(None),
            ComponentExternalKind::Instance => self.instances.push(None),
            ComponentExternalKind::Value | ComponentExternalKind::Component => {}
        }
    }

    /// Where a module of the component is that has a single instance.
    pub fn module_of_one(&self, module: u32) -> Option<Range<usize>> {
        let is_this = |instance: &&CoreInstance<'_>| matches!(instance, CoreInstance::Of { module: of, .. } if *of == module);
        let instances = self.core_instances.iter().filter(is_this).count();
        self.modules.get(module as usize)?.clone().filter(|_| instances == 1)
    }

    /// What a core instance has under a name; nothing if that is neither a function nor a table.
    pub fn provided(&self, instance: u32, name: &str) -> Option<Provided<'_, 'a>> {
        match self.core_instances.get(instance as usize)? {
            // Its own functions are nobody's business here.
            CoreInstance::Of { .. } => None,
            CoreInstance::Bag(exports) => match exports.get(name)? {
                (ExportKind::Func, index) => match self.core_functions.get(*index as usize)? {
                    CoreFunction::Export(of, name) => Some(Provided::Export(*of, name)),
                    function => Some(Provided::Function(function)),
                },
                (ExportKind::Table, index) => {
                    let (of, name) = self.core_tables.get(*index as usize)?;
                    Some(Provided::Table(*of, name))
                }
                _ => None,
            },
        }
    }

    /// Whether nobody can call it and go on.
    pub fn is_never_called(&self, function: &CoreFunction<'_>) -> bool {
        let imported = |of: &Option<(u32, &'a str)>| {
            of.and_then(|(instance, name)| Some(((*self.instances.get(instance as usize)?)?, name)))
        };
        match function {
            CoreFunction::Lowered(index) => {
                let imported = self.functions.get(*index as usize).and_then(imported);
                imported.is_some_and(|(interface, name)| !never::is_callable(interface, name))
            }
            CoreFunction::Drop(ty) => {
                let imported = self.types.get(*ty as usize).and_then(imported);
                imported.is_some_and(|(interface, resource)| !never::is_had(interface, resource))
            }
            CoreFunction::Export(..) | CoreFunction::Other => false,
        }
    }

    /// Whether a table of a core instance goes to one other instance and no further.
    pub fn is_handed_over_once(&self, instance: u32, name: &str) -> bool {
        let tables: Vec<_> =
            (0..).zip(&self.core_tables).filter(|(_, table)| **table == (instance, name)).collect();
        let [(table, _)] = tables[..] else { return false };
        let mut bags = (0..).zip(&self.core_instances).filter(|(_, one)| match one {
            CoreInstance::Bag(exports) => {
                exports.values().any(|export| *export == (ExportKind::Table, table))
            }
            CoreInstance::Of { .. } => false,
        });
        let (Some((bag, _)), None) = (bags.next(), bags.next()) else { return false };
        let arguments = || {
            self.core_instances.iter().flat_map(|one| match one {
                CoreInstance::Of { arguments, .. } => arguments.values().copied().collect(),
                CoreInstance::Bag(_) => Vec::new(),
            })
        };
        arguments().filter(|of| *of == bag).count() == 1 && !arguments().any(|of| of == instance)
    }
}

fn core_instance(instance: Instance<'_>) -> CoreInstance<'_> {
    match instance {
        Instance::Instantiate { module_index, args } => {
            let arguments = args.iter().map(|argument| (argument.name, argument.index)).collect();
            CoreInstance::Of { module: module_index, arguments }
        }
        Instance::FromExports(exports) => {
            let export = |export: &wasmparser::Export<'_>| (ExportKind::from(export.kind), export.index);
            CoreInstance::Bag(exports.iter().map(|one| (one.name, export(one))).collect())
        }
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

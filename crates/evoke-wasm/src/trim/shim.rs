//! The two modules by which a module gets functions that need its memory before it has one.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use wasm_encoder::{
    ConstExpr, ElementSection, Elements, EntityType, ImportSection, Module, RawSection, SectionId, TableType,
};
use wasmparser::{
    ElementItems, ElementKind, ExternalKind, FunctionBody, Operator, Parser, Payload, Result, TypeRef,
};

use super::module::parameters;

/// A module of functions that pass their parameters on to what is in a place of a table, and nothing else.
pub(super) struct Shim {
    pub table_name: String,
    pub table: TableType,
    /// By the names of the functions.
    pub places: BTreeMap<String, u32>,
}

impl Shim {
    /// Nothing where it has anything else.
    pub fn read(module: &[u8]) -> Option<Self> {
        let mut parts = Parts::default();
        for payload in Parser::new(0).parse_all(module) {
            match payload.ok()? {
                Payload::TypeSection(types) => parts.parameters = parameters(types).ok()?,
                Payload::FunctionSection(functions) => {
                    parts.functions = functions.into_iter().collect::<Result<_>>().ok()?;
                }
                Payload::TableSection(tables) => {
                    for table in tables {
                        parts.tables.push(TableType::try_from(table.ok()?.ty).ok()?);
                    }
                }
                Payload::ExportSection(exports) => {
                    for export in exports {
                        let export = export.ok()?;
                        parts.exports.push((export.name, export.kind, export.index));
                    }
                }
                Payload::CodeSectionEntry(body) => {
                    let ty = *parts.functions.get(parts.places.len())?;
                    let count = *parts.parameters.get(ty as usize)?;
                    let place = place(&body, ty, count?).ok()??;
                    parts.places.push(place);
                }
                Payload::Version { .. }
                | Payload::CodeSectionStart { .. }
                | Payload::CustomSection(_)
                | Payload::End(_) => {}
                _ => return None,
            }
        }
        parts.shim()
    }
}

/// What a shim has.
#[derive(Default)]
struct Parts<'a> {
    parameters: Vec<Option<u32>>,
    /// Their types.
    functions: Vec<u32>,
    tables: Vec<TableType>,
    exports: Vec<(&'a str, ExternalKind, u32)>,
    places: Vec<u32>,
}

impl Parts<'_> {
    fn shim(self) -> Option<Shim> {
        let [table] = self.tables[..] else { return None };
        let (mut table_name, mut places) = (None, BTreeMap::new());
        for (name, kind, index) in self.exports {
            match kind {
                ExternalKind::Table => table_name = Some(name.to_owned()),
                ExternalKind::Func => {
                    places.insert(name.to_owned(), *self.places.get(index as usize)?);
                }
                _ => return None,
            }
        }
        Some(Shim { table_name: table_name?, table, places })
    }
}

/// The place whose function a function calls with all its parameters; nothing if it does anything else.
fn place(body: &FunctionBody<'_>, ty: u32, parameters: u32) -> Result<Option<u32>> {
    if body.get_locals_reader()?.get_count() > 0 {
        return Ok(None);
    }
    let mut operators = body.get_operators_reader()?;
    for parameter in 0..parameters {
        if !matches!(operators.read()?, Operator::LocalGet { local_index } if local_index == parameter) {
            return Ok(None);
        }
    }
    let Operator::I32Const { value } = operators.read()? else { return Ok(None) };
    let calls = matches!(operators.read()?, Operator::CallIndirect { type_index, table_index: 0 } if type_index == ty);
    let ends = matches!(operators.read()?, Operator::End) && operators.eof();
    Ok(u32::try_from(value).ok().filter(|_| calls && ends))
}

/// A module that puts the functions it imports into an imported table, and nothing else.
pub(super) struct Fixup {
    /// Where the table is from.
    pub table: (String, String),
    table_type: TableType,
    /// Its types, as they are written.
    types: Vec<u8>,
    /// Where the functions are from, and their types.
    pub imports: Vec<((String, String), u32)>,
    /// Which of them goes where.
    pub places: BTreeMap<u32, u32>,
}

impl Fixup {
    /// Nothing where it has anything else.
    pub fn read(module: &[u8]) -> Option<Self> {
        let (mut table, mut types, mut imports, mut places) = (None, Vec::new(), Vec::new(), BTreeMap::new());
        for payload in Parser::new(0).parse_all(module) {
            match payload.ok()? {
                Payload::TypeSection(section) => types = module.get(section.range())?.to_vec(),
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let import = import.ok()?;
                        let from = (import.module.to_owned(), import.name.to_owned());
                        match import.ty {
                            TypeRef::Func(ty) => imports.push((from, ty)),
                            TypeRef::Table(ty) if table.is_none() => {
                                table = Some((from, TableType::try_from(ty).ok()?));
                            }
                            _ => return None,
                        }
                    }
                }
                Payload::ElementSection(section) => {
                    for element in section {
                        let element = element.ok()?;
                        let ElementKind::Active { table_index: None | Some(0), offset_expr } = element.kind
                        else {
                            return None;
                        };
                        let ElementItems::Functions(functions) = element.items else { return None };
                        let mut offset = offset_expr.get_operators_reader();
                        let Operator::I32Const { value } = offset.read().ok()? else { return None };
                        let Operator::End = offset.read().ok()? else { return None };
                        for (place, function) in (u32::try_from(value).ok()?..).zip(functions) {
                            places.insert(place, function.ok()?);
                        }
                    }
                }
                Payload::Version { .. } | Payload::CustomSection(_) | Payload::End(_) => {}
                _ => return None,
            }
        }
        let (table, table_type) = table?;
        let all_imported = places.values().all(|function| (*function as usize) < imports.len());
        all_imported.then_some(Self { table, table_type, types, imports, places })
    }

    /// The module that leaves these places empty, and does not import what was for them.
    pub fn without(&self, dead: &BTreeSet<u32>) -> Vec<u8> {
        let places = || self.places.iter().filter(|(place, _)| !dead.contains(place));
        let mut imports = ImportSection::new();
        let mut numbers = BTreeMap::new();
        for (_, function) in places() {
            let ((from, name), ty) = &self.imports[*function as usize];
            let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
            numbers.entry(*function).or_insert_with(|| {
                imports.import(from, name, EntityType::Function(*ty));
                next
            });
        }
        imports.import(&self.table.0, &self.table.1, self.table_type);
        let mut elements = ElementSection::new();
        for (range, functions) in runs(places().map(|(place, function)| (*place, numbers[function]))) {
            let offset = ConstExpr::i32_const(range.start.cast_signed());
            elements.active(None, &offset, Elements::Functions(functions.into()));
        }
        let mut module = Module::new();
        module.section(&RawSection { id: SectionId::Type.into(), data: &self.types });
        module.section(&imports).section(&elements);
        module.finish()
    }
}

/// What is in places that follow one another.
fn runs(places: impl Iterator<Item = (u32, u32)>) -> Vec<(Range<u32>, Vec<u32>)> {
    let mut runs: Vec<(Range<u32>, Vec<u32>)> = Vec::new();
    for (place, function) in places {
        match runs.last_mut().filter(|(range, _)| range.end == place) {
            Some((range, functions)) => {
                range.end += 1;
                functions.push(function);
            }
            None => runs.push((place..place + 1, vec![function])),
        }
    }
    runs
}

//! A core module some of whose imported functions become functions of its own.

use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{CodeSection, EntityType, Function, FunctionSection, ImportSection, Instruction, Module};
use wasmparser::{
    CodeSectionReader, CompositeInnerType, FunctionSectionReader, ImportSectionReader, Parser, Payload,
    Result, TypeRef, TypeSectionReader,
};

use super::TABLE_FROM;
use super::shim::Shim;

/// Functions of a module. Valid ones have no more.
const FUNCTIONS_MAX: u32 = 1_000_000;

/// What an imported function is replaced by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// A trap.
    Trap,
    /// A call of what is in this place of the shim's table.
    Call(u32),
}

/// The module with the imports replaced for which `cut` says so, and whether it imports the table of `shim` now. Nothing if it stays as
/// it is: where there is nothing to cut, or its line tables would not fit any more.
pub(super) fn without(
    module: &[u8],
    cut: impl Fn(&str, &str) -> Option<Cut>,
    shim: Option<&Shim>,
) -> Option<(Vec<u8>, bool)> {
    let mut cutter = Cutter::read(module, cut)?;
    cutter.table =
        shim.filter(|_| cutter.imports.iter().any(|import| matches!(import.cut, Some(Cut::Call(_)))));
    let mut written = Module::new();
    cutter.parse_core_module(&mut written, Parser::new(0), module).ok()?;
    Some((written.finish(), cutter.table.is_some()))
}

/// The numbers of parameters of function types; nothing for other types.
pub(super) fn parameters(types: TypeSectionReader<'_>) -> Result<Vec<Option<u32>>> {
    let mut counts = Vec::new();
    for group in types {
        for ty in group?.into_types() {
            counts.push(match ty.composite_type.inner {
                CompositeInnerType::Func(function) => u32::try_from(function.params().len()).ok(),
                _ => None,
            });
        }
    }
    Ok(counts)
}

/// An imported function.
struct Imported {
    ty: u32,
    parameters: u32,
    cut: Option<Cut>,
    /// What it is called after the cut.
    number: u32,
}

/// Writes the module anew. Numbers of functions: first what is still imported, then the module's own as before, then what was imported.
struct Cutter<'s> {
    imports: Vec<Imported>,
    /// How many are imported still.
    kept: u32,
    tables_imported: u32,
    table: Option<&'s Shim>,
}

impl Cutter<'_> {
    /// Nothing if there is nothing to do, or it cannot be done.
    fn read(module: &[u8], cut: impl Fn(&str, &str) -> Option<Cut>) -> Option<Self> {
        let (mut types, mut imports, mut tables_imported, mut own) = (Vec::new(), Vec::new(), 0, 0);
        for payload in Parser::new(0).parse_all(module) {
            match payload.ok()? {
                Payload::TypeSection(section) => types = parameters(section).ok()?,
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let import = import.ok()?;
                        match import.ty {
                            TypeRef::Func(ty) => {
                                let parameters = (*types.get(ty as usize)?)?;
                                let cut = cut(import.module, import.name);
                                imports.push(Imported { ty, parameters, cut, number: 0 });
                            }
                            TypeRef::FuncExact(_) => return None,
                            TypeRef::Table(_) => tables_imported += 1,
                            _ => {}
                        }
                    }
                }
                Payload::FunctionSection(section) => own = section.count(),
                Payload::CustomSection(section) if section.name() == ".debug_line" => return None,
                _ => {}
            }
        }
        let cuts = imports.iter().filter(|import| import.cut.is_some()).count();
        // Where it has no functions of its own there are no sections to add some to.
        if cuts == 0 || own == 0 || own > FUNCTIONS_MAX || imports.len() > FUNCTIONS_MAX as usize {
            return None;
        }
        let kept = u32::try_from(imports.len() - cuts).ok()?;
        let (mut still_imported, mut now_own) = (0, kept + own);
        for import in &mut imports {
            let next = if import.cut.is_some() { &mut now_own } else { &mut still_imported };
            import.number = *next;
            *next += 1;
        }
        Some(Self { imports, kept, tables_imported, table: None })
    }

    fn cuts(&self) -> impl Iterator<Item = (&Imported, Cut)> {
        self.imports.iter().filter_map(|import| Some((import, import.cut?)))
    }
}

impl Reencode for Cutter<'_> {
    type Error = std::convert::Infallible;

    fn function_index(&mut self, function: u32) -> Result<u32, Error> {
        let all = u32::try_from(self.imports.len()).unwrap_or(u32::MAX);
        Ok(match self.imports.get(function as usize) {
            Some(imported) => imported.number,
            None => function - all + self.kept,
        })
    }

    /// The shim's comes after those that are imported.
    fn table_index(&mut self, table: u32) -> Result<u32, Error> {
        Ok(if self.table.is_some() && table >= self.tables_imported {
            table.saturating_add(1)
        } else {
            table
        })
    }

    fn parse_import_section(
        &mut self,
        imports: &mut ImportSection,
        section: ImportSectionReader<'_>,
    ) -> Result<(), Error> {
        let mut functions = 0;
        for import in section.into_imports() {
            let import = import?;
            if let TypeRef::Func(_) = import.ty {
                functions += 1;
                if self.imports[functions - 1].cut.is_some() {
                    continue;
                }
            }
            imports.import(import.module, import.name, self.entity_type(import.ty)?);
        }
        if let Some(shim) = self.table {
            imports.import(TABLE_FROM, &shim.table_name, EntityType::Table(shim.table));
        }
        Ok(())
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: FunctionSectionReader<'_>,
    ) -> Result<(), Error> {
        utils::parse_function_section(self, functions, section)?;
        for (import, _) in self.cuts() {
            functions.function(import.ty);
        }
        Ok(())
    }

    fn parse_code_section(
        &mut self,
        code: &mut CodeSection,
        section: CodeSectionReader<'_>,
    ) -> Result<(), Error> {
        utils::parse_code_section(self, code, section)?;
        for (import, cut) in self.cuts() {
            let mut function = Function::new([]);
            match cut {
                Cut::Trap => function.instruction(&Instruction::Unreachable),
                Cut::Call(place) => {
                    for parameter in 0..import.parameters {
                        function.instruction(&Instruction::LocalGet(parameter));
                    }
                    let table_index = self.tables_imported;
                    function.instruction(&Instruction::I32Const(place.cast_signed()));
                    function.instruction(&Instruction::CallIndirect { type_index: import.ty, table_index })
                }
            };
            function.instruction(&Instruction::End);
            code.function(&function);
        }
        Ok(())
    }
}

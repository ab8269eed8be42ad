//! Checking JavaScript and translating TypeScript, by way of oxc.
//!
//! From each function's entry the relative imports are followed. Every file found is parsed, so that a syntax error is told
//! at deploy with its place; TypeScript is translated into a file beside it (`lib.ts` into `lib.ts.mjs`, or `.cjs` when it
//! has neither import nor export) with a source map in it, and its imports are made to name translated files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use evoke_core::runtime::PrepareError;
use oxc::allocator::Allocator;
use oxc::ast::ast::{Argument, CallExpression, ExportAllDeclaration, ExportFromDeclaration, Expression};
use oxc::ast::ast::{ImportDeclaration, ImportExpression, StringLiteral};
use oxc::ast_visit::{VisitMut, walk_mut};
use oxc::codegen::{Codegen, CodegenOptions};
use oxc::diagnostics::{Diagnostics, OxcDiagnostic};
use oxc::parser::Parser;
use oxc::semantic::SemanticBuilder;
use oxc::span::SourceType;
use oxc::transformer::{TransformOptions, Transformer};

use super::resolve;
use super::unwritable;

/// Larger files are data or generated bundles: JavaScript is then loaded unchecked, TypeScript refused.
const SCRIPT_BYTES_MAX: usize = 4 << 20;

/// Checks and translates everything the entries (relative to `bundle`) lead to.
pub(super) fn translate(bundle: &Path, entries: Vec<PathBuf>) -> Result<(), PrepareError> {
    let mut seen: BTreeSet<PathBuf> = entries.iter().cloned().collect();
    let mut waiting = entries;
    while let Some(path) = waiting.pop() {
        for next in one_file(bundle, &path)? {
            // What is installed was checked by whoever published it.
            let installed = next.components().any(|part| part.as_os_str() == "node_modules");
            if !installed && seen.insert(next.clone()) {
                waiting.push(next);
            }
        }
    }
    Ok(())
}

/// Handles one file and returns the files of the bundle it imports.
fn one_file(bundle: &Path, path: &Path) -> Result<Vec<PathBuf>, PrepareError> {
    let typescript = resolve::is_typescript(path);
    if !typescript && !resolve::is_javascript(path) {
        return Ok(Vec::new());
    }
    let full = bundle.join(path);
    let bytes = std::fs::read(&full).map_err(|cause| unwritable(&full, &cause))?;
    let whole_file = |message: String| PrepareError::Source {
        file: path.to_string_lossy().into_owned(),
        line: 1,
        column: 1,
        message,
    };
    if bytes.len() > SCRIPT_BYTES_MAX {
        if typescript {
            let message =
                format!("{} bytes of TypeScript are above the limit of {SCRIPT_BYTES_MAX}", bytes.len());
            return Err(whole_file(message));
        }
        return Ok(Vec::new());
    }
    let text = String::from_utf8(bytes).map_err(|_| whole_file("the file is not UTF-8".to_owned()))?;

    let allocator = Allocator::default();
    let mut parsed = Parser::new(&allocator, &text, source_type(path)).parse();
    fail_on_error(path, &text, &parsed.diagnostics)?;
    let module = parsed.module_record.has_module_syntax;
    let semantic = SemanticBuilder::new()
        .with_check_syntax_error(true)
        .with_enum_eval(typescript)
        .build(&parsed.program);
    fail_on_error(path, &text, &semantic.diagnostics)?;
    if typescript {
        let scoping = semantic.semantic.into_scoping();
        let options = TransformOptions::default();
        let made =
            Transformer::new(&allocator, path, &options).build_with_scoping(scoping, &mut parsed.program);
        fail_on_error(path, &text, &made.diagnostics)?;
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut imports =
        Imports { allocator: &allocator, bundle, folder, rewrite: typescript, found: Vec::new() };
    imports.visit_program(&mut parsed.program);
    let found = imports.found;
    if typescript {
        let options = CodegenOptions {
            source_map_path: path.file_name().map(PathBuf::from),
            ..CodegenOptions::default()
        };
        let printed = Codegen::new().with_options(options).build(&parsed.program);
        let mut code = printed.code;
        if let Some(map) = printed.map {
            code.push_str("\n//# sourceMappingURL=");
            code.push_str(&map.to_data_url());
            code.push('\n');
        }
        let target = bundle.join(translation(path, module));
        std::fs::write(&target, code).map_err(|cause| unwritable(&target, &cause))?;
    }
    Ok(found)
}

/// A file that says `import` or `export` is a module; others are so only by their name.
fn translation(path: &Path, module: bool) -> PathBuf {
    let names = resolve::translated(path);
    let end = if module { "mjs" } else { "cjs" };
    let fits = |name: &&PathBuf| name.extension().is_some_and(|has| has == end);
    names.iter().find(fits).or(names.first()).cloned().unwrap_or_else(|| path.to_owned())
}

fn source_type(path: &Path) -> SourceType {
    match path.extension().and_then(|extension| extension.to_str()).unwrap_or_default() {
        "ts" => SourceType::ts(),
        "mts" => SourceType::ts().with_module(true),
        "cts" => SourceType::ts().with_commonjs(true),
        "mjs" => SourceType::mjs(),
        "cjs" => SourceType::cjs(),
        // Whether a `.js` is a module, its text says, or a package.json. CommonJS allows more, such as a top-level return.
        _ => SourceType::unambiguous(),
    }
}

fn fail_on_error(path: &Path, text: &str, diagnostics: &Diagnostics) -> Result<(), PrepareError> {
    use oxc::diagnostics::Severity;
    let Some(first) = diagnostics.iter().find(|diagnostic| diagnostic.severity == Severity::Error) else {
        return Ok(());
    };
    Err(source_error(path, text, first))
}

fn source_error(path: &Path, text: &str, diagnostic: &OxcDiagnostic) -> PrepareError {
    let offset = diagnostic.labels.first().map_or(0, |label| label.offset() as usize).min(text.len());
    let before = text.get(..text.floor_char_boundary(offset)).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let count = |number: usize| u32::try_from(number + 1).unwrap_or(u32::MAX);
    let mut message = diagnostic.message.to_string();
    if let Some(help) = &diagnostic.help {
        message = format!("{message} ({help})");
    }
    PrepareError::Source {
        file: path.to_string_lossy().into_owned(),
        line: count(before.matches('\n').count()),
        column: count(before[line_start..].chars().count()),
        message,
    }
}

/// Collects relative imports, and rewrites them to where the translated files are.
struct Imports<'a, 'b> {
    allocator: &'a Allocator,
    bundle: &'b Path,
    folder: &'b Path,
    rewrite: bool,
    found: Vec<PathBuf>,
}

impl<'a> Imports<'a, '_> {
    fn source(&mut self, source: &mut StringLiteral<'a>) {
        let Some(target) = resolve::file(self.bundle, self.folder, &source.value) else { return };
        if self.rewrite {
            let name =
                if resolve::is_typescript(&target) { self.translation_of(&target) } else { target.clone() };
            let specifier = resolve::specifier(self.folder, &name);
            source.value = oxc::str::Str::from_str_in(&specifier, &self.allocator);
            source.raw = None;
        }
        self.found.push(target);
    }

    /// Whether the other file is a module decides about its name, so its text is looked at once more.
    fn translation_of(&self, target: &Path) -> PathBuf {
        let text = std::fs::read_to_string(self.bundle.join(target)).unwrap_or_default();
        let allocator = Allocator::default();
        let parsed = Parser::new(&allocator, &text, source_type(target)).parse();
        translation(target, parsed.module_record.has_module_syntax)
    }
}

impl<'a> VisitMut<'a> for Imports<'a, '_> {
    fn visit_import_declaration(&mut self, it: &mut ImportDeclaration<'a>) {
        self.source(&mut it.source);
    }

    fn visit_export_from_declaration(&mut self, it: &mut ExportFromDeclaration<'a>) {
        self.source(&mut it.source);
    }

    fn visit_export_all_declaration(&mut self, it: &mut ExportAllDeclaration<'a>) {
        self.source(&mut it.source);
    }

    fn visit_import_expression(&mut self, it: &mut ImportExpression<'a>) {
        if let Expression::StringLiteral(source) = &mut it.source {
            self.source(source);
        }
        walk_mut::walk_import_expression(self, it);
    }

    fn visit_call_expression(&mut self, it: &mut CallExpression<'a>) {
        let require = matches!(&it.callee, Expression::Identifier(name) if name.name == "require");
        if let (true, [Argument::StringLiteral(source)]) = (require, it.arguments.as_mut_slice()) {
            self.source(source);
        }
        walk_mut::walk_call_expression(self, it);
    }
}

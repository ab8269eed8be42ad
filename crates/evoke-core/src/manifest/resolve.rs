//! Raw → resolved: every rule that is more than a type, each broken one reported with its place.

mod admission;
mod archive;
mod beacon;
mod built_in;
mod chains;
mod cors;
mod decorator;
mod destination;
mod egress;
mod experiment;
mod function;
mod hook;
mod instances;
mod lifecycle;
mod queue;
mod rollback;
mod route;
mod schedule;
mod secret;
mod source;
mod subscription;
mod upstream;
mod webhook;

use std::collections::BTreeMap;
use std::path::Path;

use toml::de::DeTable;

use super::bounds::{FILE_BYTES_MAX, FUNCTIONS_MAX};
use super::problem::{ManifestErrors, Problems};
use super::raw;
use super::table::{At, Table};
use super::{FileKind, Install, Manifest};
use crate::id::{AppName, FunctionName};
use route::Standing;

/// Reads and checks an `evoke.toml`. `file_name` is how messages call it; `files` says what lies at a path relative
/// to the app's folder, or `None` when nothing does. All problems are found, not only the first; only when the text
/// is not TOML at all are they limited to that.
pub fn parse(
    text: &str,
    file_name: &str,
    files: &dyn Fn(&Path) -> Option<FileKind>,
) -> Result<Manifest, ManifestErrors> {
    let mut problems = Problems::new(file_name, text);
    if text.len() > FILE_BYTES_MAX {
        let message = format!("{file_name} has {} bytes, the limit is {FILE_BYTES_MAX}", text.len());
        problems.add("out_of_range", 0..0, message);
        return problems.finish(None);
    }
    let (document, syntax) = DeTable::parse_recoverable(text);
    for error in &syntax {
        let message = error.message().trim().replace('\n', ", ");
        problems.add("toml_syntax", error.span().unwrap_or(0..0), format!("not TOML: {message}"));
    }
    if !syntax.is_empty() {
        return problems.finish(None);
    }
    let file = raw::File::read(Table::new(String::new(), 0..0, document.into_inner(), &mut problems));
    let manifest = Resolver { problems: &mut problems, files }.manifest(&file);
    problems.finish(manifest)
}

/// Walks the raw file. What cannot be resolved becomes a problem and `None` or a default, so that the walk goes on.
struct Resolver<'r, 'p> {
    problems: &'r mut Problems<'p>,
    files: &'r dyn Fn(&Path) -> Option<FileKind>,
}

impl Resolver<'_, '_> {
    fn manifest(&mut self, file: &raw::File) -> Option<Manifest> {
        self.edition(file);
        let app = self.app(file);
        let chains = self.chains(file.app.as_ref());
        let share = self.share(file.app.as_ref());
        let rollback = self.rollback(file.app.as_ref().and_then(|app| app.rollback.as_ref()));
        let declared: Vec<&str> = file.functions.iter().map(|(name, _)| name.value.as_str()).collect();
        if let Some((name, _)) = file.functions.get(FUNCTIONS_MAX) {
            let message =
                format!("{} functions are more than the limit of {FUNCTIONS_MAX}", file.functions.len());
            self.problems.add("out_of_range", name.span.clone(), message);
        }
        let mut functions = BTreeMap::new();
        for (name, raw) in file.functions.iter().take(FUNCTIONS_MAX) {
            let function = self.function(&name.value, raw, &declared);
            match FunctionName::new(&name.value) {
                Ok(name) => functions.extend(function.map(|function| (name, function))),
                Err(error) => self.invalid_name(name, error.to_string()),
            }
        }
        self.hooks(&file.hooks, &mut functions, &file.functions);
        self.all_destinations(file, &mut functions);
        let decorators = self.built_ins(&file.decorators, &declared);
        let standing: Vec<&str> =
            declared.iter().copied().chain(decorators.keys().map(FunctionName::as_str)).collect();
        let (experiments, known) = self.experiments(&file.experiments, &standing);
        let routes = self.routes(
            &file.routes,
            &Standing { declared: &declared, standing: &standing, experiments: &known },
            file.app.as_ref().and_then(|app| app.cors.as_ref()),
        );
        self.queues(&file.queues, &mut functions, &declared);
        let webhooks = self.webhooks(&file.webhooks, &routes);
        let beacons = self.beacons(&file.beacons, &routes, &webhooks);
        let scripts = file.install.as_ref().and_then(|install| install.scripts.as_ref());
        let install = Install { scripts: scripts.is_some_and(|scripts| scripts.value) };
        let archive = file.archive.as_ref().map(|archive| self.archive(archive)).unwrap_or_default();
        let schedules = self.schedules(&file.schedules, &file.functions, &file.hooks);
        let app = app?;
        Some(Manifest {
            app,
            chains,
            share,
            rollback,
            install,
            archive,
            functions,
            decorators,
            experiments,
            routes,
            webhooks,
            beacons,
            schedules,
        })
    }

    fn edition(&mut self, file: &raw::File) {
        if let Some(edition) = file.evoke.as_ref().filter(|edition| edition.value != "1") {
            self.problems
                .add(
                    "invalid_value",
                    edition.span.clone(),
                    format!("evoke: edition {:?} is not known", edition.value),
                )
                .help(r#"this version reads evoke = "1""#);
        }
    }

    fn app(&mut self, file: &raw::File) -> Option<AppName> {
        let name = file.app.as_ref()?.name.as_ref()?;
        match AppName::new(&name.value) {
            Ok(name) => Some(name),
            Err(error) => {
                self.invalid_name(name, error.to_string());
                None
            }
        }
    }

    fn invalid_name(&mut self, name: &At<String>, message: String) {
        self.problems
            .add("invalid_name", name.span.clone(), message)
            .help("a name starts with a lower-case letter and has at most 63 characters of a-z 0-9 - _");
    }
}

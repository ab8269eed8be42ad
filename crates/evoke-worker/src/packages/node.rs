//! `package.json`, and the lock file beside it that says what is installed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use evoke_core::runtime::InstallError;
use serde_json::Value;

use super::wish::{Wish, is_carried, within};
use crate::interpreter::{self, Interpreter, Language};

const FILE: &str = "package.json";
/// In npm's order.
const LOCKS: [&str; 2] = ["npm-shrinkwrap.json", "package-lock.json"];
const OTHER_LOCKS: [&str; 4] = ["yarn.lock", "pnpm-lock.yaml", "bun.lock", "bun.lockb"];
/// npm's own program, below the folder that Node.js is installed in, and where Debian has it.
const NPM: [&str; 2] = ["lib/node_modules/npm/bin/npm-cli.js", "share/nodejs/npm/bin/npm-cli.js"];

const MAKE_LOCK: &str = "make one with `npm install --package-lock-only`, and deploy it with the app";

/// What the nearest `package.json` of these folders with dependencies asks for; `None` when there is none, or when a
/// `node_modules` at or above it has come with the app.
pub(super) fn wish(root: &Path, folders: &[PathBuf]) -> Result<Option<Wish>, InstallError> {
    for (at, folder) in folders.iter().enumerate() {
        let path = folder.join(FILE);
        let Ok(text) = std::fs::read_to_string(root.join(&path)) else { continue };
        let file = path.to_string_lossy().into_owned();
        let package: Value = serde_json::from_str(&text)
            .map_err(|cause| InstallError { line: line_of(&cause), ..refusal(&file, "it is no JSON", "") })?;
        let names = dependencies(&package);
        if names.is_empty() {
            continue;
        }
        if folders[at..].iter().any(|above| is_carried(root, above, Language::Node)) {
            return Ok(None);
        }
        return asked(root, folder, package, &text, names).map(Some);
    }
    Ok(None)
}

fn asked(
    root: &Path,
    folder: &Path,
    mut package: Value,
    text: &str,
    names: Vec<String>,
) -> Result<Wish, InstallError> {
    let file = folder.join(FILE).to_string_lossy().into_owned();
    if package.get("workspaces").is_some() {
        let help =
            "give the function's folder a package.json and a lock file of its own, or deploy node_modules";
        return Err(refusal(&file, "workspaces are not supported", help));
    }
    let Some(lock) = LOCKS.iter().find(|lock| root.join(folder).join(lock).is_file()) else {
        let other = OTHER_LOCKS.iter().find(|other| root.join(folder).join(other).is_file());
        return Err(match other {
            Some(other) => {
                refusal(&file, &format!("{other} is not supported; there is no package-lock.json"), MAKE_LOCK)
            }
            None => {
                refusal(&file, "it has dependencies, but there is no package-lock.json beside it", MAKE_LOCK)
            }
        });
    };
    let lock_path = folder.join(lock);
    let lock_file = lock_path.to_string_lossy().into_owned();
    let bytes = std::fs::read(root.join(&lock_path))
        .map_err(|cause| refusal(&lock_file, &format!("it cannot be read: {cause}"), ""))?;
    let parsed: Value = serde_json::from_slice(&bytes).map_err(|cause| InstallError {
        line: line_of(&cause),
        ..refusal(&lock_file, "it is no JSON", MAKE_LOCK)
    })?;
    let mut inputs = local_files(root, folder, &parsed).map_err(|cause| refusal(&lock_file, &cause, ""))?;
    inputs.insert(lock_path, bytes);
    // They are the app's own steps of building, for files that are not there.
    package.as_object_mut().map(|package| package.remove("scripts"));
    inputs.insert(folder.join(FILE), package.to_string().into_bytes());
    let names = names.into_iter().map(|name| (name.clone(), line_with(text, &name))).collect();
    Ok(Wish { language: Language::Node, folder: folder.to_owned(), file, inputs, names })
}

/// Names of what is needed at run time.
fn dependencies(package: &Value) -> Vec<String> {
    let tables = [&package["dependencies"], &package["optionalDependencies"]];
    tables.iter().filter_map(|table| table.as_object()).flat_map(|table| table.keys().cloned()).collect()
}

/// Packages that the lock file takes from the app's own files: tarballs, no folders.
fn local_files(root: &Path, folder: &Path, lock: &Value) -> Result<BTreeMap<PathBuf, Vec<u8>>, String> {
    let mut files = BTreeMap::new();
    for (at, package) in lock["packages"].as_object().into_iter().flatten() {
        if package["dev"] == true {
            continue;
        }
        if package["link"] == true {
            let name = at.rsplit("node_modules/").next().unwrap_or(at);
            return Err(format!(
                "{name} is a folder of one machine; pack it with `npm pack`, or deploy node_modules"
            ));
        }
        let Some(path) = package["resolved"].as_str().and_then(|from| from.strip_prefix("file:")) else {
            continue;
        };
        let inside = within(folder, path).filter(|path| root.join(path).is_file());
        let inside = inside.ok_or_else(|| format!("{path:?} is not among the app's files"))?;
        let bytes =
            std::fs::read(root.join(&inside)).map_err(|cause| format!("{path:?} cannot be read: {cause}"))?;
        files.insert(inside, bytes);
    }
    Ok(files)
}

/// npm's program: the one that came with this Node.js, or the one in `PATH`.
pub(super) fn npm(node: &Interpreter) -> Option<PathBuf> {
    let program = Path::new(&node.program);
    let beside = program.parent().and_then(Path::parent).into_iter();
    let beside = beside.flat_map(|prefix| NPM.map(|npm| prefix.join(npm)));
    let in_path = interpreter::in_path(&["npm"]).into_iter().filter_map(|npm| npm.canonicalize().ok());
    // What is called so may be a wrapper of a version manager, which is no program of Node.js.
    beside.chain(in_path).find(|npm| npm.extension().is_some_and(|end| end == "js") && npm.is_file())
}

fn line_with(text: &str, name: &str) -> u32 {
    let quoted = format!("\"{name}\"");
    let line = text.lines().position(|line| line.contains(&quoted));
    line.and_then(|line| u32::try_from(line + 1).ok()).unwrap_or(0)
}

fn line_of(cause: &serde_json::Error) -> Option<u32> {
    u32::try_from(cause.line()).ok().filter(|line| *line > 0)
}

fn refusal(file: &str, message: &str, help: &str) -> InstallError {
    let help = (!help.is_empty()).then(|| help.to_owned());
    InstallError { help, ..super::failure(file, message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(files: &[(&str, &str)]) -> Result<Option<Wish>, String> {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let folders = ["api/v1", "api", ""].map(PathBuf::from);
        wish(dir.path(), &folders).map_err(|error| error.to_string())
    }

    const PACKAGE: &str =
        "{\n  \"scripts\": {\"prepare\": \"x\"},\n  \"dependencies\": {\n    \"left\": \"1\"\n  }\n}";
    const LOCK: &str =
        r#"{"lockfileVersion": 3, "packages": {"": {}, "node_modules/left": {"resolved": "file:left.tgz"}}}"#;

    #[test]
    fn the_nearest_package_with_dependencies_asks() {
        let files = [
            ("api/v1/package.json", r#"{"type": "module"}"#),
            ("api/package.json", PACKAGE),
            ("api/package-lock.json", LOCK),
            ("api/left.tgz", "tarball"),
            ("package.json", r#"{"dependencies": {"right": "1"}}"#),
        ];
        let wish = read(&files).unwrap().unwrap();
        assert_eq!((wish.file.as_str(), wish.folder.as_path()), ("api/package.json", Path::new("api")));
        assert_eq!(wish.names, [("left".to_owned(), 4)]);
        let inputs: Vec<&str> = wish.inputs.keys().map(|path| path.to_str().unwrap()).collect();
        assert_eq!(inputs, ["api/left.tgz", "api/package-lock.json", "api/package.json"]);
        let given = String::from_utf8_lossy(&wish.inputs[Path::new("api/package.json")]);
        assert!(!given.contains("scripts"), "{given}");
    }

    #[test]
    fn what_came_with_the_app_is_not_installed() {
        let carried = [("api/package.json", PACKAGE), ("node_modules/left/index.js", "")];
        assert_eq!(read(&carried).unwrap(), None);
        assert_eq!(read(&[("package.json", r#"{"devDependencies": {"x": "1"}}"#)]).unwrap(), None);
    }

    #[test]
    fn what_cannot_be_installed_is_refused_with_what_to_do() {
        let told = |files: &[(&str, &str)]| read(files).unwrap_err();
        assert_eq!(
            told(&[("api/package.json", PACKAGE)]),
            "api/package.json: it has dependencies, but there is no package-lock.json beside it"
        );
        assert_eq!(
            told(&[("package.json", PACKAGE), ("yarn.lock", "")]),
            "package.json: yarn.lock is not supported; there is no package-lock.json"
        );
        assert_eq!(
            told(&[("package.json", PACKAGE), ("package-lock.json", LOCK)]),
            "package-lock.json: \"left.tgz\" is not among the app's files"
        );
        let linked = r#"{"packages": {"node_modules/left": {"link": true}}}"#;
        assert!(
            told(&[("package.json", PACKAGE), ("package-lock.json", linked)])
                .starts_with("package-lock.json: left is a folder of one machine")
        );
        assert_eq!(told(&[("package.json", "{")]), "package.json: it is no JSON");
        let workspaces = r#"{"workspaces": ["a"], "dependencies": {"x": "1"}}"#;
        assert_eq!(told(&[("package.json", workspaces)]), "package.json: workspaces are not supported");
    }
}

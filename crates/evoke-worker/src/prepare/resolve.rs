//! Which file an import means, in TypeScript's ways of saying it.

use std::path::{Component, Path, PathBuf};

/// Extensions that are translated, with what their translation's name ends in when it is an ES module and when it is not.
const TRANSLATED: [(&str, &[&str]); 3] = [("ts", &["mjs", "cjs"]), ("mts", &["mjs"]), ("cts", &["cjs"])];

/// Whether a file is TypeScript that has to be translated. Declarations have nothing to run.
pub(super) fn is_typescript(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let declaration = [".d.ts", ".d.mts", ".d.cts"].iter().any(|end| name.ends_with(end));
    !declaration
        && TRANSLATED.iter().any(|(extension, _)| path.extension().is_some_and(|has| has == *extension))
}

/// Whether a file is JavaScript.
pub(super) fn is_javascript(path: &Path) -> bool {
    path.extension().is_some_and(|extension| ["js", "mjs", "cjs"].iter().any(|known| extension == *known))
}

/// The names a file's translation may have: its own, and one more extension.
pub(super) fn translated(path: &Path) -> Vec<PathBuf> {
    let ends = TRANSLATED.iter().find(|(extension, _)| path.extension().is_some_and(|has| has == *extension));
    let with = |end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(".");
        name.push(end);
        PathBuf::from(name)
    };
    ends.map(|(_, ends)| ends.iter().map(|end| with(end)).collect()).unwrap_or_default()
}

/// The file that `specifier` (`./lib.ts`, `./lib`, `../lib.js` for a `../lib.ts`) means in a file of `folder`, relative to
/// the bundle. `None` when it is not a relative specifier, or no such file is there.
pub(super) fn file(bundle: &Path, folder: &Path, specifier: &str) -> Option<PathBuf> {
    if !specifier.starts_with("./") && !specifier.starts_with("../") && specifier != "." && specifier != ".."
    {
        return None;
    }
    let base = normal(&folder.join(specifier))?;
    let candidates = std::iter::once(base.clone())
        .chain(typescript_of(&base))
        .chain(["ts", "mts", "cts", "js", "mjs", "cjs"].into_iter().map(|end| appended(&base, end)))
        .chain(["ts", "mts", "js", "mjs", "cjs"].into_iter().map(|end| base.join(format!("index.{end}"))));
    candidates.into_iter().find(|path| bundle.join(path).is_file())
}

/// TypeScript lets an import name the JavaScript file that a compiler would make.
fn typescript_of(path: &Path) -> Option<PathBuf> {
    let made_from = match path.extension()?.to_str()? {
        "js" => "ts",
        "mjs" => "mts",
        "cjs" => "cts",
        _ => return None,
    };
    Some(path.with_extension(made_from))
}

fn appended(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    PathBuf::from(name)
}

/// Without `.` and `..`; `None` when it leaves the bundle.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::CurDir => {}
            Component::ParentDir => {
                if !clean.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(clean)
}

/// The specifier by which a file of `folder` imports `target`, both relative to the bundle.
pub(super) fn specifier(folder: &Path, target: &Path) -> String {
    let from: Vec<_> = folder.components().collect();
    let to: Vec<_> = target.components().collect();
    let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = "../".repeat(from.len() - shared);
    let down: Vec<_> = to[shared..].iter().map(|part| part.as_os_str().to_string_lossy()).collect();
    let start = if up.is_empty() { "./" } else { "" };
    format!("{start}{up}{}", down.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specifiers_go_from_folder_to_file() {
        assert_eq!(specifier(Path::new(""), Path::new("a.ts.mjs")), "./a.ts.mjs");
        assert_eq!(specifier(Path::new("x/y"), Path::new("x/z/a.mjs")), "../z/a.mjs");
        assert_eq!(specifier(Path::new("x"), Path::new("a.mjs")), "../a.mjs");
    }

    #[test]
    fn imports_find_typescript_by_all_its_names() {
        let bundle = tempfile::tempdir().unwrap();
        std::fs::create_dir(bundle.path().join("lib")).unwrap();
        for file in ["lib/a.ts", "lib/index.ts", "b.js", "b.ts"] {
            std::fs::write(bundle.path().join(file), "").unwrap();
        }
        let find = |folder: &str, specifier: &str| {
            file(bundle.path(), Path::new(folder), specifier).map(|path| path.to_string_lossy().into_owned())
        };
        assert_eq!(find("", "./lib/a.ts").as_deref(), Some("lib/a.ts"));
        assert_eq!(find("", "./lib/a").as_deref(), Some("lib/a.ts"));
        assert_eq!(find("", "./lib/a.js").as_deref(), Some("lib/a.ts"));
        assert_eq!(find("", "./lib").as_deref(), Some("lib/index.ts"));
        assert_eq!(find("lib", "../b.js").as_deref(), Some("b.js"));
        assert_eq!(find("lib", "../../b.js"), None);
        assert_eq!(find("", "lib"), None);
    }
}

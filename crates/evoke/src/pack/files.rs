//! Which files of a folder belong to the app.
//!
//! All but: what is hidden (`.git`, `.env`, `.evoke`, `.venv`), `__pycache__`, a `target` beside the manifest or a `Cargo.toml`, and what
//! `.evokeignore` names. `node_modules` stays: it may be needed at run time. Symbolic links are followed within the
//! app's folder, and refused beyond it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::PackError;

/// The file with further rules, at the top of the app's folder.
pub const IGNORE_FILE: &str = ".evokeignore";

/// What was found, by path within the app with `/` between its parts, in byte order.
#[derive(Debug, Default)]
pub struct Found {
    /// Regular files, with where each is.
    pub files: BTreeMap<String, PathBuf>,
    /// Folders that were looked into, the app's own included.
    pub folders: Vec<PathBuf>,
}

/// Walks through `root`, at most until `files_max` files were found.
pub fn find(root: &Path, files_max: usize) -> Result<Found, PackError> {
    let read = |path: &Path, cause| PackError::Read { path: path.to_owned(), cause };
    let rules = Rules::load(root)?;
    let home = root.canonicalize().map_err(|cause| read(root, cause))?;
    let mut found = Found::default();
    // Each folder with its path within the app and the real folders above it: a link to one of those is a loop.
    let mut open = vec![(root.to_owned(), String::new(), vec![home.clone()])];
    while let Some((folder, within, above)) = open.pop() {
        for entry in std::fs::read_dir(&folder).map_err(|cause| read(&folder, cause))? {
            let path = entry.map_err(|cause| read(&folder, cause))?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.ok_or_else(|| PackError::Name(path.clone()))?;
            let within = if within.is_empty() { name.to_owned() } else { format!("{within}/{name}") };
            let is_link = path.is_symlink();
            // A link to nothing, or a file that went away in this moment, is not there.
            let Ok(meta) = path.metadata() else { continue };
            let is_built = || meta.is_dir() && name == "target" && folder.join("Cargo.toml").is_file();
            if rules.leave_out(&within, name, meta.is_dir()) || is_built() {
                continue;
            }
            let mut above = above.clone();
            if is_link {
                let real = path.canonicalize().map_err(|cause| read(&path, cause))?;
                if !real.starts_with(&home) {
                    return Err(PackError::LinkOutside { path: within, target: real });
                }
                if above.contains(&real) {
                    continue;
                }
            }
            if meta.is_dir() {
                above.push(path.canonicalize().map_err(|cause| read(&path, cause))?);
                open.push((path, within, above));
            } else if meta.is_file() {
                found.files.insert(within, path);
                if found.files.len() > files_max {
                    return Err(PackError::TooMany { limit: files_max });
                }
            }
        }
        found.folders.push(folder);
    }
    Ok(found)
}

/// What to leave out.
#[derive(Debug, Default)]
struct Rules {
    patterns: Vec<Pattern>,
}

/// One line of `.evokeignore`.
#[derive(Debug)]
struct Pattern {
    /// `*` stands for any characters but `/`.
    text: String,
    /// It has a `/` before its end: the whole path is meant, not a name anywhere.
    anchored: bool,
    /// It ends in `/`.
    folders_only: bool,
}

impl Rules {
    fn load(root: &Path) -> Result<Self, PackError> {
        let path = root.join(IGNORE_FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(cause) => return Err(PackError::Read { path, cause }),
        };
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        Ok(Self { patterns: lines.map(Pattern::parse).collect() })
    }

    fn leave_out(&self, within: &str, name: &str, is_folder: bool) -> bool {
        name.starts_with('.')
            || (is_folder && (name == "__pycache__" || within == "target"))
            || self.patterns.iter().any(|pattern| pattern.matches(within, name, is_folder))
    }
}

impl Pattern {
    fn parse(line: &str) -> Self {
        let text = line.trim_end_matches('/');
        let anchored = text.contains('/');
        Self { text: text.trim_start_matches('/').to_owned(), anchored, folders_only: line.ends_with('/') }
    }

    fn matches(&self, within: &str, name: &str, is_folder: bool) -> bool {
        (is_folder || !self.folders_only) && wildcard(&self.text, if self.anchored { within } else { name })
    }
}

/// Whether `text` is `pattern`, where a `*` stands for any characters but `/`.
fn wildcard(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where the last `*` was, and how far it reaches: on a mismatch it takes one character more.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if p < pattern.len() && pattern[p] == b'*' {
            star = Some((p, t));
            p += 1;
        } else if p < pattern.len() && pattern[p] == text[t] {
            p += 1;
            t += 1;
        } else if let Some((at, reach)) = star.filter(|(_, reach)| text[*reach] != b'/') {
            star = Some((at, reach + 1));
            p = at + 1;
            t = reach + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything_but_a_slash() {
        for (pattern, text, expected) in [
            ("*.md", "README.md", true),
            ("*.md", "README.mdx", false),
            ("docs/*", "docs/a", true),
            ("docs/*", "docs/a/b", false),
            ("*a*b*", "xaxxb", true),
            ("*a*b*", "xbxxa", false),
            ("", "", true),
            ("*", "", true),
        ] {
            assert_eq!(wildcard(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_name_is_meant_anywhere_and_a_path_from_the_top() {
        let leaves_out = |line: &str, within: &str, is_folder| {
            let name = within.rsplit('/').next().unwrap();
            Pattern::parse(line).matches(within, name, is_folder)
        };
        assert!(leaves_out("fixtures", "tests/fixtures", true));
        assert!(leaves_out("fixtures/", "tests/fixtures", true));
        assert!(!leaves_out("fixtures/", "tests/fixtures", false));
        assert!(leaves_out("/fixtures", "fixtures", true));
        assert!(!leaves_out("/fixtures", "tests/fixtures", true));
        assert!(leaves_out("tests/*.json", "tests/a.json", false));
    }
}

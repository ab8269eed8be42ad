//! `requirements.txt`, in [pip's format](https://pip.pypa.io/en/stable/reference/requirements-file-format/).
//!
//! It is the app's author who writes it, and the operator who says where packages come from: so options that name an index
//! are refused, as is whatever would need files that are not deployed, or run code while it is installed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use evoke_core::manifest::Install;
use evoke_core::runtime::InstallError;

use super::wish::{Wish, is_carried, within};
use crate::interpreter::Language;

/// The file.
pub(super) const FILE: &str = "requirements.txt";

/// Files that one may include, itself counted.
const FILES_MAX: usize = 32;
/// Bytes of all those.
const BYTES_MAX: usize = 1 << 20;

const SCRIPTS: &str = "write `[install]` and `scripts = true` in evoke.toml, if code of packages may run when they are installed";

/// What the nearest `requirements.txt` of these folders asks for; `None` when there is none, when it asks for nothing, or
/// when a `site-packages` beside it has come with the app.
pub(super) fn wish(root: &Path, folders: &[PathBuf], install: Install) -> Result<Option<Wish>, InstallError> {
    let Some(folder) = folders.iter().find(|folder| root.join(folder).join(FILE).is_file()) else {
        return Ok(None);
    };
    if is_carried(root, folder, Language::Python) {
        return Ok(None);
    }
    let mut reader = Reader { root, folder, install, inputs: BTreeMap::new(), names: Vec::new(), bytes: 0 };
    let path = folder.join(FILE);
    reader.file(&path, true)?;
    let Reader { inputs, names, .. } = reader;
    let file = path.to_string_lossy().into_owned();
    let wish = Wish { language: Language::Python, folder: folder.clone(), file, inputs, names };
    Ok((!wish.names.is_empty()).then_some(wish))
}

struct Reader<'r> {
    root: &'r Path,
    /// Where pip is run: relative paths of packages start here.
    folder: &'r Path,
    install: Install,
    inputs: BTreeMap<PathBuf, Vec<u8>>,
    names: Vec<(String, u32)>,
    bytes: usize,
}

/// What is wrong with a line, and what to do about it.
type Wrong = (String, Option<String>);

impl Reader<'_> {
    /// Reads one file (path relative to the bundle), and what it includes.
    fn file(&mut self, path: &Path, top: bool) -> Result<(), InstallError> {
        let shown = path.to_string_lossy().into_owned();
        let refuse = |line: Option<u32>, (message, help): Wrong| InstallError {
            file: shown.clone(),
            line,
            message,
            output: Vec::new(),
            help,
        };
        let text = std::fs::read_to_string(self.root.join(path));
        let text = text.map_err(|cause| refuse(None, (format!("it cannot be read: {cause}"), None)))?;
        self.bytes += text.len();
        if self.inputs.len() >= FILES_MAX || self.bytes > BYTES_MAX {
            let message = format!("it includes more than {FILES_MAX} files, or {BYTES_MAX} bytes");
            return Err(refuse(None, (message, None)));
        }
        self.inputs.insert(path.to_owned(), text.clone().into_bytes());
        for (number, line) in logical_lines(&text) {
            match self.line(path, &line) {
                Ok(Line::Nothing) => {}
                // Lines of a file that is included are not those of the one that people look at first.
                Ok(Line::Name(name)) => self.names.push((name, if top { number } else { 0 })),
                Ok(Line::Include(other)) if self.inputs.contains_key(&other) => {}
                Ok(Line::Include(other)) if self.root.join(&other).is_file() => self.file(&other, false)?,
                Ok(Line::Include(other)) => {
                    let message = format!("{} is not among the app's files", other.display());
                    return Err(refuse(Some(number), (message, None)));
                }
                Err(wrong) => return Err(refuse(Some(number), wrong)),
            }
        }
        Ok(())
    }

    fn line(&mut self, path: &Path, line: &str) -> Result<Line, Wrong> {
        if line.contains("${") {
            let help = "write it out: variables of the server are not for apps to read".to_owned();
            return Err((format!("{line:?} names a variable"), Some(help)));
        }
        if line.starts_with('-') {
            return self.option(path, line);
        }
        let requirement = line.split(" --").next().unwrap_or(line).trim();
        let (name, source) = match requirement.split_once('@') {
            // Not the @ of `https://user@host`.
            Some((name, source)) if !name.contains(':') && !name.contains('/') => (name, Some(source.trim())),
            _ if is_location(requirement) => (requirement, Some(requirement)),
            _ => (requirement, None),
        };
        if let Some(source) = source {
            self.location(source.split(" ;").next().unwrap_or(source).trim())?;
        }
        Ok(Line::Name(project(name)))
    }

    fn option(&self, path: &Path, line: &str) -> Result<Line, Wrong> {
        let (option, value) = match line.find(|c: char| c == '=' || c.is_whitespace()) {
            Some(at) => (&line[..at], line[at + 1..].trim()),
            // `-rother.txt`
            None if !line.starts_with("--") && line.len() > 2 && line.is_char_boundary(2) => line.split_at(2),
            None => (line, ""),
        };
        match option {
            "-r" | "--requirement" | "-c" | "--constraint" => {
                let folder = path.parent().unwrap_or(Path::new(""));
                let outside = || (format!("{value:?} is not within the app's folder"), None);
                within(folder, value).map(Line::Include).ok_or_else(outside)
            }
            "--require-hashes" | "--pre" | "--prefer-binary" | "--only-binary" => Ok(Line::Nothing),
            "--no-binary" if self.install.scripts => Ok(Line::Nothing),
            "--no-binary" => {
                Err((format!("{option} has packages built from source"), Some(SCRIPTS.to_owned())))
            }
            "-e" | "--editable" => {
                let help = "deploy the package's folder with the app, and leave the line out".to_owned();
                Err((format!("{option} leads to a folder of one machine, which is not deployed"), Some(help)))
            }
            "-i" | "--index-url" | "--extra-index-url" | "-f" | "--find-links" | "--no-index"
            | "--trusted-host" => {
                let help =
                    "where packages come from is set in the server's environment: PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS, PIP_TRUSTED_HOST"
                        .to_owned();
                Err((format!("{option} is not for apps to choose"), Some(help)))
            }
            _ => Err((format!("the option {option} is not supported"), None)),
        }
    }

    /// Where a requirement that does not come from an index comes from.
    fn location(&mut self, source: &str) -> Result<(), Wrong> {
        let bare = source.split(['#', '?']).next().unwrap_or(source);
        let is_wheel = bare.ends_with(".whl");
        if let Some((scheme, _)) = source.split_once("://").filter(|(scheme, _)| *scheme != "file") {
            if is_wheel && matches!(scheme, "http" | "https") || self.install.scripts {
                return Ok(());
            }
            let message = format!("{source:?} has to be built from source");
            return Err((message, Some(format!("name a wheel (.whl), or {SCRIPTS}"))));
        }
        let inside = if source.starts_with("file:") { None } else { within(self.folder, bare) };
        let Some(path) = inside.filter(|path| is_wheel && self.root.join(path).is_file()) else {
            let help = "name a wheel (.whl) among the app's files, or deploy the package's folder with the app and leave the line out";
            return Err((format!("{source:?} is no wheel within the app's folder"), Some(help.to_owned())));
        };
        let bytes = std::fs::read(self.root.join(&path));
        let bytes = bytes.map_err(|cause| (format!("{source:?} cannot be read: {cause}"), None))?;
        self.inputs.insert(path, bytes);
        Ok(())
    }
}

enum Line {
    Nothing,
    Name(String),
    Include(PathBuf),
}

/// Lines without comments, joined where one ends in `\`, with the number of the first; none that is empty.
fn logical_lines(text: &str) -> Vec<(u32, String)> {
    let mut all: Vec<(u32, String)> = Vec::new();
    let mut open = false;
    for (number, line) in (1_u32..).zip(text.trim_start_matches('\u{feff}').lines()) {
        let is_comment = line.trim_start().starts_with('#');
        let line = if is_comment { "" } else { line.split(" #").next().unwrap_or(line) }.trim_end();
        let line = line.split("\t#").next().unwrap_or(line);
        let (line, goes_on) = line.strip_suffix('\\').map_or((line, false), |line| (line, true));
        match all.last_mut() {
            Some((_, former)) if open => former.push_str(&format!(" {}", line.trim())),
            _ => all.push((number, line.trim().to_owned())),
        }
        open = goes_on && !is_comment;
    }
    all.retain(|(_, line)| !line.is_empty());
    all
}

/// A path or URL where a name is expected.
fn is_location(requirement: &str) -> bool {
    let ends = [".whl", ".zip", ".tar.gz", ".tar.bz2", ".tgz"];
    requirement.contains("://")
        || requirement.contains('/')
        || requirement.starts_with('.')
        || ends.iter().any(|end| requirement.ends_with(end))
}

/// The project's name in its normal form (PEP 503), of `Name[extra]>=1`, or of a file that is called after it.
fn project(requirement: &str) -> String {
    let file = requirement.rsplit('/').next().unwrap_or(requirement);
    let is_file = file.ends_with(".whl");
    let name: String = file
        .trim()
        .chars()
        .take_while(|c| c.is_ascii_alphanumeric() || *c == '_' || *c == '.' || (*c == '-' && !is_file))
        .collect();
    name.to_ascii_lowercase().replace(['_', '.'], "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, install: Install) -> Result<Wish, String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), text).unwrap();
        std::fs::write(dir.path().join("base.txt"), "idna\n").unwrap();
        std::fs::write(dir.path().join("own-1.0-py3-none-any.whl"), "wheel").unwrap();
        let wish = wish(dir.path(), &[PathBuf::new()], install);
        let wish = wish.map_err(|error| format!("{:?}: {}", error.line, error.message))?;
        Ok(wish.unwrap_or_else(|| panic!("{text} asks for nothing")))
    }

    #[test]
    fn what_is_asked_for_is_known_by_name_and_line() {
        let wish = read(
            "# what we need\nrequests[socks] >= 2 ; python_version > '3' # for HTTP\n\nNum_Py==2.1 \\\n    --hash=sha256:00\n-r base.txt\n--only-binary :all:\n./own-1.0-py3-none-any.whl\nidna @ https://example.com/idna-3-py3-none-any.whl#sha256=00\n",
            Install::default(),
        )
        .unwrap();
        let names: Vec<(&str, u32)> = wish.names.iter().map(|(name, line)| (name.as_str(), *line)).collect();
        assert_eq!(names, [("requests", 2), ("num-py", 4), ("idna", 0), ("own", 8), ("idna", 9)]);
        let inputs: Vec<&str> = wish.inputs.keys().map(|path| path.to_str().unwrap()).collect();
        assert_eq!(inputs, ["base.txt", "own-1.0-py3-none-any.whl", FILE]);
    }

    #[test]
    fn what_an_app_may_not_say_is_refused_with_its_line() {
        let refused = [
            ("-e .", "-e leads to a folder of one machine"),
            ("--editable=../lib", "--editable leads to a folder"),
            ("--index-url https://example.com", "--index-url is not for apps to choose"),
            ("-ihttps://example.com", "-i is not for apps to choose"),
            ("--find-links=/tmp", "--find-links is not for apps"),
            ("--no-binary :all:", "--no-binary has packages built from source"),
            ("--config-settings x=y", "the option --config-settings is not supported"),
            ("-r ../base.txt", "\"../base.txt\" is not within the app's folder"),
            ("-c gone.txt", "gone.txt is not among the app's files"),
            ("./lib", "\"./lib\" is no wheel within the app's folder"),
            ("../own-1.0-py3-none-any.whl", "no wheel within the app's folder"),
            ("/etc/own-1.0-py3-none-any.whl", "no wheel within the app's folder"),
            ("x @ file:///etc/x-1.0-py3-none-any.whl", "no wheel within the app's folder"),
            ("x-1.0.tar.gz", "no wheel within the app's folder"),
            ("git+https://example.com/x.git", "has to be built from source"),
            ("x @ https://user@example.com/x-1.0.tar.gz", "has to be built from source"),
            ("https://${TOKEN}@example.com/x.whl", "names a variable"),
        ];
        for (line, message) in refused {
            let told = read(&format!("requests\n{line}\n"), Install::default()).unwrap_err();
            assert!(told.starts_with("Some(2): ") && told.contains(message), "{line}: {told}");
        }
    }

    #[test]
    fn source_packages_are_taken_where_scripts_are_on() {
        for line in ["git+https://example.com/x.git", "x @ https://example.com/x.tar.gz", "x --no-binary x"] {
            read(&format!("requests\n{line}\n"), Install { scripts: true }).unwrap();
        }
    }

    #[test]
    fn a_file_without_requirements_asks_for_nothing() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), "# nothing yet\n\n").unwrap();
        assert_eq!(wish(dir.path(), &[PathBuf::new()], Install::default()).unwrap(), None);
    }
}

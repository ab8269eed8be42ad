//! What the tools that install say: which lines tell how far they are, and what their last ones mean.

use evoke_core::runtime::InstallError;

use super::Wish;
use crate::interpreter::Language;

/// Lines that are shown of a tool that failed.
const SHOWN: usize = 12;

/// Packages that npm fetches between two lines of progress.
const FETCHED: usize = 25;

/// A line about how far it is, for people; `None` for any other. `fetched` counts packages.
pub(super) fn progress(language: Language, line: &str, fetched: &mut usize) -> Option<String> {
    let line = line.trim();
    match language {
        Language::Python => {
            let tells = ["Collecting ", "Downloading ", "Building ", "Installing "].iter();
            let tells = tells.clone().any(|start| line.starts_with(start)) && !line.ends_with(": started");
            tells.then(|| format!("pip: {}", line.split(" (from ").next().unwrap_or(line)))
        }
        Language::Node => {
            *fetched += usize::from(is_fetch(line));
            let tells = is_fetch(line) && fetched.is_multiple_of(FETCHED);
            tells.then(|| format!("npm: {fetched} packages fetched"))
        }
    }
}

/// Such as `npm http fetch GET 200 https://registry.npmjs.org/ms/-/ms-2.1.3.tgz 185ms (cache miss)`.
fn is_fetch(line: &str) -> bool {
    let fetched = line.strip_prefix("npm http fetch GET 200 ").and_then(|rest| rest.split(' ').next());
    fetched.is_some_and(|url| url.ends_with(".tgz"))
}

/// What the tool failed with, out of its last lines.
pub(super) fn failure(wish: &Wish, lines: &[String], ended: &str) -> InstallError {
    let tool = tool(wish.language);
    let told: Vec<&str> =
        lines.iter().map(|line| line.trim_end()).filter(|line| tells(wish.language, line)).collect();
    let errors: Vec<&str> = told.iter().filter_map(|line| error(wish.language, line)).collect();
    let message = match sentence(wish.language, &errors) {
        Some(sentence) => format!("{tool} failed: {sentence}"),
        None => format!("{tool} {ended}"),
    };
    let all = errors.join("\n");
    InstallError {
        file: wish.file.clone(),
        line: culprit(wish, if all.is_empty() { &message } else { &all }),
        message,
        help: help(wish.language, &lines.join("\n")),
        output: told.iter().skip(told.len().saturating_sub(SHOWN)).map(|line| (*line).to_owned()).collect(),
    }
}

/// What people know it by.
pub(super) fn tool(language: Language) -> &'static str {
    match language {
        Language::Node => "npm ci",
        Language::Python => "pip install",
    }
}

/// Whether somebody who looks for the cause wants to read it.
fn tells(language: Language, line: &str) -> bool {
    let noise = match language {
        Language::Node => ["npm http ", "npm error A complete log", "npm verbose "].as_slice(),
        Language::Python => ["[notice]", "Looking in "].as_slice(),
    };
    let empty = matches!(line.trim(), "" | "npm error");
    let went_well = progress(language, line, &mut 0).is_some();
    !empty && !went_well && !noise.iter().any(|noise| line.starts_with(noise))
}

/// The text of a line that tells of an error.
fn error(language: Language, line: &str) -> Option<&str> {
    match language {
        Language::Node => line.strip_prefix("npm error ").or_else(|| line.strip_prefix("npm ERR! ")),
        Language::Python => line.trim_start().strip_prefix("ERROR: "),
    }
}

/// The one that says most.
fn sentence(language: Language, errors: &[&str]) -> Option<String> {
    match language {
        // The last is the conclusion.
        Language::Python => errors.last().map(|error| (*error).to_owned()),
        Language::Node => {
            let fields = ["code ", "errno ", "syscall ", "path ", "network request to "];
            let telling = errors.iter().find(|error| !fields.iter().any(|field| error.starts_with(field)))?;
            // Lines of one error begin with a word for its kind.
            let kinds = ["404 ", "notarget ", "network ", "cipm ", "eresolve ", "ERESOLVE ", "EUSAGE "];
            let kind = kinds.iter().find(|kind| telling.starts_with(**kind) && **kind != "404 ");
            Some(telling.strip_prefix(*kind.unwrap_or(&"")).unwrap_or(telling).trim().to_owned())
        }
    }
}

/// The line of the file that asks for what an error names.
fn culprit(wish: &Wish, errors: &str) -> Option<u32> {
    let normal = |text: &str| text.to_ascii_lowercase().replace(['_', '.'], "-");
    let errors = normal(errors);
    let is_part = |c: char| c.is_ascii_alphanumeric();
    let named = |name: &str| {
        let name = normal(name);
        errors.match_indices(&name).any(|(at, _)| {
            let before = errors[..at].chars().next_back();
            let after = errors[at + name.len()..].chars().next();
            !before.is_some_and(|c| is_part(c) || c == '-') && !after.is_some_and(is_part)
        })
    };
    let found = wish.names.iter().find(|(name, line)| *line > 0 && !name.is_empty() && named(name));
    found.map(|(_, line)| *line)
}

fn help(language: Language, lines: &str) -> Option<String> {
    let has = |signs: &[&str]| signs.iter().any(|sign| lines.contains(sign));
    let unreachable = [
        "NewConnectionError",
        "NameResolutionError",
        "ConnectTimeoutError",
        "ReadTimeoutError",
        "ProxyError",
        "SSLError",
        "ECONNREFUSED",
        "ECONNRESET",
        "ENOTFOUND",
        "EAI_AGAIN",
        "ETIMEDOUT",
        "ENETUNREACH",
    ];
    let registry = match language {
        Language::Node => "npm_config_registry",
        Language::Python => "PIP_INDEX_URL",
    };
    if has(&unreachable) {
        return Some(format!(
            "the server cannot reach the registry; another one, or a proxy, is set in its environment ({registry}, HTTPS_PROXY)"
        ));
    }
    let scripts = "`scripts = true` below `[install]` in evoke.toml";
    if has(&["install scripts are off"]) {
        return Some(format!("what has no wheel for this machine is built from source only with {scripts}"));
    }
    let none = language == Language::Python && has(&["(from versions: none)"]);
    none.then(|| {
        format!("there is no such package, or none with a wheel for this machine; building from source needs {scripts}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(language: Language, names: &[(&str, u32)]) -> Wish {
        Wish {
            language,
            folder: Default::default(),
            file: "file".to_owned(),
            inputs: Default::default(),
            names: names.iter().map(|(name, line)| ((*name).to_owned(), *line)).collect(),
        }
    }

    fn failed(language: Language, names: &[(&str, u32)], said: &str) -> InstallError {
        let lines: Vec<String> = said.lines().map(str::to_owned).collect();
        failure(&wish(language, names), &lines, "ended with exit code 1")
    }

    #[test]
    fn pip_names_the_package_and_we_its_line() {
        let names = [("requests", 1), ("nope-xyz", 3)];
        let said = "Collecting requests\nERROR: Could not find a version that satisfies the requirement Nope_xyz==9 (from versions: none)\nERROR: No matching distribution found for Nope_xyz==9\n\n[notice] update";
        let error = failed(Language::Python, &names, said);
        assert_eq!(error.message, "pip install failed: No matching distribution found for Nope_xyz==9");
        assert_eq!((error.line, error.output.len()), (Some(3), 2));
        assert!(error.help.unwrap().contains("scripts = true"));
    }

    #[test]
    fn a_registry_out_of_reach_is_told_as_such() {
        let said = "WARNING: Retrying after 'NewConnectionError(...)': /idna/\nERROR: No matching distribution found for idna";
        let error = failed(Language::Python, &[("idna", 2)], said);
        assert!(error.help.unwrap().contains("PIP_INDEX_URL"));
        let said = "npm error code ECONNREFUSED\nnpm error errno ECONNREFUSED\nnpm error FetchError: request to http://127.0.0.1:9/ms failed, reason: connect\nnpm error";
        let error = failed(Language::Node, &[("ms", 2)], said);
        assert_eq!(
            error.message,
            "npm ci failed: FetchError: request to http://127.0.0.1:9/ms failed, reason: connect"
        );
        assert_eq!(error.line, Some(2));
        assert!(error.help.unwrap().contains("npm_config_registry"));
    }

    #[test]
    fn npm_names_the_package_and_we_its_line() {
        let said = "npm http fetch GET 404 https://registry.npmjs.org/nope 95ms\nnpm error code E404\nnpm error 404 Not Found - GET https://registry.npmjs.org/nope\nnpm error A complete log of this run can be found in: /x";
        let error = failed(Language::Node, &[("no", 3), ("nope", 4)], said);
        assert_eq!(error.message, "npm ci failed: 404 Not Found - GET https://registry.npmjs.org/nope");
        assert_eq!((error.line, error.output.len()), (Some(4), 2));
        let said =
            "npm error code ETARGET\nnpm error notarget No matching version found for express@4.99.99.";
        let error = failed(Language::Node, &[("express", 4)], said);
        assert_eq!(error.message, "npm ci failed: No matching version found for express@4.99.99.");
    }

    #[test]
    fn a_tool_that_says_nothing_is_told_by_its_end() {
        let error = failed(Language::Node, &[], "");
        assert_eq!(error.message, "npm ci ended with exit code 1");
    }

    #[test]
    fn progress_is_what_people_want_to_know() {
        let told = |line| progress(Language::Python, line, &mut 0);
        assert_eq!(
            told("  Downloading idna-3.20-py3-none-any.whl (69 kB)").unwrap(),
            "pip: Downloading idna-3.20-py3-none-any.whl (69 kB)"
        );
        assert_eq!(
            told("Collecting idna (from -r requirements.txt (line 1))").unwrap(),
            "pip: Collecting idna"
        );
        assert_eq!(told("  ERROR: x"), None);
        let line = "npm http fetch GET 200 https://registry.npmjs.org/ms/-/ms-2.1.3.tgz 185ms (cache miss)";
        let mut fetched = 0;
        let lines: Vec<_> = (0..60).filter_map(|_| progress(Language::Node, line, &mut fetched)).collect();
        assert_eq!(lines, ["npm: 25 packages fetched", "npm: 50 packages fetched"]);
        let metadata = "npm http fetch GET 200 https://registry.npmjs.org/ms 8ms";
        assert_eq!((progress(Language::Node, metadata, &mut fetched), fetched), (None, 60));
    }
}

//! Which Node.js and which CPython instances run on.
//!
//! What `PATH` calls `python3` may be a wrapper that picks a version at each start, at ten times the price of the start
//! itself. So each candidate is asked once who it really is, and that program is started from then on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use evoke_core::manifest::RuntimeKind;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

use crate::launcher::{Exit, Launcher, Spawn, Stdio};

/// How long a candidate may take to say who it is.
const ANSWER: Duration = Duration::from_secs(10);
/// Bytes of that answer.
const ANSWER_BYTES: u64 = 4 << 10;

/// What needs an interpreter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Language {
    /// JavaScript and TypeScript, on Node.js.
    Node,
    /// Python, on CPython.
    Python,
}

impl Language {
    /// Each of them.
    pub const ALL: [Self; 2] = [Self::Node, Self::Python];

    /// That of a runtime's functions; `None` where they are programs themselves.
    pub const fn of(runtime: RuntimeKind) -> Option<Self> {
        match runtime {
            RuntimeKind::Node => Some(Self::Node),
            RuntimeKind::Python => Some(Self::Python),
            RuntimeKind::Provided | RuntimeKind::Wasm | RuntimeKind::Hook => None,
        }
    }

    /// The runtime of its functions.
    pub const fn runtime(self) -> RuntimeKind {
        match self {
            Self::Node => RuntimeKind::Node,
            Self::Python => RuntimeKind::Python,
        }
    }
}

/// A program that can run instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Interpreter {
    /// Absolute.
    pub program: String,
    /// What it needs besides the folders of the system; absolute.
    pub trees: Vec<PathBuf>,
    /// Major, minor.
    pub version: (u32, u32),
    /// What compiled packages must be made for: the interpreter's binary interface and the machine's, one word.
    pub platform: String,
}

/// What is looked for.
struct Wanted {
    name: &'static str,
    /// In order of preference.
    names: &'static [&'static str],
    oldest: (u32, u32),
    /// Prints the real program, its version, its platform and the folders it is installed in, one per line.
    question: [&'static str; 2],
    install: &'static str,
}

const NODE: Wanted = Wanted {
    name: "Node.js",
    names: &["node", "nodejs"],
    oldest: (20, 11),
    question: [
        "-p",
        "[process.execPath, process.versions.node, `${process.platform}-${process.arch}-${process.versions.modules}`, require('path').resolve(process.execPath, '../..')].join('\\n')",
    ],
    install: "install it (apt install nodejs, or https://nodejs.org)",
};

const PYTHON: Wanted = Wanted {
    name: "CPython",
    names: &["python3", "python3.14", "python3.13", "python3.12", "python3.11", "python"],
    oldest: (3, 11),
    question: [
        "-c",
        "import sys; i = sys.implementation; print(sys.executable, '%d.%d' % sys.version_info[:2], f\"{i.cache_tag}{sys.abiflags}-{getattr(i, '_multiarch', sys.platform)}\", sys.prefix, sys.base_prefix, sep='\\n')",
    ],
    install: "install it (apt install python3, or https://python.org)",
};

/// Finds the interpreter, `configured` or from `PATH`. The error says what to install. Waits for the programs' answers.
pub(crate) async fn find(
    language: Language,
    configured: Option<&Path>,
    launcher: &Launcher,
) -> Result<Interpreter, String> {
    let wanted = match language {
        Language::Node => &NODE,
        Language::Python => &PYTHON,
    };
    let candidates = match configured {
        Some(path) => vec![path.to_owned()],
        None => in_path(wanted.names),
    };
    let mut refused = Vec::new();
    for candidate in candidates {
        match ask(&candidate, wanted, launcher).await {
            Ok(found) if found.version >= wanted.oldest => return Ok(found),
            Ok(found) => {
                let (major, minor) = found.version;
                refused.push(format!("{} is version {major}.{minor}", found.program));
            }
            Err(cause) => refused.push(format!("{}: {cause}", candidate.display())),
        }
    }
    let (major, minor) = wanted.oldest;
    let seen = if refused.is_empty() { "none is in PATH".to_owned() } else { refused.join("; ") };
    Err(format!(
        "no {} of version {major}.{minor} or newer was found ({seen}): {}",
        wanted.name, wanted.install
    ))
}

/// Compiles the Python files of `folder` for this interpreter, as it would by itself if it could write there. Best effort:
/// it is only faster. Waits until it is done.
pub(crate) async fn compile(interpreter: &Interpreter, folder: &Path, launcher: &Launcher) {
    let folder = folder.to_string_lossy();
    let args = ["-I", "-S", "-m", "compileall", "-q", &folder].map(str::to_owned).to_vec();
    if let Err(cause) = run(interpreter.program.clone(), args, launcher).await {
        tracing::debug!(%cause, "Python files are compiled at each start");
    }
}

async fn ask(candidate: &Path, wanted: &Wanted, launcher: &Launcher) -> Result<Interpreter, String> {
    let program = candidate.to_str().ok_or("its path is not UTF-8")?.to_owned();
    let said = run(program, wanted.question.map(str::to_owned).to_vec(), launcher).await?;
    parse(&said).ok_or_else(|| "it could not say its version".to_owned())
}

/// Runs a program of the operator's, outside of any sandbox. What it wrote to its standard output.
async fn run(program: String, args: Vec<String>, launcher: &Launcher) -> Result<String, String> {
    let text = |cause: std::io::Error| cause.to_string();
    let (answer, stdout) = pipe_pair().map_err(text)?;
    let (_errors, stderr) = pipe_pair().map_err(text)?;
    let (_here, channel) = std::os::unix::net::UnixStream::pair().map_err(text)?;
    let spawn = Spawn { id: 0, program, args, env: wrapper_env(), cwd: "/".to_owned(), confinement: None };
    let stdio = Stdio { channel: channel.into(), stdout, stderr, network: None };
    // Killed when this function is left, should it hang.
    let mut process = launcher.spawn(spawn, stdio).await.map_err(|cause| cause.to_string())?;
    let receiver = pipe::Receiver::from_owned_fd(answer).map_err(text)?;
    let answered = async {
        let mut said = String::new();
        receiver.take(ANSWER_BYTES).read_to_string(&mut said).await.map_err(text)?;
        match process.exited().await {
            Exit::NotStarted(cause) => Err(cause),
            _ => Ok(said),
        }
    };
    match tokio::time::timeout(ANSWER, answered).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("it did not answer within {} s", ANSWER.as_secs())),
    }
}

fn parse(said: &str) -> Option<Interpreter> {
    let mut lines = said.lines().map(str::trim);
    let (program, version, platform) = (lines.next()?, lines.next()?, lines.next()?);
    let mut numbers = version.split('.').map(str::parse);
    let version = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    if !program.starts_with('/') {
        return None;
    }
    let mut trees: Vec<PathBuf> = Vec::new();
    // The program itself, where its folder is too much to show.
    for path in lines.chain([program]).map(PathBuf::from) {
        if may_be_shown(&path) && !trees.iter().any(|tree| path.starts_with(tree)) {
            trees.push(path);
        }
    }
    Some(Interpreter { program: program.to_owned(), trees, version, platform: platform.to_owned() })
}

/// Not what every process sees anyway, and not what has a home in it.
pub(crate) fn may_be_shown(path: &Path) -> bool {
    let home = std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
    path.components().count() > 2
        && !path.starts_with("/usr")
        && home.is_none_or(|home| !home.starts_with(path) && path != home.join(".local"))
}

pub(crate) fn pipe_pair() -> std::io::Result<(std::os::fd::OwnedFd, std::os::fd::OwnedFd)> {
    Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
}

/// What version managers need to pick a version.
fn wrapper_env() -> Vec<(String, String)> {
    let wanted = |name: &str| {
        matches!(name, "PATH" | "HOME" | "LANG")
            || ["PYENV", "ASDF", "MISE", "NVM", "VOLTA", "FNM"].iter().any(|start| name.starts_with(start))
    };
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| wanted(name))
        .collect()
}

/// Executables of these names, the earlier names first.
pub(crate) fn in_path(names: &[&str]) -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    let folders: Vec<PathBuf> = std::env::split_paths(&path).filter(|folder| folder.is_absolute()).collect();
    let in_folders = |name: &&str| folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
    names.iter().filter_map(in_folders).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_the_real_program_and_its_version() {
        let found = parse("/opt/node/bin/node\n20.20.2\nlinux-x64-115\n/opt/node\n").unwrap();
        assert_eq!((found.program.as_str(), found.version), ("/opt/node/bin/node", (20, 20)));
        assert_eq!(found.trees, [Path::new("/opt/node")]);
        assert_eq!(found.platform, "linux-x64-115");
        assert!(parse("/usr/bin/node\n20.20.2\nlinux-x64-115\n/usr\n").unwrap().trees.is_empty());
        assert_eq!(parse("/opt/node\n20.20.2\nlinux-x64-115\n/\n").unwrap().trees, [Path::new("/opt/node")]);
        assert_eq!(parse("command not found"), None);
        assert_eq!(parse("python\n3.12"), None);
    }
}

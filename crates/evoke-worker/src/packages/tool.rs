//! Running pip and npm: in a sandbox like that of functions, with a folder to write to and the machine's network, for a
//! limited time.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use evoke_core::runtime::InstallError;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::cache::Unfinished;
use super::environment::{self, Told};
use super::{Installation, Wish, failure, name, node, on_disk, said};
use crate::interpreter::{Language, may_be_shown, pipe_pair};
use crate::launcher::{Exit, Process, Spawn, Stdio};
use crate::logs::Lines;
use crate::sandbox::Confinement;

/// The user that tools are, by the number of a function that nobody has.
const NUMBER: u32 = u32::MAX;
/// Where programs are looked for, after the interpreter's own folder.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Memory of a tool with all that it starts; resolving a large tree takes some hundred MiB.
const MEMORY_BYTES: u64 = 2 << 30;
/// Private memory of one process, where there are no cgroups. Node.js reserves more than it uses.
const DATA_BYTES: u64 = 8 << 30;
/// Bytes of a line that are looked at.
const LINE_BYTES: usize = 2 << 10;
/// Last lines that are kept.
const LINES: usize = 200;
/// Bytes that it may write in all; npm and pip write some hundred KiB for the largest trees.
const OUTPUT_BYTES_MAX: u64 = 32 << 20;
/// How long is waited for the rest of what was written when it has ended: a child of it may hold the pipe.
const REST: Duration = Duration::from_millis(250);
/// How often it is looked how much it has written to the disk.
const LOOK: Duration = Duration::from_secs(5);
/// Times the limit of the result: archives are there beside what is unpacked from them.
const ROOM: u64 = 3;
/// The script says so when there is no pip.
const NO_PIP: i32 = 90;

/// The folder of what was installed, in a folder where [`run`] has succeeded.
pub(super) fn result(wish: &Wish, unfinished: &Unfinished) -> PathBuf {
    let work = work(unfinished);
    match wish.language {
        Language::Node => work.join("app").join(&wish.folder).join(name(wish.language)),
        Language::Python => work.join("out"),
    }
}

/// Runs the tool until it is done, `given_up` fires or time is up. When it returns, no process of it is left.
pub(super) async fn run(
    installation: &Installation,
    unfinished: &Unfinished,
    given_up: CancellationToken,
) -> Result<(), InstallError> {
    let Installation { wish, limits, progress, launcher, .. } = installation;
    let failed = |cause: String| failure(&wish.file, cause);
    let work = work(unfinished);
    let told = on_disk({
        let (work, wish, registries) = (work.clone(), wish.clone(), installation.registries.clone());
        move || lay_out(&work, &wish, &registries)
    })
    .await;
    let told = told.map_err(|cause| failed(format!("the disk failed: {cause}")))?;
    let spawn = command(installation, &work, told)?;
    let (ours, stdio) =
        connect().map_err(|cause| failed(format!("its tool cannot be connected: {cause}")))?;
    progress.tell(starting(installation));
    let process = launcher.spawn(spawn, stdio).await.map_err(|cause| failed(cause.to_string()))?;
    let mut running = Running { process, wish, lines: VecDeque::new(), bytes: 0, fetched: 0 };
    let watched = running.watch(ours, |line| progress.tell(line));
    let too_large = too_large(&work, limits.package_bytes.saturating_mul(ROOM));
    let ended = tokio::select! {
        ended = watched => ended,
        () = given_up.cancelled() => Err("was ended, because nobody waits for it any more".to_owned()),
        () = tokio::time::sleep(limits.install) => {
            Err(format!("took longer than the limit of {} s and was ended", limits.install.as_secs()))
        }
        bytes = too_large => Err(format!("wrote more than the limit of {bytes} bytes to the disk and was ended")),
    };
    let tool = said::tool(wish.language);
    match ended {
        Ok(Exit::Code(0)) => Ok(()),
        Ok(Exit::Code(NO_PIP)) if wish.language == Language::Python => Err(no_pip(installation)),
        Ok(Exit::NotStarted(cause)) => Err(failed(format!("{tool} could not be started: {cause}"))),
        Ok(exit) => Err(running.failure(&words(&exit))),
        Err(cause) => {
            running.process.kill();
            running.process.exited().await;
            let mut error = running.failure(&cause);
            error.message = format!("{tool} {cause}");
            Err(error)
        }
    }
}

fn work(unfinished: &Unfinished) -> PathBuf {
    unfinished.path().join("work")
}

/// Writes all that the tool is given. Only the outermost folder becomes its user's, and nobody else can enter that.
fn lay_out(work: &Path, wish: &Wish, registries: &[(String, String)]) -> std::io::Result<Told> {
    let make = |folder: &Path| {
        std::fs::create_dir_all(folder)?;
        std::fs::set_permissions(folder, PermissionsExt::from_mode(0o777))
    };
    for folder in ["app", "home", "tmp", "out"] {
        make(&work.join(folder))?;
    }
    for (path, bytes) in &wish.inputs {
        let folders: Vec<&Path> = path.ancestors().skip(1).collect();
        folders.into_iter().rev().try_for_each(|folder| make(&work.join("app").join(folder)))?;
        let file = work.join("app").join(path);
        std::fs::write(&file, bytes)?;
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644))?;
    }
    let home = work.join("home");
    let told = environment::tell(wish.language, registries, &home)?;
    for entry in std::fs::read_dir(&home)? {
        std::fs::set_permissions(entry?.path(), PermissionsExt::from_mode(0o644))?;
    }
    std::fs::set_permissions(work, PermissionsExt::from_mode(0o700))?;
    Ok(told)
}

fn starting(Installation { wish, means, .. }: &Installation) -> String {
    let (major, minor) = means.interpreter.version;
    let with = match wish.language {
        Language::Node => format!("npm for Node.js {major}.{minor}"),
        Language::Python => format!("pip for CPython {major}.{minor}"),
    };
    let packages = if wish.names.len() == 1 { "package" } else { "packages" };
    format!("{}: installing {} {packages} and what they need, with {with}", wish.file, wish.names.len())
}

/// What is run, and what it may touch.
fn command(installation: &Installation, work: &Path, told: Told) -> Result<Spawn, InstallError> {
    let Installation { wish, means, limits, .. } = installation;
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    let mut readable = means.interpreter.trees.clone();
    readable.extend(told.readable);
    readable
        .extend(["/etc/pip.conf", "/etc/npmrc"].map(PathBuf::from).into_iter().filter(|path| path.is_file()));
    let args = match wish.language {
        Language::Python => {
            readable.extend(means.pip.parent().map(Path::to_owned));
            pip(means.pip.to_string_lossy().into_owned(), means.install.scripts, text(work.join("out")))
        }
        Language::Node => {
            let npm = node::npm(&means.interpreter).ok_or_else(|| no_npm(installation))?;
            // The package npm is, and what it is installed with.
            let tree = npm.ancestors().nth(3).unwrap_or(&npm).to_owned();
            readable.extend(may_be_shown(&tree).then_some(tree));
            ci(text(npm), means.install.scripts, text(work.join("home/cache")))
        }
    };
    let own = Path::new(&means.interpreter.program).parent().unwrap_or(Path::new("/"));
    let env = [
        ("PATH", format!("{}:{PATH}", own.display())),
        ("HOME", text(work.join("home"))),
        ("TMPDIR", text(work.join("tmp"))),
        ("LANG", "C.UTF-8".to_owned()),
        ("TZ", "UTC".to_owned()),
    ];
    let env = env.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(told.env);
    let confinement = Confinement {
        function: NUMBER,
        readable,
        writable: vec![work.to_owned()],
        scratch: None,
        tmp_bytes: limits.package_bytes,
        memory_bytes: MEMORY_BYTES,
        data_bytes: DATA_BYTES,
        network: None,
    };
    Ok(Spawn {
        id: 0,
        program: means.interpreter.program.clone(),
        args,
        env: env.collect(),
        cwd: text(work.join("app").join(&wish.folder)),
        confinement: Some(confinement),
    })
}

fn pip(script: String, scripts: bool, target: String) -> Vec<String> {
    let mut args = vec!["-I".to_owned(), "-X".to_owned(), "utf8".to_owned(), script];
    if scripts {
        args.push("--build".to_owned());
    }
    let install = [
        "install",
        "--disable-pip-version-check",
        "--no-input",
        "--no-cache-dir",
        "--no-warn-script-location",
        "--progress-bar=off",
        "--root-user-action=ignore",
    ];
    args.extend(install.map(str::to_owned));
    if !scripts {
        args.push("--only-binary=:all:".to_owned());
    }
    args.extend(["--target".to_owned(), target, "-r".to_owned(), super::python::FILE.to_owned()]);
    args
}

fn ci(npm: String, scripts: bool, cache: String) -> Vec<String> {
    let options = ["ci", "--omit=dev", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=http"];
    let mut args = vec![npm];
    args.extend(options.map(str::to_owned));
    args.push(format!("--ignore-scripts={}", !scripts));
    args.extend(["--cache".to_owned(), cache]);
    args
}

fn no_pip(Installation { wish, means, .. }: &Installation) -> InstallError {
    let program = &means.interpreter.program;
    let message = format!("{program} has no pip");
    let help = format!("install it: apt install python3-pip, or {program} -m ensurepip");
    InstallError { help: Some(help), ..failure(&wish.file, message) }
}

fn no_npm(Installation { wish, means, .. }: &Installation) -> InstallError {
    let message = format!("there is no npm beside {}, and none in PATH", means.interpreter.program);
    let help = "install it: apt install npm, or Node.js from https://nodejs.org".to_owned();
    InstallError { help: Some(help), ..failure(&wish.file, message) }
}

/// Where what it writes comes out, and what it is connected to.
fn connect() -> std::io::Result<(OwnedFd, Stdio)> {
    let (ours, stdout) = pipe_pair()?;
    let (_, channel) = std::os::unix::net::UnixStream::pair()?;
    let stderr = stdout.try_clone()?;
    Ok((ours, Stdio { channel: channel.into(), stdout, stderr, network: None }))
}

struct Running<'w> {
    process: Process,
    wish: &'w Wish,
    lines: VecDeque<String>,
    bytes: u64,
    fetched: usize,
}

impl Running<'_> {
    /// Reads what it writes until it has ended. The error is the rest of a sentence that begins with its name.
    async fn watch(&mut self, ours: OwnedFd, tell: impl Fn(String)) -> Result<Exit, String> {
        let unreadable = |cause: std::io::Error| format!("cannot be heard: {cause}");
        let mut output = pipe::Receiver::from_owned_fd(ours).map_err(unreadable)?;
        let mut lines = Lines::new(LINE_BYTES);
        let mut buffer = vec![0; 16 << 10];
        let mut exit = None;
        let mut until: Option<Instant> = None;
        loop {
            let rest = async {
                match until {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            let count = tokio::select! {
                read = output.read(&mut buffer) => read.map_err(unreadable)?,
                ended = self.process.exited(), if exit.is_none() => {
                    exit = Some(ended);
                    until = Some(Instant::now() + REST);
                    continue;
                }
                () = rest => 0,
            };
            self.bytes += count as u64;
            if self.bytes > OUTPUT_BYTES_MAX {
                return Err(format!("wrote more than {OUTPUT_BYTES_MAX} bytes of messages and was ended"));
            }
            lines.take(&buffer[..count], |line| self.take(line, &tell));
            if count == 0 {
                let rest = lines.rest();
                rest.into_iter().for_each(|line| self.take(line, &tell));
                return Ok(match exit {
                    Some(exit) => exit,
                    None => self.process.exited().await,
                });
            }
        }
    }

    fn take(&mut self, line: String, tell: &impl Fn(String)) {
        // For people, and perhaps for their terminal.
        let line: String = line.chars().filter(|c| *c == '\t' || !c.is_control()).collect();
        if let Some(progress) = said::progress(self.wish.language, &line, &mut self.fetched) {
            tell(format!("{}: {progress}", self.wish.file));
        }
        tracing::debug!(file = self.wish.file, line, "installing");
        if self.lines.len() == LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    fn failure(&mut self, ended: &str) -> InstallError {
        said::failure(self.wish, self.lines.make_contiguous(), ended)
    }
}

fn words(exit: &Exit) -> String {
    match exit {
        Exit::Code(code) => format!("ended with exit code {code}"),
        Exit::Signal(signal) => format!("was ended by signal {signal}"),
        Exit::OutOfMemory => {
            format!("needed more than the limit of {MEMORY_BYTES} bytes of memory and was ended")
        }
        Exit::NotStarted(cause) => format!("could not be started: {cause}"),
        Exit::With(words) => words.clone(),
        Exit::Unseen => "was lost with the worker launcher".to_owned(),
    }
}

/// Returns when there is more than that in the folder.
async fn too_large(folder: &Path, bytes_max: u64) -> u64 {
    loop {
        tokio::time::sleep(LOOK).await;
        let folder = folder.to_owned();
        if on_disk(move || bytes_in(&folder)).await > bytes_max {
            return bytes_max;
        }
    }
}

/// Bytes on the disk, as far as they can be counted while somebody writes.
fn bytes_in(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let mut open = vec![folder.to_owned()];
    let mut bytes = 0;
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            bytes += meta.blocks() * 512;
            if meta.is_dir() {
                open.push(entry.path());
            }
        }
    }
    bytes
}

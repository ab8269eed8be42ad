//! Compiled components on the disk, named by the engine they are for and the digest of their source.
//!
//! Workers may read them and not write: `deserialize` trusts what it maps. The folder cannot be listed, so that a process finds
//! only what it is told the name of.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use evoke_core::runtime::PrepareError;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::sealed::{Running, Sealed};
use crate::idle::Idle;
use crate::launcher::{Exit, Launcher};
use crate::prepare::remove;

/// Of the compiler's complaint.
const COMPLAINT_BYTES: u64 = 16 << 10;

/// What compiling one component may take.
#[derive(Debug, Clone)]
pub struct CompileBounds {
    /// How long it may take.
    pub time: Duration,
    /// Memory of the process that compiles.
    pub memory_bytes: u64,
    /// Of what comes out.
    pub compiled_bytes: u64,
}

impl Default for CompileBounds {
    fn default() -> Self {
        Self { time: Duration::from_secs(120), memory_bytes: 2 << 30, compiled_bytes: 512 << 20 }
    }
}

/// Where compiled components are kept.
#[derive(Debug)]
pub(crate) struct Components {
    dir: PathBuf,
    /// The executable with its arguments; the component's path comes last.
    compiler: Vec<String>,
    bounds: CompileBounds,
    /// Digests of components, which do not change once a bundle is prepared.
    digests: Mutex<HashMap<PathBuf, String>>,
    /// One is compiled at a time: a compiler uses all processors there are.
    turn: tokio::sync::Mutex<()>,
    idle: Idle,
    tasks: TaskTracker,
}

impl Components {
    /// Uses (and makes) the folder `dir`, and clears away what was compiled for another than `engine`. Blocks on the disk.
    pub(crate) fn open(
        dir: &Path,
        engine: &str,
        compiler: Vec<String>,
        bounds: CompileBounds,
        tasks: TaskTracker,
    ) -> io::Result<Self> {
        let of_all = dir;
        let dir = dir.join(engine);
        fs::create_dir_all(&dir)?;
        for other in fs::read_dir(of_all)? {
            let path = other?.path();
            if path != dir {
                remove(&path);
            }
        }
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o711))?;
        Ok(Self {
            dir,
            compiler,
            bounds,
            digests: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            idle: Idle::default(),
            tasks,
        })
    }

    /// What workers must be able to read.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The compiled form of the component at `source`, which is called `name` for people; compiles it if there is none yet.
    /// `next` makes a user's number and a folder for the process that does.
    pub(crate) async fn compiled(
        &self,
        source: &Path,
        name: &str,
        launcher: &Launcher,
        next: impl FnOnce() -> io::Result<(u32, Option<PathBuf>)>,
    ) -> Result<PathBuf, PrepareError> {
        let digest = self.digest(source).map_err(|cause| unreadable(name, &cause))?;
        self.idle.used(&digest);
        let target = self.dir.join(digest);
        let _turn = if target.is_file() { return Ok(target) } else { self.turn.lock().await };
        if target.is_file() {
            return Ok(target);
        }
        let (number, scratch) = next().map_err(|cause| unreadable(name, &cause))?;
        let command = self.compiler.iter().cloned().chain([source.to_string_lossy().into_owned()]).collect();
        let readable = vec![source.to_owned()];
        let sealed = Sealed { command, number, readable, scratch, memory_bytes: self.bounds.memory_bytes };
        let running = sealed.start(launcher, &self.tasks).await.map_err(|cause| unreadable(name, &cause))?;
        let refused = |message: String| PrepareError::Component { file: name.to_owned(), message };
        let code = tokio::time::timeout(self.bounds.time, code(running, &self.bounds)).await;
        let code = code.unwrap_or_else(|_| {
            Err(format!("compiling it took longer than the limit of {:?}", self.bounds.time))
        });
        let code = code.map_err(refused)?;
        store(&target, &code).map_err(|cause| unreadable(name, &cause))?;
        Ok(target)
    }

    /// Removes what was compiled from components that are not there any more, nor were for `grace`. Those that this process has not
    /// been asked for yet count as not there. Blocks on the disk.
    pub(crate) fn discard(&self, grace: Duration, now: Instant) {
        let mut digests = self.digests.lock();
        digests.retain(|source, _| source.is_file());
        let wanted: HashSet<String> = digests.values().cloned().collect();
        drop(digests);
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let digest = entry.file_name().to_string_lossy().into_owned();
            if wanted.contains(&digest) {
                self.idle.used(&digest);
            } else {
                self.idle.unused(&digest, grace, now, || match fs::remove_file(entry.path()) {
                    Ok(()) => tracing::info!(digest, "a compiled component that nobody needs was removed"),
                    Err(cause) => {
                        tracing::warn!(digest, %cause, "a compiled component that nobody needs stays");
                    }
                });
            }
        }
    }

    fn digest(&self, source: &Path) -> io::Result<String> {
        if let Some(digest) = self.digests.lock().get(source) {
            return Ok(digest.clone());
        }
        let mut hash = Sha256::new();
        let mut file = fs::File::open(source)?;
        let mut buffer = vec![0; 64 << 10];
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                bytes => hash.update(&buffer[..bytes]),
            }
        }
        let digest: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        self.digests.lock().insert(source.to_owned(), digest.clone());
        Ok(digest)
    }
}

/// What the compiler made, or what it said.
async fn code(running: Running, bounds: &CompileBounds) -> Result<Vec<u8>, String> {
    let Running { mut process, channel, stderr } = running;
    let text = |cause: io::Error| format!("it cannot be compiled here: {cause}");
    let channel = std::os::unix::net::UnixStream::from(channel);
    channel.set_nonblocking(true).map_err(text)?;
    let channel = UnixStream::from_std(channel).map_err(text)?.take(bounds.compiled_bytes + 1);
    let mut complaints = pipe::Receiver::from_owned_fd(stderr).map_err(text)?.take(COMPLAINT_BYTES);
    let (mut code, mut complaint) = (Vec::new(), String::new());
    // Closed when all or too much was read: who still writes is not waited for.
    let read = async {
        let mut channel = channel;
        channel.read_to_end(&mut code).await
    };
    let (read, complained) = tokio::join!(read, complaints.read_to_string(&mut complaint));
    read.and(complained).map_err(text)?;
    if code.len() as u64 > bounds.compiled_bytes {
        return Err(format!("it compiles to more than the limit of {} MiB", bounds.compiled_bytes >> 20));
    }
    match process.exited().await {
        Exit::Code(0) => Ok(code),
        Exit::OutOfMemory => Err(format!(
            "compiling it takes more than the limit of {} MiB of memory",
            bounds.memory_bytes >> 20
        )),
        exit if complaint.trim().is_empty() => Err(format!("the compiler ended badly: {exit:?}")),
        _ => Err(complaint.trim().to_owned()),
    }
}

/// It is there whole or not at all.
fn store(target: &Path, code: &[u8]) -> io::Result<()> {
    let unfinished = target.with_extension("unfinished");
    let mut file = fs::File::create(&unfinished)?;
    file.write_all(code)?;
    file.set_permissions(fs::Permissions::from_mode(0o444))?;
    file.sync_all()?;
    fs::rename(&unfinished, target)
}

fn unreadable(name: &str, cause: &io::Error) -> PrepareError {
    PrepareError::Io(format!("{name}: {cause}"))
}

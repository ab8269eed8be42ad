//! The guest's half of the protocol: a program each for Node.js and CPython, embedded here and written to the worker
//! folder at start-up. They use nothing but what comes with the interpreter.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::interpreter::Language;

macro_rules! files {
    ($($path:literal),* $(,)?) => { &[$(($path, include_str!(concat!("shim/", $path)))),*] };
}

/// Path below the shim folder, content.
const FILES: &[(&str, &str)] = files![
    "install/pip.py",
    "node/bindings.cjs",
    "node/call.cjs",
    "node/channel.cjs",
    "node/context.cjs",
    "node/errors.cjs",
    "node/event.cjs",
    "node/lambda.cjs",
    "node/load.cjs",
    "node/logs.cjs",
    "node/main.cjs",
    "node/next.cjs",
    "node/outgoing.cjs",
    "node/rehearse.cjs",
    "node/self_test.cjs",
    "node/web.cjs",
    "node/zygote.cjs",
    "python/evoke/__init__.py",
    "python/evoke/_after_fork.py",
    "python/evoke/_api.py",
    "python/evoke/_asgi.py",
    "python/evoke/_at_once.py",
    "python/evoke/_call.py",
    "python/evoke/_channel.py",
    "python/evoke/_context.py",
    "python/evoke/_errors.py",
    "python/evoke/_event.py",
    "python/evoke/_json.py",
    "python/evoke/_lambda.py",
    "python/evoke/_load.py",
    "python/evoke/_logs.py",
    "python/evoke/_next.py",
    "python/evoke/_outgoing.py",
    "python/evoke/_serve.py",
    "python/evoke/_wsgi.py",
    "python/evoke/_zygote.py",
    "python/evoke/aio.py",
    "python/main.py",
];

/// The add-on that forks Node.js, as `build.rs` compiled it; empty where it could not.
const FORK_ADDON: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/fork.node"));

/// Where the shims are.
#[derive(Debug, Clone)]
pub struct Shims {
    dir: PathBuf,
}

impl Shims {
    /// Writes them into `dir`. Files that are right already stay as they are, with what CPython compiled from them.
    pub fn write(dir: &Path) -> io::Result<Self> {
        let sources = FILES.iter().map(|(path, content)| (*path, content.as_bytes()));
        for (path, content) in sources.chain([("node/fork.node", FORK_ADDON)]) {
            let path = dir.join(path);
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            if std::fs::read(&path).is_ok_and(|there| there == content) {
                continue;
            }
            std::fs::write(&path, content)?;
            // Functions are other users, whatever umask the server has.
            std::fs::set_permissions(&path, Permissions::from_mode(0o644))?;
        }
        for folder in ["", "install", "node", "python", "python/evoke"] {
            std::fs::set_permissions(dir.join(folder), Permissions::from_mode(0o755))?;
        }
        Ok(Self { dir: dir.to_owned() })
    }

    /// The folder with CPython's half, for it to be compiled: functions, who cannot write there, could not keep the result.
    pub fn python(&self) -> PathBuf {
        self.dir.join("python")
    }

    /// The function that tells whether Node.js can be forked; an error where there is nothing to do it with.
    pub fn self_test(&self) -> Result<PathBuf, &'static str> {
        if FORK_ADDON.is_empty() {
            return Err("Evoke was built without a C compiler, and so without what it takes");
        }
        Ok(self.dir.join("node/self_test.cjs"))
    }

    /// The script that runs pip.
    pub fn pip(&self) -> PathBuf {
        self.dir.join("install/pip.py")
    }

    /// The program to start.
    pub fn main(&self, language: Language) -> PathBuf {
        self.dir.join(match language {
            Language::Node => "node/main.cjs",
            Language::Python => "python/main.py",
        })
    }
}

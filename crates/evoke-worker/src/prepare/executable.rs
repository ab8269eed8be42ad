//! Whether a file is a program the kernel can run.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use evoke_core::runtime::PrepareError;

/// Bytes of a script's first line that the kernel reads (`BINPRM_BUF_SIZE`).
const FIRST_LINE_BYTES: u64 = 256;

/// Refuses a file that could not be started, with what to do about it. `source` is relative to `bundle`.
pub(super) fn check(bundle: &Path, source: &Path) -> Result<(), PrepareError> {
    let path = bundle.join(source);
    let unreadable = |cause: std::io::Error| PrepareError::Io(format!("{}: {cause}", path.display()));
    let refuse = |message: &str| {
        let file = source.to_string_lossy().into_owned();
        Err(PrepareError::Source { file, line: 1, column: 1, message: message.to_owned() })
    };
    let file = File::open(&path).map_err(unreadable)?;
    let is_executable = file.metadata().map_err(unreadable)?.permissions().mode() & 0o111 != 0;
    let start = read_start(file).map_err(unreadable)?;
    if !start.starts_with(b"\x7fELF") && !start.starts_with(b"#!") {
        return refuse("it is neither an ELF program nor a script that starts with #!");
    }
    if start.starts_with(b"#!") && first_line(&start).is_some_and(|line| line.ends_with(b"\r")) {
        return refuse(
            "its first line ends in CR LF, which the kernel takes for a part of the interpreter's name",
        );
    }
    if !is_executable {
        return refuse("it is not executable: chmod +x it");
    }
    Ok(())
}

/// What a script's first line says after `#!`, for people. `None` for what is no script.
pub(crate) fn script_interpreter(path: &Path) -> Option<String> {
    let start = File::open(path).and_then(read_start).ok()?;
    let line = first_line(&start)?.strip_prefix(b"#!")?;
    Some(String::from_utf8_lossy(line).trim().to_owned())
}

fn read_start(file: File) -> std::io::Result<Vec<u8>> {
    let mut start = Vec::new();
    file.take(FIRST_LINE_BYTES).read_to_end(&mut start)?;
    Ok(start)
}

fn first_line(start: &[u8]) -> Option<&[u8]> {
    start.split(|byte| *byte == b'\n').next()
}

//! Options that are a text, `@FILE`, or `-` for stdin: `--data`, `--event`.

use std::io::Read;

use crate::exit::{Error, Result};

/// Bytes that are read at most. The server has its own, lower limit, and its own words about it.
pub const BYTES_MAX: u64 = 64 << 20;

/// Reads what an option such as `--data` names. Waits for the end of stdin.
pub fn read(option: &str, data: &str) -> Result<Vec<u8>> {
    read_up_to(option, data, BYTES_MAX)
}

fn read_up_to(option: &str, data: &str, limit_bytes: u64) -> Result<Vec<u8>> {
    let bytes = match data {
        "-" => read_all(std::io::stdin().lock(), option, "standard input", limit_bytes)?,
        _ => match data.strip_prefix('@') {
            Some(path) => {
                let file = std::fs::File::open(path).map_err(|cause| {
                    Error::usage(format!("{option} @{path}: the file cannot be read: {cause}"))
                })?;
                read_all(file, option, path, limit_bytes)?
            }
            None => data.as_bytes().to_vec(),
        },
    };
    if bytes.len() as u64 > limit_bytes {
        return Err(Error::usage(format!("{option} is larger than the limit of {limit_bytes} bytes")));
    }
    Ok(bytes)
}

fn read_all(from: impl Read, option: &str, name: &str, limit_bytes: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(limit_bytes + 1)
        .read_to_end(&mut bytes)
        .map_err(|cause| Error::usage(format!("{option}: {name} cannot be read: {cause}")))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_taken_as_it_is_and_an_at_sign_names_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("order.json");
        std::fs::write(&path, "{}").unwrap();
        assert_eq!(read_up_to("--data", "{\"a\":1}", 100).unwrap(), b"{\"a\":1}");
        assert_eq!(read_up_to("--data", &format!("@{}", path.display()), 100).unwrap(), b"{}");
    }

    #[test]
    fn what_is_too_large_or_absent_is_refused() {
        assert_eq!(
            read_up_to("--data", "12345", 4).unwrap_err().to_string(),
            "--data is larger than the limit of 4 bytes"
        );
        let absent = read_up_to("--data", "@/nowhere/x", 4).unwrap_err().to_string();
        assert!(absent.starts_with("--data @/nowhere/x: the file cannot be read"), "{absent}");
    }
}

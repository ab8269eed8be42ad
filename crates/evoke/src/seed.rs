//! Randomness of the operating system, for the one seed of a process.

use std::hash::{BuildHasher as _, RandomState};
use std::io::Read as _;

/// 64 random bits.
pub fn random() -> u64 {
    let mut bytes = [0; 8];
    match std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)) {
        Ok(()) => u64::from_le_bytes(bytes),
        // Where there is no such file, the standard library's own source of it for hash maps.
        Err(_) => RandomState::new().hash_one(std::process::id()),
    }
}

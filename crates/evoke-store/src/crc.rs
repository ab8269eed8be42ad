//! The checksum of a row: CRC-32 over its columns, each with its length, the row's key last.
//!
//! The key is last because it is often given by the writer, while the rest was summed before, on the caller's thread.

/// A sum that is being made.
#[derive(Clone)]
pub(crate) struct Crc(crc32fast::Hasher);

impl Crc {
    pub fn new() -> Self {
        Self(crc32fast::Hasher::new())
    }

    #[must_use]
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        self
    }

    #[must_use]
    pub fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    #[must_use]
    pub fn int(mut self, int: i64) -> Self {
        self.0.update(&int.to_le_bytes());
        self
    }

    /// Absent is not the same as empty.
    #[must_use]
    pub fn maybe_bytes(self, bytes: Option<&[u8]>) -> Self {
        match bytes {
            Some(bytes) => self.int(1).bytes(bytes),
            None => self.int(0),
        }
    }

    #[must_use]
    pub fn maybe_int(self, int: Option<i64>) -> Self {
        match int {
            Some(int) => self.int(1).int(int),
            None => self.int(0),
        }
    }

    /// As the column `crc` has it.
    pub fn sum(self) -> i64 {
        self.0.finalize().into()
    }
}

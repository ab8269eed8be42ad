//! The checksum of a row: CRC-32 over its columns, each with its length, the row's key last.
//!
//! The key is last because it is often given by the writer, while the rest was summed before, on the caller's thread.

/// Bytes that are gathered before they are summed: short columns one by one take longer than all of them at once.
const GATHERED: usize = 128;

/// A sum that is being made.
pub(crate) struct Crc {
    sum: crc32fast::Hasher,
    gathered: [u8; GATHERED],
    len: usize,
}

impl Crc {
    pub fn new() -> Self {
        Self { sum: crc32fast::Hasher::new(), gathered: [0; GATHERED], len: 0 }
    }

    fn add(&mut self, bytes: &[u8]) {
        if bytes.len() > GATHERED - self.len {
            self.sum.update(&self.gathered[..self.len]);
            self.len = 0;
        }
        match self.gathered.get_mut(self.len..self.len + bytes.len()) {
            Some(place) => {
                place.copy_from_slice(bytes);
                self.len += bytes.len();
            }
            None => self.sum.update(bytes),
        }
    }

    #[must_use]
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.add(&(bytes.len() as u64).to_le_bytes());
        self.add(bytes);
        self
    }

    #[must_use]
    pub fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    #[must_use]
    pub fn int(mut self, int: i64) -> Self {
        self.add(&int.to_le_bytes());
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
    pub fn sum(mut self) -> i64 {
        self.sum.update(&self.gathered[..self.len]);
        self.sum.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_sum_of_all_bytes_however_they_are_gathered() {
        for len in [0, 1, 7, 111, 112, 113, 119, 120, 121, 128, 129, 1_000] {
            let (text, blob) = (vec![b'x'; len], vec![7; 130 - len % 130]);
            let crc =
                Crc::new().int(-3).bytes(&text).maybe_int(Some(9)).bytes(&blob).maybe_bytes(None).int(5);
            let mut all = (-3_i64).to_le_bytes().to_vec();
            all.extend((len as u64).to_le_bytes());
            all.extend(&text);
            all.extend([1_i64.to_le_bytes(), 9_i64.to_le_bytes()].concat());
            all.extend((blob.len() as u64).to_le_bytes());
            all.extend(&blob);
            all.extend([0_i64.to_le_bytes(), 5_i64.to_le_bytes()].concat());
            assert_eq!(crc.sum(), i64::from(crc32fast::hash(&all)), "{len}");
        }
    }
}

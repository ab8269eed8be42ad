//! The write-ahead log of a store at rest (<https://sqlite.org/fileformat2.html#the_write_ahead_log>).
//!
//! SQLite reads the log up to the first frame whose checksum is wrong and takes that for its end, without a word. That
//! is right for what a power cut leaves and wrong for a bit that flipped later: then what was acknowledged is gone.
//! Checksums are chained through the frames, so frames behind a bad one can be judged by what is stored in it.

use std::fs;
use std::path::Path;

use super::Report;

const PLACE: &str = "evoke.db-wal";
const HEADER: usize = 32;
const FRAME: usize = 24;

/// Looks for frames that SQLite will not read.
pub(crate) fn scan(file: &Path, report: &mut Report) {
    let bytes = match fs::read(file) {
        Ok(bytes) if bytes.is_empty() => return,
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
        Err(error) => return report.damage(PLACE, None, format!("it cannot be read: {error}")),
    };
    let Some(log) = Log::read(&bytes) else {
        // It is written and synced before the first frame counts.
        let what = "its header is damaged: nothing that is only there will be read";
        return if bytes.len() <= HEADER + FRAME {
            report.note(PLACE, what)
        } else {
            report.damage(PLACE, None, what)
        };
    };
    let frames: Vec<Frame> = log.frames().collect();
    let Some(bad) = frames.iter().position(|frame| !frame.is_intact) else { return };
    let rest = &frames[bad..];
    let commits = rest.iter().filter(|frame| frame.is_intact && frame.commits).count();
    if commits > 0 {
        let what = format!("frame {} is damaged, and {commits} commits behind it will not be read", bad + 1);
        report.damage(PLACE, None, what);
    } else {
        let what = format!(
            "it ends in {} frames that are not complete, as a power cut leaves them; if there was none, its last commit \
             is damaged",
            rest.len()
        );
        report.note(PLACE, what);
    }
}

struct Log<'a> {
    bytes: &'a [u8],
    page: usize,
    big_endian: bool,
    salt: &'a [u8],
    sum: [u32; 2],
}

struct Frame {
    /// Its checksum follows from the one stored in the frame before it.
    is_intact: bool,
    commits: bool,
}

impl<'a> Log<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let big_endian = match number(bytes.get(..HEADER)?, 0) {
            0x377f_0682 => false,
            0x377f_0683 => true,
            _ => return None,
        };
        let page = usize::try_from(number(bytes, 8)).ok()?;
        let sum = [number(bytes, 24), number(bytes, 28)];
        let log = Self { bytes, page, big_endian, salt: &bytes[16..24], sum };
        let is_page = page.is_power_of_two() && (512..=65_536).contains(&page);
        (is_page && log.add([0, 0], &bytes[..24]) == sum).then_some(log)
    }

    /// The frames of this round of the log; behind them are those of earlier rounds, which have another salt.
    fn frames(&self) -> impl Iterator<Item = Frame> {
        let mut before = self.sum;
        let mut missed = 0;
        self.bytes[HEADER..].chunks_exact(FRAME + self.page).map_while(move |frame| {
            let (head, page) = frame.split_at(FRAME);
            let stored = [number(head, 16), number(head, 20)];
            let sum = self.add(self.add(before, &head[..8]), page);
            before = stored;
            let is_intact = sum == stored && head[8..16] == *self.salt;
            // One frame with another salt may be a damaged one; two are another round.
            missed = if head[8..16] == *self.salt { 0 } else { missed + 1 };
            (missed < 2).then_some(Frame { is_intact, commits: number(head, 4) != 0 })
        })
    }

    fn add(&self, [mut a, mut b]: [u32; 2], bytes: &[u8]) -> [u32; 2] {
        for pair in bytes.chunks_exact(8) {
            let [x, y] = [0, 4].map(|at| {
                let word = [pair[at], pair[at + 1], pair[at + 2], pair[at + 3]];
                if self.big_endian { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) }
            });
            a = a.wrapping_add(x).wrapping_add(b);
            b = b.wrapping_add(y).wrapping_add(a);
        }
        [a, b]
    }
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

//! Which bytes of a database mean something, from the file format (<https://sqlite.org/fileformat2.html>).
//!
//! All b-trees are walked from the pages their tables and indices begin on. What no cell, pointer or header covers is
//! free: it was deleted, or never written, and no reader takes it for anything.

use std::path::Path;

use rusqlite::Connection;

/// Bytes of the file's header that nobody acts on: the number of schema changes so far (compared with a copy of itself
/// only), and the version of the SQLite that wrote last.
const INFORMATION: [std::ops::Range<usize>; 2] = [40..44, 96..100];

/// What a byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// On a free page, or in the free part of one.
    Free,
    /// Says something about the file that nobody acts on.
    Information,
    /// A key between two pages of a table: only its order among the rows counts.
    Separator,
    /// In the definitions of the tables, which have comments and spaces in them.
    Definition,
    /// Part of a page's structure or of a record.
    Content,
}

/// The map of a database at rest.
pub struct Map {
    bytes: Vec<u8>,
    page: usize,
    uses: Vec<Use>,
}

impl Map {
    pub fn of(file: &Path) -> Self {
        let bytes = std::fs::read(file).unwrap();
        let page = usize::from(u16::from_be_bytes([bytes[16], bytes[17]]));
        let uses = vec![Use::Free; bytes.len()];
        let mut map = Self { bytes, page, uses };
        let conn = Connection::open(file).unwrap();
        let mut find = conn.prepare("SELECT rootpage FROM sqlite_schema WHERE rootpage > 0").unwrap();
        let roots = find.query_map([], |row| row.get(0)).unwrap();
        map.tree(1);
        map.uses.iter_mut().filter(|what| **what == Use::Content).for_each(|what| *what = Use::Definition);
        map.mark(0, 108, Use::Content);
        for root in roots.map(|root: Result<i64, _>| root.unwrap() as usize) {
            map.tree(root);
        }
        map.free_list();
        map.pointers();
        for range in INFORMATION {
            map.uses[range].fill(Use::Information);
        }
        map
    }

    pub fn of_byte(&self, at: usize) -> Use {
        self.uses[at]
    }

    fn mark(&mut self, at: usize, len: usize, what: Use) {
        self.uses[at..at + len].fill(what);
    }

    fn u16(&self, at: usize) -> usize {
        usize::from(u16::from_be_bytes([self.bytes[at], self.bytes[at + 1]]))
    }

    fn u32(&self, at: usize) -> usize {
        u32::from_be_bytes(self.bytes[at..at + 4].try_into().unwrap()) as usize
    }

    /// A number of one to nine bytes, and where it ends.
    fn varint(&self, at: usize) -> (u64, usize) {
        let mut number = 0;
        for n in 0..8 {
            let byte = self.bytes[at + n];
            number = number << 7 | u64::from(byte & 0x7f);
            if byte < 0x80 {
                return (number, at + n + 1);
            }
        }
        (number << 8 | u64::from(self.bytes[at + 8]), at + 9)
    }

    fn tree(&mut self, page: usize) {
        let start = (page - 1) * self.page;
        let head = if page == 1 { start + 100 } else { start };
        let (kind, cells) = (self.bytes[head], self.u16(head + 3));
        let is_leaf = matches!(kind, 10 | 13);
        let size = if is_leaf { 8 } else { 12 };
        self.mark(head, size + 2 * cells, Use::Content);
        let mut free = self.u16(head + 1);
        while free != 0 {
            self.mark(start + free, 4, Use::Content);
            free = self.u16(start + free);
        }
        for cell in 0..cells {
            let at = start + self.u16(head + size + 2 * cell);
            self.cell(kind, at);
        }
        if !is_leaf {
            self.tree(self.u32(head + 8));
        }
    }

    fn cell(&mut self, kind: u8, at: usize) {
        let mut end = at;
        if matches!(kind, 2 | 5) {
            self.tree(self.u32(at));
            end += 4;
        }
        if kind == 5 {
            let key = end;
            end = self.varint(end).1;
            self.mark(at, key - at, Use::Content);
            self.mark(key, end - key, Use::Separator);
            return;
        }
        let (payload, next) = self.varint(end);
        end = next;
        if kind == 13 {
            end = self.varint(end).1;
        }
        let record = end;
        let payload = payload as usize;
        let local = self.local(kind, payload);
        end += local;
        if local < payload {
            let overflow = self.u32(end);
            end += 4;
            self.overflow(overflow, payload - local);
        }
        self.mark(at, end - at, Use::Content);
        if kind == 13 {
            // The type of the first column: it is the key of the row, whose place in the record is kept and never read.
            let first = self.varint(record).1;
            self.mark(first, 1, Use::Information);
        }
    }

    /// How much of a payload is in the cell itself.
    fn local(&self, kind: u8, payload: usize) -> usize {
        let usable = self.page;
        let most = if kind == 13 { usable - 35 } else { (usable - 12) * 64 / 255 - 23 };
        if payload <= most {
            return payload;
        }
        let least = (usable - 12) * 32 / 255 - 23;
        let some = least + (payload - least) % (usable - 4);
        if some <= most { some } else { least }
    }

    fn overflow(&mut self, mut page: usize, mut left: usize) {
        while page != 0 {
            let start = (page - 1) * self.page;
            let here = left.min(self.page - 4);
            self.mark(start, 4 + here, Use::Content);
            left -= here;
            page = self.u32(start);
        }
    }

    /// Where pages can be given back: for each page who points at it, on every 820th page.
    fn pointers(&mut self) {
        if self.u32(52) == 0 {
            return;
        }
        let (pages, each) = (self.bytes.len() / self.page, self.page / 5);
        for map in (2..=pages).step_by(each + 1) {
            self.mark((map - 1) * self.page, 5 * each.min(pages - map), Use::Content);
        }
    }

    fn free_list(&mut self) {
        let mut trunk = self.u32(32);
        while trunk != 0 {
            let start = (trunk - 1) * self.page;
            let leaves = self.u32(start + 4);
            self.mark(start, 8 + 4 * leaves, Use::Content);
            trunk = self.u32(start);
        }
    }
}

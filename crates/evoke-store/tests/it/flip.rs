//! One flipped bit anywhere in a store is found, or is proven to be in a byte that means nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use evoke_store::{Report, verify};
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;

use super::page_map::{Map, Use};
use super::sample;

/// `EVOKE_FLIPS` bits of each file; the seed is said when it fails.
static FLIPS: LazyLock<u64> =
    LazyLock::new(|| std::env::var("EVOKE_FLIPS").map_or(250, |text| text.parse().unwrap()));

/// The same numbers on every machine (SplitMix64).
pub struct Seed(pub u64);

impl Seed {
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) % limit as u64) as usize
    }
}

async fn store() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    sample::fill(dir.path()).await;
    dir
}

/// Flips a bit, looks, and puts it back.
fn with_flipped(dir: &Path, file: &Path, at: usize, bit: usize, look: impl FnOnce(Option<Report>)) {
    let good = fs::read(file).unwrap();
    let mut bad = good.clone();
    bad[at] ^= 1 << bit;
    fs::write(file, bad).unwrap();
    look(verify(dir).ok());
    fs::write(file, good).unwrap();
}

fn is_reported(report: &Option<Report>) -> bool {
    report.as_ref().is_none_or(|report| !report.is_intact())
}

#[tokio::test]
async fn a_store_as_it_was_written_is_intact() {
    let dir = store().await;
    let report = verify(dir.path()).unwrap();
    assert_eq!(report.findings, []);
    for table in [
        "counters", "dead", "entries", "log", "logs", "objects", "pending", "queues", "requests", "runs",
        "seen",
    ] {
        assert!(report.records.get(table).is_some_and(|count| *count > 0), "{table}: {:?}", report.records);
    }
}

#[tokio::test]
async fn a_bit_that_flips_in_the_database_is_found_or_means_nothing() {
    let dir = store().await;
    let file = dir.path().join("evoke.db");
    let (map, before) = (Map::of(&file), contents(&file));
    // Pages that are all free would take most of the flips and say little.
    let used: Vec<usize> =
        (0..fs::metadata(&file).unwrap().len() as usize).filter(|at| map.of_byte(*at) != Use::Free).collect();
    let mut found = BTreeMap::new();
    for seed in 0..*FLIPS {
        let mut random = Seed(seed);
        let at = if random.below(8) == 0 { random.below(before.0) } else { used[random.below(used.len())] };
        let bit = random.below(8);
        with_flipped(dir.path(), &file, at, bit, |report| {
            let what = map.of_byte(at);
            let reported = is_reported(&report);
            *found.entry((format!("{what:?}"), reported)).or_insert(0) += 1;
            if !reported {
                assert_ne!(
                    what,
                    Use::Content,
                    "seed {seed}: bit {bit} of byte {at} changed and was not found"
                );
                // With that a definition, too, is as it was, up to its comments.
                assert!(
                    contents(&file) == before,
                    "seed {seed}: bit {bit} of byte {at} changed what is read"
                );
            }
        });
    }
    assert!(found[&("Content".to_owned(), true)] > *FLIPS / 2, "{found:?}");
    assert!(verify(dir.path()).unwrap().is_intact(), "it was put back");
}

#[tokio::test]
async fn a_bit_that_flips_in_an_object_is_found() {
    let dir = store().await;
    let files: Vec<PathBuf> = fs::read_dir(dir.path().join("objects"))
        .unwrap()
        .flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap())
        .map(|file| file.unwrap().path())
        .collect();
    assert_eq!(files.len(), sample::OBJECTS.len());
    for seed in 0..*FLIPS / 10 {
        let mut random = Seed(seed);
        let file = &files[random.below(files.len())];
        let at = random.below(fs::metadata(file).unwrap().len() as usize);
        with_flipped(dir.path(), file, at, random.below(8), |report| {
            assert!(is_reported(&report), "seed {seed}: byte {at} of {}", file.display());
        });
    }
}

#[tokio::test]
async fn a_bit_that_flips_in_the_write_ahead_log_is_found_or_the_log_is_read_as_before() {
    let dir = store().await;
    // The log of a process that died: everything of the store that opens it is there only.
    let crashed = tempfile::tempdir().unwrap();
    let live = sample::open(dir.path());
    use evoke_core::testing::conformance::samples::{START, append};
    for n in 1..=12 {
        live.append(vec![append(&format!("late{n}"), 5_000 + n, "f")], START).await.unwrap();
    }
    sample::copy(dir.path(), crashed.path());
    fs::remove_file(crashed.path().join("evoke.db-shm")).unwrap();
    let (file, log) = (crashed.path().join("evoke.db"), crashed.path().join("evoke.db-wal"));
    let before = contents(&file);
    let mut reported = 0;
    for seed in 0..*FLIPS {
        let mut random = Seed(seed);
        let at = random.below(fs::metadata(&log).unwrap().len() as usize);
        let _ = fs::remove_file(crashed.path().join("evoke.db-shm"));
        with_flipped(crashed.path(), &log, at, random.below(8), |report| {
            let _ = fs::remove_file(crashed.path().join("evoke.db-shm"));
            // What a power cut may leave is a note: then, too, somebody was told.
            let told = report.as_ref().is_none_or(|report| !report.findings.is_empty());
            reported += u64::from(told);
            assert!(told || contents(&file) == before, "seed {seed}: byte {at}");
        });
    }
    assert!(reported > *FLIPS / 2, "{reported}");
}

/// Bytes of the file, and all rows: as tables have them, and as each index finds them.
fn contents(file: &Path) -> (usize, Vec<(String, Vec<Value>)>) {
    let conn = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mut schema = conn
        .prepare("SELECT tbl_name, CASE type WHEN 'index' THEN name END FROM sqlite_schema ORDER BY 1, 2")
        .unwrap();
    let sources = schema.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let sources: Vec<(String, Option<String>)> = sources.map(|source| source.unwrap()).collect();
    let mut all = Vec::new();
    for (table, index) in sources {
        let how = match index.as_deref() {
            None => "NOT INDEXED".to_owned(),
            // Partial ones need their condition; integrity_check compares those, and these are enough here.
            Some(index) if index.starts_with("sqlite_") => continue,
            Some(index) => format!("INDEXED BY {index}"),
        };
        let Ok(mut find) = conn.prepare(&format!("SELECT * FROM {table} {how}")) else { continue };
        let width = find.column_count();
        let mut rows = find.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            all.push((table.clone(), (0..width).map(|column| row.get(column).unwrap()).collect()));
        }
    }
    (fs::metadata(file).unwrap().len() as usize, all)
}

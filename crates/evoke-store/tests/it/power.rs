//! Power cuts: what was not synced when the process died is gone, or there by halves; what was acknowledged is there.
//!
//! A shim (`tests/power/shim.c`) notes in the writing process how each change of a file or a name is undone until it is
//! synced. After a `kill -9` the notes that are left are carried out, and the store is opened again.
//! `EVOKE_POWER_CUTS` says how often (10).

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, LazyLock};

use evoke_core::store::{EventQuery, Store, StoreError};
use evoke_core::testing::conformance::samples::{START, append};
use evoke_store::{SqliteStore, verify};
use tempfile::TempDir;

use super::{child, flip::Seed, kill, sample};

static CUTS: LazyLock<u64> =
    LazyLock::new(|| std::env::var("EVOKE_POWER_CUTS").map_or(10, |text| text.parse().unwrap()));

/// A data directory on such a disk.
struct Disk {
    place: TempDir,
    shim: PathBuf,
}

/// What a power cut leaves of what was not synced.
#[derive(Debug, Clone, Copy)]
enum Left {
    Nothing,
    /// About half of the sectors.
    Some(u64),
}

const SECTOR: usize = 512;

impl Disk {
    /// `None`, and a word on stderr, where there is no C compiler.
    fn new() -> Option<Self> {
        let place = tempfile::tempdir().unwrap();
        let shim = place.path().join("shim.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/power/shim.c");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
            .arg(&shim)
            .args([source, "-ldl", "-lpthread"])
            .status();
        match built {
            Ok(status) => assert!(status.success(), "{source} does not compile"),
            Err(error) => {
                eprintln!(
                    "SKIPPED: no power was cut, as there is no C compiler (cc: {error}): apt-get install gcc"
                );
                return None;
            }
        }
        fs::create_dir(place.path().join("data")).unwrap();
        Some(Self { place, shim })
    }

    fn data(&self) -> PathBuf {
        self.place.path().canonicalize().unwrap().join("data")
    }

    fn notes(&self) -> PathBuf {
        self.place.path().canonicalize().unwrap().join("notes")
    }

    /// Starts a child on the disk; `settings` are variables of the shim and of the child.
    fn start(&self, settings: &str, test: &str) -> child::Running {
        let _ = fs::remove_dir_all(self.notes());
        fs::create_dir(self.notes()).unwrap();
        let (data, notes, shim) = (self.data(), self.notes(), &self.shim);
        let prelude = format!(
            "export {settings} EVOKE_POWER_DIR={} EVOKE_POWER_LOG={} LD_PRELOAD={};",
            data.display(),
            notes.display(),
            shim.display()
        );
        child::start(&prelude, test, &data)
    }

    /// Undoes what was not synced, newest first. How much that was.
    fn cut_power(&self, left: Left) -> usize {
        let mut numbers: Vec<u64> = fs::read_dir(self.notes())
            .unwrap()
            .filter_map(|file| file.unwrap().file_name().to_str()?.parse().ok())
            .collect();
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        for number in &numbers {
            self.undo(*number, left);
        }
        // Shared memory of processes that are gone.
        let _ = fs::remove_file(self.data().join("evoke.db-shm"));
        numbers.len()
    }

    fn undo(&self, number: u64, left: Left) {
        let note = fs::read(self.notes().join(number.to_string())).unwrap();
        let Some(end) = note.iter().position(|byte| *byte == b'\n') else { return }; // killed while it was written
        let head = String::from_utf8(note[..end].to_vec()).unwrap();
        let [kind, device, inode, offset, size, len] = head.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{head}")
        };
        let bytes = &note[end + 1..];
        if bytes.len() < len.parse().unwrap() {
            return;
        }
        if kind == "w" {
            let file = self.notes().join(format!("inode-{device}-{inode}"));
            let file = OpenOptions::new().write(true).open(file).unwrap();
            write_back(&file, bytes, offset.parse().unwrap(), size.parse().unwrap(), left, number);
            return;
        }
        let path = PathBuf::from(String::from_utf8_lossy(bytes).lines().next().unwrap());
        if path.is_dir() {
            fs::remove_dir_all(&path).unwrap();
        } else if kind != "u" {
            let _ = fs::remove_file(&path);
        }
        let kept = self.notes().join(format!("kept-{number}"));
        if kept.exists() && path.parent().is_some_and(Path::is_dir) {
            let _ = fs::hard_link(kept, &path);
        }
    }
}

fn write_back(file: &File, bytes: &[u8], offset: u64, size: u64, left: Left, number: u64) {
    let Left::Some(seed) = left else {
        file.write_all_at(bytes, offset).unwrap();
        return file.set_len(size).unwrap();
    };
    let mut random = Seed(seed ^ number << 20);
    for (n, sector) in bytes.chunks(SECTOR).enumerate() {
        if random.below(2) == 0 {
            file.write_all_at(sector, offset + (n * SECTOR) as u64).unwrap();
        }
    }
    if random.below(2) == 0 {
        file.set_len(size).unwrap();
    }
}

/// A round of work up to the cut: what was acknowledged is noted. Returns the digests of acknowledged objects.
fn work(
    disk: &Disk,
    settings: &str,
    seed: u64,
    (accepted, settled): (&mut BTreeSet<u64>, &mut BTreeSet<u64>),
) -> Vec<String> {
    let settings = format!("FIRST={} {settings}", seed * 1_000_000);
    let mut running = disk.start(&settings, "power::child_under_load");
    let mut objects = Vec::new();
    let patience = Seed(seed).below(500) + 5;
    let mut said = 0;
    while let Some((word, rest)) = running.line() {
        if word == "object" {
            objects.push(rest);
        } else {
            kill::note((word, rest), accepted, settled);
        }
        said += 1;
        // What it had said before it died counts too.
        if said == patience {
            running.child.kill().unwrap();
        }
    }
    running.child.wait().unwrap();
    objects
}

async fn survives(settings: &str) {
    let Some(disk) = Disk::new() else { return };
    let (mut accepted, mut settled) = (BTreeSet::new(), BTreeSet::new());
    let mut undone = 0;
    for seed in 0..*CUTS {
        let objects = work(&disk, settings, seed, (&mut accepted, &mut settled));
        let left = if seed % 2 == 0 { Left::Nothing } else { Left::Some(seed) };
        undone += disk.cut_power(left);
        eprintln!("cut {seed}: {left:?} left, {} accepted, {} settled", accepted.len(), settled.len());
        kill::check(&disk.data(), &accepted, &settled).await;
        let report = verify(&disk.data()).unwrap();
        assert!(report.is_intact(), "cut {seed}: {:?}", report.findings);
        let store = sample::open(&disk.data());
        for digest in objects {
            assert!(
                store.get_object(&digest).await.unwrap().is_some(),
                "cut {seed}: object {digest} is gone"
            );
        }
        store.close().await.unwrap();
    }
    assert!(undone > 0, "there was something to undo");
    assert!(settled.len() > 10, "the load has settlements in it: {}", settled.len());
}

#[tokio::test]
async fn acknowledged_work_survives_power_cuts() {
    survives("").await;
}

#[tokio::test]
async fn acknowledged_work_survives_power_cuts_on_a_disk_that_writes_by_halves() {
    survives("EVOKE_POWER_WRITE=short").await;
}

/// The test of the test: where syncs do nothing, power cuts must take what was acknowledged.
#[tokio::test]
async fn without_syncs_power_cuts_are_seen_to_take_acknowledged_work() {
    let Some(disk) = Disk::new() else { return };
    let (mut accepted, mut settled) = (BTreeSet::new(), BTreeSet::new());
    let mut seed = 0;
    while accepted.len() < 20 {
        seed += 1;
        work(&disk, "EVOKE_POWER_SYNC=ignore", seed, (&mut accepted, &mut settled));
    }
    assert!(disk.cut_power(Left::Nothing) > 0);
    let store = sample::open(&disk.data());
    let events = store.events(&EventQuery { limit: 100_000, ..EventQuery::default() }).await.unwrap();
    assert!(events.len() < accepted.len(), "{} of {} are still there", events.len(), accepted.len());
}

#[tokio::test]
#[ignore = "the other process of the power cuts"]
async fn child_under_load() {
    let store = sample::open(&child::dir());
    let first = std::env::var("FIRST").unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(kill::load(store.clone()));
    tasks.spawn(async move {
        for n in 0.. {
            let digest = store.put_object(format!("object {first} {n}").repeat(300).into()).await.unwrap();
            child::say("object", digest);
        }
    });
    tasks.join_all().await;
}

#[tokio::test]
async fn after_a_failed_sync_the_outcome_is_unknown_and_sending_again_is_safe() {
    let Some(disk) = Disk::new() else { return };
    let mut refused = 0;
    for nth in [2, 3, 5, 8, 13, 21, 34] {
        let _ = fs::remove_dir_all(disk.data());
        fs::create_dir(disk.data()).unwrap();
        let said =
            disk.start(&format!("EVOKE_POWER_SYNC=fail:{nth}"), "power::child_whose_sync_fails").finish();
        disk.cut_power(if nth % 2 == 0 { Left::Nothing } else { Left::Some(nth) });
        let [(word, acknowledged)] = said.as_slice() else { panic!("sync {nth}: {said:?}") };
        refused += u64::from(word == "refused");
        let acknowledged: u64 = acknowledged.parse().unwrap();
        let store = sample::open(&disk.data());
        for n in 0..=acknowledged {
            let again = store.append(vec![append(&format!("e{n}"), n, "f")], START).await.unwrap();
            assert!(
                again[0].duplicate || n == acknowledged,
                "sync {nth}: event {n} was acknowledged and is gone"
            );
        }
        let events = store.events(&EventQuery { limit: 10_000, ..EventQuery::default() }).await.unwrap();
        assert_eq!(events.len() as u64, acknowledged + 1, "each once");
        store.close().await.unwrap();
        assert_eq!(verify(&disk.data()).unwrap().findings, []);
    }
    assert!(refused > 2, "most syncs are those of commits");
}

#[tokio::test]
#[ignore = "the other process of after_a_failed_sync"]
async fn child_whose_sync_fails() {
    let store: Arc<dyn Store> = match SqliteStore::open(&child::dir(), evoke_store::OpenOptions::default()) {
        Ok(store) => Arc::new(store),
        Err(_) => return child::say("unopened", 0),
    };
    let mut acknowledged = 0;
    let error = loop {
        let item = append(&format!("e{acknowledged}"), acknowledged, "f");
        match store.append(vec![item], START).await {
            Ok(_) => acknowledged += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Outcome(_)), "{error:?}");
    let later = store.append(vec![append("later", 99_999, "f")], START).await;
    assert!(matches!(&later, Err(StoreError::Closed(why)) if why.contains("failed")), "{later:?}");
    child::say("refused", acknowledged);
}

#[tokio::test]
async fn a_disk_that_is_full_at_any_write_refuses_and_goes_on_when_there_is_room() {
    let Some(disk) = Disk::new() else { return };
    for nth in [240, 241, 243, 250, 264, 301] {
        let _ = fs::remove_dir_all(disk.data());
        fs::create_dir(disk.data()).unwrap();
        let said =
            disk.start(&format!("EVOKE_POWER_WRITE=full:{nth}"), "power::child_on_a_full_disk").finish();
        disk.cut_power(Left::Nothing);
        let [(word, count)] = said.as_slice() else { panic!("write {nth}: {said:?}") };
        assert_eq!(word, "goes-on");
        let store = sample::open(&disk.data());
        let events = store.events(&EventQuery { limit: 10_000, ..EventQuery::default() }).await.unwrap();
        assert_eq!(events.len().to_string(), *count, "write {nth}");
        store.close().await.unwrap();
        assert_eq!(verify(&disk.data()).unwrap().findings, []);
    }
}

#[tokio::test]
#[ignore = "the other process of a_disk_that_is_full_at_any_write"]
async fn child_on_a_full_disk() {
    let store = sample::open(&child::dir());
    let mut accepted = 0;
    let refusal = loop {
        match store.append(vec![append(&format!("e{accepted}"), accepted, "f")], START).await {
            Ok(_) => accepted += 1,
            Err(error) => break error,
        }
    };
    let StoreError::Full(what) = &refusal else { panic!("{refusal:?}") };
    assert!(
        what.contains("data") && what.contains("bytes are free"),
        "it names the place and the room: {what}"
    );
    let notes: PathBuf = std::env::var_os("EVOKE_POWER_LOG").unwrap().into();
    File::create(notes.join("space")).unwrap();
    for _ in 0..5 {
        let again = store.append(vec![append(&format!("e{accepted}"), accepted, "f")], START).await.unwrap();
        assert!(!again[0].duplicate, "what was refused had not happened");
        accepted += 1;
    }
    child::say("goes-on", accepted);
}

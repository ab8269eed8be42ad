//! Key-value state.

use bytes::Bytes;

use super::Subject;
use super::samples::*;
use crate::store::{Expect, ListQuery, SettleError, Space, Store, Value, ValueKind, Write};
use crate::time::Timestamp;

/// The value with its kind and revision, whether it is JSON, bytes or nothing.
pub async fn what_was_written_is_read(subject: &mut dyn Subject) {
    let store = subject.store();
    assert_eq!(store.get(&space(), "k", START).await.expect("get"), None);
    for (kind, bytes) in [
        (ValueKind::Json, Bytes::from_static(b"{\"a\":1}")),
        (ValueKind::Bytes, Bytes::from_iter(0..=255_u8)),
        (ValueKind::Bytes, Bytes::new()),
        (ValueKind::Bytes, Bytes::from(vec![7; 1 << 20])),
    ] {
        let value = Value { kind, bytes };
        let write = Write { value: Some(value.clone()), ..put("k", "", Expect::Anything) };
        let revision = store.write(vec![write], START).await.expect("write")[0];
        let entry = store.get(&space(), "k", START).await.expect("get").expect("written");
        assert_eq!((entry.key.as_str(), entry.value, entry.revision), ("k", value, revision));
        assert_eq!(entry.expires_at, None);
    }
    store.write(vec![delete("k", Expect::Anything)], START).await.expect("delete");
    assert_eq!(store.get(&space(), "k", START).await.expect("get"), None);
}

/// With each write to the store, deletions included, and past a restart.
pub async fn revisions_grow(subject: &mut dyn Subject) {
    let mut last = 0;
    for round in 0..3 {
        let store = subject.store();
        let writes = vec![
            put("a", "1", Expect::Anything),
            delete("a", Expect::Anything),
            delete("never", Expect::Anything),
        ];
        for revision in store.write(writes, START).await.expect("write") {
            assert!(revision > last && revision < 1 << 52, "round {round}: {revision} after {last}");
            last = revision;
        }
        drop(store);
        subject.reopen().await;
    }
}

/// Absent and revision, for puts and deletions; the error says what is there.
pub async fn expectations_are_checked(subject: &mut dyn Subject) {
    let store = subject.store();
    let revision = store.write(vec![put("k", "1", Expect::Absent)], START).await.expect("write")[0];
    for (write, found) in [
        (put("k", "2", Expect::Absent), Some(revision)),
        (put("k", "2", Expect::Revision(revision + 1)), Some(revision)),
        (delete("k", Expect::Revision(0)), Some(revision)),
        (put("none", "2", Expect::Revision(revision)), None),
        (delete("none", Expect::Revision(revision)), None),
    ] {
        match store.write(vec![write.clone()], START).await {
            Err(SettleError::Conflict { key, expected, found: there, .. }) => {
                assert_eq!((key, expected, there), (write.key, write.expect, found));
            }
            other => panic!("{write:?}: expected a conflict, got {other:?}"),
        }
    }
    let second = store.write(vec![put("k", "2", Expect::Revision(revision))], START).await.expect("write")[0];
    assert!(second > revision);
    store
        .write(vec![delete("none", Expect::Absent)], START)
        .await
        .expect("an absent key may be expected absent");
    store.write(vec![delete("k", Expect::Revision(second))], START).await.expect("delete");
    store.write(vec![put("k", "3", Expect::Absent)], START).await.expect("it is absent again");
}

/// One conflict and none of them happens, wherever it stands.
pub async fn a_batch_is_written_whole_or_not_at_all(subject: &mut dyn Subject) {
    let store = subject.store();
    store.write(vec![put("taken", "0", Expect::Anything)], START).await.expect("write");
    for place in 0..3 {
        let mut batch = vec![put("a", "1", Expect::Anything), put("b", "1", Expect::Absent)];
        batch.insert(place, put("taken", "1", Expect::Absent));
        assert!(matches!(store.write(batch, START).await, Err(SettleError::Conflict { .. })));
        assert_eq!(keys(&*store, "", START).await, ["taken"]);
    }
    assert!(store.write(Vec::new(), START).await.expect("nothing to write").is_empty());
}

/// In order: a key that was just deleted is absent for the next write of the same batch.
pub async fn writes_of_a_batch_see_each_other(subject: &mut dyn Subject) {
    let store = subject.store();
    let revision = store.write(vec![put("k", "0", Expect::Anything)], START).await.expect("write")[0];
    let batch = vec![delete("k", Expect::Revision(revision)), put("k", "1", Expect::Absent)];
    let revisions = store.write(batch, START).await.expect("write");
    let entry = store.get(&space(), "k", START).await.expect("get").expect("written");
    assert_eq!((entry.value, entry.revision), (json("1"), revisions[1]));
    let twice = vec![put("new", "1", Expect::Absent), put("new", "2", Expect::Absent)];
    assert!(matches!(store.write(twice, START).await, Err(SettleError::Conflict { .. })));
    let moved_on = vec![put("k", "2", Expect::Anything), put("k", "3", Expect::Revision(revisions[1]))];
    assert!(matches!(store.write(moved_on, START).await, Err(SettleError::Conflict { .. })));
}

/// At their time, not before; without one, never.
pub async fn entries_expire(subject: &mut dyn Subject) {
    let store = subject.store();
    let write = Write { expires_at: Some(at(10)), ..put("k", "1", Expect::Anything) };
    store.write(vec![write, put("stays", "1", Expect::Anything)], START).await.expect("write");
    let entry = store.get(&space(), "k", Timestamp(at(10).0 - 1)).await.expect("get").expect("still there");
    assert_eq!(entry.expires_at, Some(at(10)));
    assert_eq!(store.get(&space(), "k", at(10)).await.expect("get"), None);
    assert_eq!(keys(&*store, "", at(9)).await, ["k", "stays"]);
    assert_eq!(keys(&*store, "", at(10)).await, ["stays"]);
}

/// Swept or not.
pub async fn an_expired_entry_counts_as_absent(subject: &mut dyn Subject) {
    let store = subject.store();
    let write = Write { expires_at: Some(at(10)), ..put("k", "1", Expect::Anything) };
    let revision = store.write(vec![write], START).await.expect("write")[0];
    let stale = store.write(vec![put("k", "2", Expect::Revision(revision))], at(10)).await;
    assert!(matches!(stale, Err(SettleError::Conflict { found: None, .. })), "{stale:?}");
    store.write(vec![put("k", "2", Expect::Absent)], at(10)).await.expect("write");
    let entry = store.get(&space(), "k", at(1_000)).await.expect("get").expect("written without an end");
    assert_eq!((entry.value, entry.expires_at), (json("2"), None));
}

/// By key, from `after`, within the prefix, at most `limit`.
pub async fn lists_are_sorted_and_bounded(subject: &mut dyn Subject) {
    let store = subject.store();
    let names = ["order/2", "order/1", "order/10", "orders", "order", "p", "", "order/3"];
    store.write(names.iter().map(|key| put(key, "1", Expect::Absent)).collect(), START).await.expect("write");
    assert_eq!(keys(&*store, "order/", START).await, ["order/1", "order/10", "order/2", "order/3"]);
    assert_eq!(keys(&*store, "", START).await.len(), names.len());
    let page = |after: &str, limit| ListQuery {
        space: space(),
        prefix: "order/".to_owned(),
        after: Some(after.to_owned()),
        limit,
    };
    let listed = |query| {
        let store = store.clone();
        async move {
            let entries = store.list(&query, START).await.expect("list");
            entries.into_iter().map(|entry| entry.key).collect::<Vec<_>>()
        }
    };
    assert_eq!(listed(page("order/10", 1)).await, ["order/2"]);
    assert_eq!(listed(page("a", 2)).await, ["order/1", "order/10"], "after may lie before the prefix");
    assert!(listed(page("order/3", 9)).await.is_empty());
    assert!(listed(page("z", 9)).await.is_empty());
    assert!(listed(page("", 0)).await.is_empty());
}

/// Wildcards, case, the ends of the alphabet and quotes mean nothing.
pub async fn odd_keys_are_only_text(subject: &mut dyn Subject) {
    let store = subject.store();
    let names = ["%", "_", "a", "A", "a\u{0}b", "é", "e\u{301}", "\u{10ffff}", "\u{10ffff}x", "'; --", " "];
    store.write(names.iter().map(|key| put(key, "1", Expect::Absent)).collect(), START).await.expect("write");
    for key in names {
        let entry = store.get(&space(), key, START).await.expect("get").expect(key);
        assert_eq!(entry.key, key);
    }
    let mut sorted: Vec<&str> = names.to_vec();
    sorted.sort_unstable();
    assert_eq!(keys(&*store, "", START).await, sorted);
    assert_eq!(keys(&*store, "%", START).await, ["%"]);
    assert_eq!(keys(&*store, "a", START).await, ["a", "a\u{0}b"]);
    assert_eq!(keys(&*store, "\u{10ffff}", START).await, ["\u{10ffff}", "\u{10ffff}x"]);
}

/// The same key in two spaces is two entries, also where one space's name begins with the other's.
pub async fn spaces_are_apart(subject: &mut dyn Subject) {
    let store = subject.store();
    let other = Space(format!("{}/x", space().0));
    let elsewhere = Write { space: other.clone(), ..put("k", "2", Expect::Absent) };
    store.write(vec![put("k", "1", Expect::Absent), elsewhere], START).await.expect("write");
    assert_eq!(store.get(&space(), "k", START).await.expect("get").expect("here").value, json("1"));
    assert_eq!(store.get(&other, "k", START).await.expect("get").expect("there").value, json("2"));
    assert_eq!(keys(&*store, "", START).await, ["k"]);
}

/// Of their space, with its newest revision, whichever verb wrote.
pub async fn watchers_hear_of_writes(subject: &mut dyn Subject) {
    let store = subject.store();
    let mut here = store.watch(&space());
    let there = store.watch(&Space::apps());
    assert!(!here.has_changed().expect("open"));
    let revision = store.write(vec![put("k", "1", Expect::Anything)], START).await.expect("write")[0];
    here.changed().await.expect("open");
    assert_eq!(*here.borrow_and_update(), revision);
    assert!(!there.has_changed().expect("open"));
    let refused = store.write(vec![put("k", "1", Expect::Absent)], START).await;
    assert!(refused.is_err() && !here.has_changed().expect("open"), "nothing happened");
    store.append(vec![append("a", 1, "f")], START).await.expect("append");
    let mut settlement = complete(&lease_one(&store, "f", START).await.lease);
    settlement.writes = vec![delete("k", Expect::Anything)];
    let settled = store.settle(settlement, START).await.expect("settle");
    here.changed().await.expect("open");
    assert_eq!(*here.borrow_and_update(), settled.revisions[0]);
}

/// Compare-and-set decides between any number of writers.
pub async fn only_one_of_many_creates_a_key(subject: &mut dyn Subject) {
    let store = subject.store();
    let tries = (0..50).map(|n| {
        let store = store.clone();
        async move { store.write(vec![put("k", &n.to_string(), Expect::Absent)], START).await.is_ok() }
    });
    let won: Vec<bool> = all_at_once(tries).await;
    assert_eq!(won.iter().filter(|won| **won).count(), 1);
    let winner = won.iter().position(|won| *won).expect("one won");
    let entry = store.get(&space(), "k", START).await.expect("get").expect("written");
    assert_eq!(entry.value, json(&winner.to_string()));
}

/// With their revisions and ends.
pub async fn keys_survive_a_restart(subject: &mut dyn Subject) {
    let write = Write { expires_at: Some(at(10)), ..put("k", "1", Expect::Anything) };
    subject.store().write(vec![write], START).await.expect("write");
    let before = subject.store().get(&space(), "k", START).await.expect("get");
    subject.reopen().await;
    assert_eq!(subject.store().get(&space(), "k", START).await.expect("get"), before);
    assert!(before.is_some());
}

async fn keys(store: &dyn Store, prefix: &str, now: Timestamp) -> Vec<String> {
    let query = ListQuery { space: space(), prefix: prefix.to_owned(), after: None, limit: 100 };
    store.list(&query, now).await.expect("list").into_iter().map(|entry| entry.key).collect()
}

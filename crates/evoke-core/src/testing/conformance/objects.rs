//! Bytes under their digest.

use bytes::Bytes;

use super::Subject;
use super::samples::*;
use crate::store::{Expect, Space, Write};

/// Small, empty, large; and storing it again changes nothing.
pub async fn an_object_is_found_under_its_digest(subject: &mut dyn Subject) {
    let store = subject.store();
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    for _ in 0..2 {
        assert_eq!(store.put_object(Bytes::from_static(b"abc")).await.expect("put"), abc);
    }
    assert_eq!(store.get_object(abc).await.expect("get"), Some(Bytes::from_static(b"abc")));
    for bytes in [Bytes::new(), Bytes::from(vec![42; 3 << 20])] {
        let digest = store.put_object(bytes.clone()).await.expect("put");
        assert_eq!(store.get_object(&digest).await.expect("get"), Some(bytes));
    }
}

/// Also when the digest is none.
pub async fn an_unknown_object_is_none(subject: &mut dyn Subject) {
    let store = subject.store();
    for digest in [&"0".repeat(64), "", "../../etc/passwd", "é", "BA7816BF"] {
        assert_eq!(store.get_object(digest).await.expect("get"), None, "{digest:?}");
    }
}

/// Durable when it returns.
pub async fn objects_survive_a_restart(subject: &mut dyn Subject) {
    let digest = subject.store().put_object(Bytes::from_static(b"bundle")).await.expect("put");
    subject.reopen().await;
    assert_eq!(subject.store().get_object(&digest).await.expect("get"), Some(Bytes::from_static(b"bundle")));
}

/// Only after it was found so twice, the grace time apart; one that is put again begins anew.
pub async fn an_object_nothing_refers_to_goes_after_its_time(subject: &mut dyn Subject) {
    let store = subject.store();
    let put = |text: &'static str| store.put_object(text.into());
    let (kept, idle, again) = (put("kept").await, put("idle").await, put("again").await);
    let (kept, idle, again) = (kept.expect("put"), idle.expect("put"), again.expect("put"));
    let refers = Write {
        space: Space::deployments(),
        key: "shop/1".to_owned(),
        value: Some(json(&format!("{{\"bundle\":\"{kept}\"}}"))),
        expires_at: None,
        expect: Expect::Anything,
    };
    store.write(vec![refers.clone()], START).await.expect("write");
    let sweep = |seconds: u64| store.sweep_objects(HOLD, at(seconds));
    assert_eq!(sweep(0).await.expect("sweep"), 0, "found for the first time");
    assert_eq!(sweep(29).await.expect("sweep"), 0, "the grace time is not over");
    put("again").await.expect("put");
    assert_eq!(sweep(30).await.expect("sweep"), 1);
    assert!(store.get_object(&idle).await.expect("get").is_none());
    for digest in [&kept, &again] {
        assert!(store.get_object(digest).await.expect("get").is_some(), "{digest}");
    }
    assert_eq!(sweep(60).await.expect("sweep"), 1);
    assert!(store.get_object(&again).await.expect("get").is_none());

    store.write(vec![Write { value: None, ..refers }], at(60)).await.expect("write");
    assert_eq!(sweep(61).await.expect("sweep"), 0);
    assert_eq!(sweep(91).await.expect("sweep"), 1, "nothing refers to it any more");
    assert!(store.get_object(&kept).await.expect("get").is_none());
    assert_eq!(put("kept").await.expect("put"), kept, "it can come again");
    assert!(store.get_object(&kept).await.expect("get").is_some());
}

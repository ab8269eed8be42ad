//! Bytes under their digest.

use bytes::Bytes;

use super::Subject;

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

//! What is compiled and loaded, and what is refused.

use std::io::Write as _;

use crate::host::{Worker, compiled};

fn refused(name: &str, bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::File::create(&path).unwrap().write_all(bytes).unwrap();
    compiled(path.to_str().unwrap()).unwrap_err()
}

#[test]
fn what_is_no_component_is_refused_with_a_reason() {
    let core = b"\0asm\x01\0\0\0";
    assert!(refused("core.wasm", core).contains("wasm32-wasip2"));
    assert!(!refused("text.wasm", b"hello, world").is_empty());
    assert!(!refused("empty.wasm", b"").is_empty());
    let component = b"\0asm\x0d\0\x01\0";
    assert!(refused("bare.wasm", component).contains("exports neither"));
}

#[test]
fn cut_and_changed_components_are_refused_or_run() {
    let whole = std::fs::read(guest()).unwrap();
    for cut in [8, 100, whole.len() / 2, whole.len() - 1] {
        assert!(!refused("cut.wasm", &whole[..cut]).is_empty(), "cut at {cut}");
    }
}

#[test]
fn what_was_not_compiled_here_is_not_loaded() {
    let mut worker = Worker::start();
    let folder = tempfile::tempdir().unwrap();
    // `open` compiles; so the worker is asked for the component itself.
    let path = folder.path().join("proxy.wasm");
    std::fs::copy(guest(), &path).unwrap();
    let error = worker.open_as_is(&path).err().unwrap();
    assert!(error["message"].as_str().unwrap().contains("cannot be loaded"), "{error}");
}

fn guest() -> std::path::PathBuf {
    crate::guests::guest("proxy")
}

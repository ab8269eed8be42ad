//! Building the guests. Tests of other crates include this file.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A guest as a component.
pub fn guest(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let folder = BUILT.get_or_init(|| {
        let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../evoke-wasm/tests/guests");
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guests");
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--release", "--locked", "--quiet", "--target", "wasm32-wasip2"]);
        cargo.current_dir(guests).env("CARGO_TARGET_DIR", &target);
        for inherited in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET"] {
            cargo.env_remove(inherited);
        }
        let built = cargo.status().unwrap();
        assert!(
            built.success(),
            "the guests cannot be built; is the target there? rustup target add wasm32-wasip2"
        );
        target.join("wasm32-wasip2/release")
    });
    folder.join(format!("{name}.wasm"))
}

//! Apps to deploy.

use std::path::Path;

use tempfile::TempDir;

use crate::evoke::{Server, folder, write};

/// A copy of `tests/apps/plain`.
pub fn plain() -> TempDir {
    let dir = folder(&[]);
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/apps/plain");
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        write(
            dir.path(),
            path.file_name().unwrap().to_str().unwrap(),
            &std::fs::read_to_string(&path).unwrap(),
        );
    }
    dir
}

/// A server with `plain` deployed.
pub fn served() -> (Server, TempDir) {
    let (server, app) = (Server::start(), plain());
    server.evoke(app.path(), &["deploy"]).ok();
    (server, app)
}

//! The conformance suite of the seam against SQLite.

use std::sync::Arc;

use async_trait::async_trait;
use evoke_core::store::Store;
use evoke_core::testing::conformance::{Subject, model};
use evoke_store::{OpenOptions, SqliteStore};
use tempfile::TempDir;

struct Sqlite {
    dir: TempDir,
    store: Option<Arc<SqliteStore>>,
}

impl Sqlite {
    fn fresh() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Some(Arc::new(SqliteStore::open(dir.path(), OpenOptions::default()).unwrap()));
        Self { dir, store }
    }
}

#[async_trait]
impl Subject for Sqlite {
    fn store(&self) -> Arc<dyn Store> {
        self.store.clone().unwrap()
    }

    async fn reopen(&mut self) {
        let former = self.store.take().unwrap();
        assert_eq!(Arc::strong_count(&former), 1, "a case kept the store");
        drop(former);
        self.store = Some(Arc::new(SqliteStore::open(self.dir.path(), OpenOptions::default()).unwrap()));
    }
}

evoke_core::store_conformance!(Sqlite::fresh());

#[test]
fn random_histories_agree_with_the_model() {
    model::holds(64, async || Sqlite::fresh());
}

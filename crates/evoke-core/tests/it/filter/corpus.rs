//! What the fuzz targets found or start from is replayed: `fuzz/corpus`.

use std::path::Path;

use evoke_core::filter::cesql::Expression;
use evoke_core::filter::pattern::Pattern;

use super::order;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let files = std::fs::read_dir(folder).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
    files.collect()
}

#[test]
fn expressions_of_the_corpus_do_not_panic_and_print_what_they_are() {
    let mut parsed = 0;
    for bytes in corpus("cesql") {
        let Ok(text) = std::str::from_utf8(&bytes) else { continue };
        let Ok(expression) = Expression::parse(text) else { continue };
        let again = Expression::parse(&expression.to_string()).unwrap();
        assert_eq!(format!("{again:#}"), format!("{expression:#}"));
        expression.explain(&order());
        parsed += 1;
    }
    assert!(parsed >= 8, "{parsed}");
}

#[test]
fn patterns_of_the_corpus_do_not_panic() {
    let mut compiled = 0;
    for bytes in corpus("pattern") {
        let Ok(value) = serde_json::from_slice(&bytes) else { continue };
        let Ok(pattern) = Pattern::compile(value) else { continue };
        pattern.explain(&order());
        compiled += 1;
    }
    assert!(compiled >= 8, "{compiled}");
}

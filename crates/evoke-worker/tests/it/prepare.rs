//! Bundles: what is taken, what is refused, and what TypeScript becomes.

use std::os::unix::fs::PermissionsExt;

use evoke_core::limits::Limits;
use evoke_core::manifest::{Install, RuntimeKind};
use evoke_core::runtime::{PrepareError, PreparedBundle, Progress, Runtime};

use crate::support::*;

async fn refuse(host: &Host, bytes: Vec<u8>) -> String {
    let bundle = PreparedBundle {
        digest: digest(&bytes),
        sources: vec![(RuntimeKind::Python, "main.py".into())],
        install: Install::default(),
    };
    host.runtime.prepare(&bundle, bytes.into(), &Progress::none()).await.unwrap_err().to_string()
}

/// A tar with one entry whose header is set by hand: the crate's builder refuses what an attacker would not.
fn raw(path: &str, kind: tar::EntryType, link: &str, content: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    let mut tar = tar::Builder::new(Vec::new());
    tar.append(&header, content).unwrap();
    tar.into_inner().unwrap()
}

#[tokio::test]
async fn what_leads_out_of_the_bundle_is_refused() {
    use tar::EntryType;
    let host = Host::start().await;
    let cases = [
        (raw("../evil", EntryType::Regular, "", b"x"), "bundle: \"../evil\" leads out of the bundle"),
        (
            raw("a/../../evil", EntryType::Regular, "", b"x"),
            "bundle: \"a/../../evil\" leads out of the bundle",
        ),
        (raw("/etc/evil", EntryType::Regular, "", b"x"), "bundle: \"/etc/evil\" is an absolute path"),
        (
            raw("link", EntryType::Symlink, "/etc/passwd", b""),
            "bundle: \"link\" is a link; pack the file it leads to instead",
        ),
        (
            raw("link", EntryType::Link, "/etc/passwd", b""),
            "bundle: \"link\" is a link; pack the file it leads to instead",
        ),
        (raw("device", EntryType::Char, "", b""), "bundle: \"device\" is neither a file nor a folder"),
        (raw("pipe", EntryType::Fifo, "", b""), "bundle: \"pipe\" is neither a file nor a folder"),
        (b"this is no tar".repeat(100), "bundle: not a readable tar: "),
    ];
    for (bytes, message) in cases {
        let told = refuse(&host, bytes).await;
        assert!(told.starts_with(message), "{told}");
    }
    let bundles = host.dir.path().join("workers/bundles/2");
    assert_eq!(std::fs::read_dir(&bundles).unwrap().count(), 0, "nothing half-made stays");
}

#[tokio::test]
async fn bundles_have_bounds() {
    let host = Host::with_limits(Limits { bundle_bytes: 1000, bundle_files: 3, ..Limits::default() }).await;
    let large = "x".repeat(600);
    assert_eq!(
        refuse(&host, tar(&[("a", &large), ("b", &large)]).to_vec()).await,
        "bundle: more than the limit of 1000 bytes unpacked"
    );
    assert_eq!(
        refuse(&host, tar(&[("a", ""), ("b", ""), ("c", ""), ("d", "")]).to_vec()).await,
        "bundle: more than the limit of 3 files"
    );
    assert_eq!(refuse(&host, tar(&[("a", ""), ("a", "")]).to_vec()).await, "bundle: \"a\" is there twice");
    let deep = vec!["d"; 40].join("/");
    assert!(refuse(&host, tar(&[(&deep, "")]).to_vec()).await.ends_with("is deeper than 32 folders"));
}

#[tokio::test]
async fn a_prepared_bundle_is_read_only_and_made_once() {
    let host = Host::start().await;
    let files = [("fn/main.ts", "export const handler = (): number => 1;"), ("data.json", "{}")];
    let spec = host.prepare(&files).await.unwrap();
    let folder = host.dir.path().join("workers/bundles/2").join(&spec.bundle);
    for file in ["fn/main.ts", "fn/main.ts.mjs", "data.json"] {
        let mode = std::fs::metadata(folder.join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o444, "{file}");
    }
    let made = std::fs::metadata(&folder).unwrap().modified().unwrap();
    host.prepare(&files).await.unwrap();
    assert_eq!(std::fs::metadata(&folder).unwrap().modified().unwrap(), made);
}

#[tokio::test]
async fn one_bundle_prepared_from_many_sides_is_made_once() {
    let host = Host::start().await;
    let files = [("main.ts", "export const handler = (): number => 1;")];
    let all = futures_util::future::join_all((0..8).map(|_| host.prepare(&files))).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    assert_eq!(std::fs::read_dir(host.dir.path().join("workers/bundles/2")).unwrap().count(), 1);
}

#[tokio::test]
async fn syntax_errors_are_told_at_deploy_with_their_place() {
    let host = Host::start().await;
    let cases: [(&[(&str, &str)], &str); 5] = [
        (
            &[(
                "a.ts",
                "export default {\n  fetch(request: Request) {\n    return new Response(\"hi\";\n  },\n};\n",
            )],
            "a.ts:3:29: ",
        ),
        (&[("b.mjs", "export const handler = () => {\n")], "b.mjs:2:1: "),
        (&[("c.js", "const a = 1;\nconst a = 2;\n")], "c.js:1:7: "),
        (
            &[("main.ts", "import './lib/d';\nexport const handler = 1;"), ("lib/d.ts", "let x: = 1;\n")],
            "lib/d.ts:1:8: ",
        ),
        (&[("e.cjs", "return 1;\nawait 2 2;\n")], "e.cjs:2:"),
    ];
    for (files, message) in cases {
        let told = host.prepare(files).await.unwrap_err();
        assert!(matches!(told, PrepareError::Source { .. }), "{told:?}");
        assert!(told.to_string().starts_with(message), "{told}");
    }
    // What no function leads to may be anything.
    host.prepare(&[
        ("main.mjs", "export const handler = () => 1;"),
        ("browser.js", "<html>"),
        ("node_modules/x/broken.js", "("),
    ])
    .await
    .unwrap();
}

#[tokio::test]
async fn a_source_that_is_not_there_is_named() {
    let host = Host::start().await;
    let missing = |source: &'static str, kind| {
        let host = &host;
        async move {
            host.prepare_as(kind, source, &[("fn/other.txt", ""), ("main.py", "")])
                .await
                .unwrap_err()
                .to_string()
        }
    };
    assert_eq!(
        missing("gone.ts", RuntimeKind::Node).await,
        "source \"gone.ts\" is not among the app's files"
    );
    assert_eq!(
        missing("fn", RuntimeKind::Python).await,
        "source \"fn/main.py\" is not among the app's files"
    );
    assert_eq!(
        missing("../main.py", RuntimeKind::Python).await,
        "source \"main.py\" is not among the app's files"
    );
}

#[tokio::test]
async fn what_a_crash_left_half_made_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let left = dir.path().join("bundles/2/.abc-1/sub");
    std::fs::create_dir_all(&left).unwrap();
    std::fs::write(left.join("file"), "x").unwrap();
    std::fs::create_dir_all(dir.path().join("scratch/7")).unwrap();
    std::fs::create_dir_all(dir.path().join("bundles/0/old")).unwrap();
    let runtime =
        evoke_worker::ProcessRuntime::start(evoke_worker::Options::new(dir.path(), vec![LAUNCHER.into()]))
            .await
            .unwrap();
    assert_eq!(std::fs::read_dir(dir.path().join("bundles/2")).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(dir.path().join("bundles")).unwrap().count(), 1);
    assert_eq!(std::fs::read_dir(dir.path().join("scratch")).unwrap().count(), 0);
    runtime.shutdown().await;
}

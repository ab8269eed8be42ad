use std::os::unix::fs::PermissionsExt;

use bytes::Bytes;
use evoke_core::store::{Space, Store};
use evoke_core::testing::store::MemoryStore;
use evoke_core::time::Timestamp;
use evoke_gateway::auth::{AuthError, TOKEN_FILE, Token, load_or_create};
use http::{Method, Request, StatusCode};
use http_body_util::Full;

use crate::support::{Reply, Setup, World, send};

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

async fn get(world: &World, path: &str, fields: &[(&str, &str)]) -> Reply {
    let mut request = Request::builder().method(Method::GET).uri(path);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    send(world.control, request.body(Full::<Bytes>::default()).unwrap()).await
}

#[tokio::test]
async fn the_control_api_wants_its_token() {
    let world = World::new().await;
    let other = format!("Bearer {}", Token::generate().unwrap().as_str());
    let basic = format!("Basic {}", world.token.as_str());
    for fields in [
        &[][..],
        &[("authorization", other.as_str())],
        &[("authorization", basic.as_str())],
        &[("authorization", "Bearer")],
    ] {
        for path in ["/v1/apps", "/v1/no/such/path", "/", "/v1/openapi.json/"] {
            let fields = [&[("host", "localhost")], fields].concat();
            let reply = get(&world, path, &fields).await;
            assert_eq!(
                (reply.status, reply.code().as_str()),
                (StatusCode::UNAUTHORIZED, "unauthorized"),
                "{path}"
            );
            assert!(reply.header("www-authenticate").unwrap().starts_with("Bearer realm=\"evoke\""));
        }
    }
    let bearer = format!("bearer  {}", world.token.as_str());
    assert_eq!(
        get(&world, "/v1/apps", &[("host", "localhost"), ("authorization", &bearer)]).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn health_and_documents_need_no_token() {
    let world = World::new().await;
    for path in ["/health", "/ready", "/openapi.json", "/v1/openapi.json", "/problems/overloaded"] {
        assert_eq!(get(&world, path, &[("host", "localhost")]).await.status, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn a_loopback_listener_does_not_answer_for_the_names_of_others() {
    let world = World::with(Setup { control_hosts: vec!["evoke.test".to_owned()], ..Setup::default() }).await;
    for host in ["evil.example", "evil.example:7071", "localhost.evil.example"] {
        let reply = get(&world, "/health", &[("host", host)]).await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (StatusCode::MISDIRECTED_REQUEST, "host_refused"),
            "{host}"
        );
    }
    for host in ["localhost:1", "127.0.0.1", "[::1]:7071", "evoke.test"] {
        assert_eq!(get(&world, "/health", &[("host", host)]).await.status, StatusCode::OK, "{host}");
    }
}

#[tokio::test]
async fn a_token_is_made_once_and_kept_as_a_hash() {
    let (store, folder) = (MemoryStore::new(), tempfile::tempdir().unwrap());
    let first = load_or_create(&store, folder.path(), NOW).await.unwrap();
    assert!(first.created);
    let mode = std::fs::metadata(&first.file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let plain = std::fs::read_to_string(folder.path().join(TOKEN_FILE)).unwrap();
    assert!(first.hash.admits(plain.trim()));
    let stored = store.get(&Space::server(), "admin_token", NOW).await.unwrap().unwrap();
    assert!(!plain.contains(std::str::from_utf8(&stored.value.bytes).unwrap()));

    let second = load_or_create(&store, folder.path(), NOW).await.unwrap();
    assert_eq!((second.hash, second.created), (first.hash, false));
    std::fs::remove_file(&first.file).unwrap();
    let third = load_or_create(&store, folder.path(), NOW).await.unwrap();
    assert_eq!((third.hash, third.created), (first.hash, false));
    assert!(!first.file.exists());
}

#[tokio::test]
async fn a_token_written_just_before_a_crash_is_taken_up() {
    let folder = tempfile::tempdir().unwrap();
    let first = load_or_create(&MemoryStore::new(), folder.path(), NOW).await.unwrap();
    let after_crash = load_or_create(&MemoryStore::new(), folder.path(), NOW).await.unwrap();
    assert_eq!((after_crash.hash, after_crash.created), (first.hash, false));
}

#[tokio::test]
async fn a_token_file_that_holds_something_else_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(TOKEN_FILE), "my notes").unwrap();
    let error = load_or_create(&MemoryStore::new(), folder.path(), NOW).await.unwrap_err();
    assert!(matches!(&error, AuthError::File { .. }));
    assert!(
        error.to_string().ends_with("holds no token; remove it, and the next start makes a new one"),
        "{error}"
    );
    assert_eq!(std::fs::read_to_string(folder.path().join(TOKEN_FILE)).unwrap(), "my notes");
}

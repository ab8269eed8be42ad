//! Pages of other origins.

use bytes::Bytes;
use http::Method;
use http_body_util::Full;

use crate::support::{Reply, World, send};

const ROUTES: &str = r#"
[[routes]]
path = "/plain"
methods = ["GET", "PUT"]
to = "echo"
[[routes]]
path = "/mine"
to = "echo"
cors = { origins = ["https://b.example"], headers = ["x-one", "authorization"], expose = ["x-total"], credentials = true, max_age = "1h" }
[[routes]]
path = "/all"
to = "echo"
cors = { origins = ["*"], headers = ["*"], methods = ["GET"] }
[[routes]]
path = "/none"
to = "echo"
cors = { origins = [] }
"#;

async fn world() -> World {
    let world = World::new().await;
    let app = evoke_core::id::AppName::new("shop").unwrap();
    let head = crate::support::manifest(&[("echo", "")], &[]);
    let head =
        head.replace("name = \"shop\"", "name = \"shop\"\ncors = { origins = [\"https://a.example\"] }");
    world.engine.deploy(&app, crate::support::bundle(&(head + ROUTES))).await.unwrap();
    world.runtime.script("echo", crate::support::echo);
    world
}

async fn ask(world: &World, method: Method, path: &str, fields: &[(&str, &str)]) -> Reply {
    let request = fields
        .iter()
        .fold(world.to_data(method, path), |request, (name, value)| request.header(*name, *value));
    send(world.data, request.body(Full::<Bytes>::default()).unwrap()).await
}

fn fields(reply: &Reply) -> Vec<String> {
    let named = reply.headers.iter().filter(|(name, _)| name.as_str().starts_with("access-control-"));
    let mut fields: Vec<String> =
        named.map(|(name, value)| format!("{}: {}", &name.as_str()[15..], value.to_str().unwrap())).collect();
    fields.sort();
    fields
}

#[tokio::test]
async fn a_preflight_is_answered_by_the_rules_and_no_function_runs() {
    let world = world().await;
    world.runtime.script("echo", |_| async { panic!("a preflight came to the function") });
    let preflight = async |path: &str, origin: &str, method: &str, asked: &str| {
        let asked = [
            ("origin", origin),
            ("access-control-request-method", method),
            ("access-control-request-headers", asked),
        ];
        let reply = ask(&world, Method::OPTIONS, path, &asked).await;
        assert_eq!(reply.status.as_u16(), 204, "{path}");
        assert!(reply.header("vary").is_some_and(|vary| vary.contains("origin")), "{path}");
        fields(&reply)
    };
    assert_eq!(
        preflight("/plain", "https://a.example", "PUT", "content-type").await,
        [
            "allow-headers: content-type",
            "allow-methods: PUT",
            "allow-origin: https://a.example",
            "max-age: 600"
        ]
    );
    assert_eq!(
        preflight("/mine", "https://b.example", "DELETE", "x-one").await,
        [
            "allow-credentials: true",
            "allow-headers: x-one, authorization",
            "allow-methods: DELETE",
            "allow-origin: https://b.example",
            "max-age: 3600"
        ]
    );
    assert_eq!(
        preflight("/all", "https://x.example", "GET", "x-any, authorization").await,
        ["allow-headers: x-any, authorization", "allow-methods: GET", "allow-origin: *", "max-age: 600"]
    );
    for (path, origin, method) in [
        ("/plain", "https://b.example", "GET"),
        ("/plain", "https://a.example.evil", "GET"),
        ("/plain", "null", "GET"),
        ("/mine", "https://a.example", "GET"),
        ("/all", "https://x.example", "DELETE"),
    ] {
        assert!(preflight(path, origin, method, "x").await.is_empty(), "{path} {origin} {method}");
    }
}

#[tokio::test]
async fn a_page_may_read_what_the_rules_say_whatever_the_function_says() {
    let world = world().await;
    world.runtime.script("echo", |guest| async move {
        let theirs = [("access-control-allow-origin", "*"), ("vary", "accept")];
        crate::support::respond(&guest, 200, &theirs, evoke_core::body::Body::empty()).await;
        crate::support::done()
    });
    let mine = ask(&world, Method::GET, "/mine", &[("origin", "https://b.example")]).await;
    let expected = ["allow-credentials: true", "allow-origin: https://b.example", "expose-headers: x-total"];
    assert_eq!(fields(&mine), expected);
    let vary: Vec<_> = mine.headers.get_all("vary").iter().collect();
    assert_eq!(vary, ["accept", "origin"]);
    for (path, origin) in [("/mine", "https://evil.example"), ("/plain", "https://b.example")] {
        assert!(fields(&ask(&world, Method::GET, path, &[("origin", origin)]).await).is_empty(), "{path}");
    }
    assert!(fields(&ask(&world, Method::GET, "/mine", &[]).await).is_empty());
    // Where a route has no rules, its function has the word.
    let none = ask(&world, Method::GET, "/none", &[("origin", "https://a.example")]).await;
    assert_eq!(fields(&none), ["allow-origin: *"]);
}

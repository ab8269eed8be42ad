//! Routes that send clients elsewhere.

use http::Method;

use crate::support::World;

const ROUTES: &str = r#"
[[routes]]
path = "/old/{id}"
redirect = { to = "https://www.example.com/orders/{id}", status = 308 }
[[routes]]
path = "/docs/{*rest}"
redirect = { to = "/{*rest}" }
[[routes]]
path = "/search/{word}"
redirect = { to = "/find?q={word}", status = 303 }
"#;

#[tokio::test]
async fn a_value_stays_in_the_segment_it_is_put_in_and_cannot_name_another_host() {
    let world = World::new().await;
    world.deploy_routes(ROUTES).await;
    for (path, status, location) in [
        ("/old/7", 308, "https://www.example.com/orders/7"),
        ("/old/7?a=b&c", 308, "https://www.example.com/orders/7?a=b&c"),
        ("/old/a%2Fb%3Fc%23d", 308, "https://www.example.com/orders/a%2Fb%3Fc%23d"),
        ("/old/%0d%0aSet-Cookie:%20a=b", 308, "https://www.example.com/orders/%0D%0ASet-Cookie%3A%20a%3Db"),
        ("/old/.evil.com", 308, "https://www.example.com/orders/.evil.com"),
        ("/docs/a/b%20c", 307, "/a/b%20c"),
        ("/docs//evil.example", 307, "/evil.example"),
        ("/docs/%2F/evil.example", 307, "/evil.example"),
        ("/docs/%5C%5Cevil.example", 307, "/%5C%5Cevil.example"),
        ("/search/a&admin=1", 303, "/find?q=a%26admin%3D1"),
    ] {
        let reply = world.data(Method::GET, path, "").await;
        assert_eq!((reply.status.as_u16(), reply.header("location")), (status, Some(location)), "{path}");
    }
    for path in ["/old/..", "/old/%2e%2e", "/docs/a/../b", "/docs/a%2F..%2Fb", "/docs/..;x/b"] {
        let reply = world.data(Method::GET, path, "").await;
        assert_eq!((reply.status.as_u16(), reply.code().as_str()), (400, "path_refused"), "{path}");
    }
}

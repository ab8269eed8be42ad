use evoke_engine::route::{Destination, NoRoute};

use crate::support::{World, app, bundle, manifest};

#[tokio::test(start_paused = true)]
async fn the_most_specific_path_wins_then_the_method_decides() {
    let world = World::new().await;
    let mut text = manifest(&[("get", ""), ("post", ""), ("new", ""), ("rest", "")]);
    for (path, methods, to) in [
        ("/orders/{id}", "[\"GET\"]", "get"),
        ("/orders/{id}", "[\"POST\"]", "post"),
        ("/orders/new", "[\"GET\"]", "new"),
        ("/files/{*path}", "[]", "rest"),
    ] {
        let methods = if methods == "[]" { String::new() } else { format!("methods = {methods}\n") };
        text += &format!("[[routes]]\npath = {path:?}\n{methods}to = {to:?}\n");
    }
    world.engine.deploy(&app(), bundle(&text)).await.unwrap();
    let to = |method: &str, path: &str| {
        world.engine.route(method, path).map(|found| match found.to {
            Destination::Function(function) => (function.to_string(), found.params),
            other => panic!("{other:?}"),
        })
    };
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(to("GET", "/orders/new"), Ok(("new".to_owned(), vec![])));
    assert_eq!(to("GET", "/orders/a%2Fb"), Ok(("get".to_owned(), vec![pair("id", "a/b")])));
    assert_eq!(to("POST", "/orders/7"), Ok(("post".to_owned(), vec![pair("id", "7")])));
    assert_eq!(to("HEAD", "/orders/7"), Ok(("get".to_owned(), vec![pair("id", "7")])));
    assert_eq!(to("PATCH", "/files/a/b"), Ok(("rest".to_owned(), vec![pair("path", "a/b")])));
    let allowed = ["GET", "HEAD", "POST"].map(str::to_owned).to_vec();
    assert_eq!(to("PUT", "/orders/7"), Err(NoRoute::MethodNotAllowed(allowed)));
    assert_eq!(to("GET", "/nothing"), Err(NoRoute::NotFound));
}

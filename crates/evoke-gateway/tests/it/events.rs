use bytes::Bytes;
use evoke_gateway::api;
use http::{Method, StatusCode};
use http_body_util::Full;
use serde_json::json;

use crate::support::{World, send};

async fn world() -> World {
    let world = World::new().await;
    world.deploy(&[("notify", "on = [{ event = \"order.*\" }]")], &[]).await;
    world
}

#[tokio::test]
async fn events_are_taken_in_all_three_modes() {
    let world = world().await;
    let binary = world
        .to_control(Method::POST, "/v1/apps/shop/events")
        .header("ce-specversion", "1.0")
        .header("ce-id", "b1")
        .header("ce-source", "/test")
        .header("ce-type", "order.paid")
        .header("content-type", "application/json");
    let reply = send(world.control, binary.body(Full::<Bytes>::from("{\"total\":1}")).unwrap()).await;
    assert_eq!(reply.status, StatusCode::ACCEPTED);
    let published: api::Published = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!((published.events[0].id.as_str(), published.events[0].runs.len()), ("b1", 1));

    assert_eq!(world.publish("s1", "order.paid").await["duplicate"], false);
    let again = world.publish("s1", "order.paid").await;
    assert_eq!((&again["duplicate"], again["runs"].as_array().unwrap().len()), (&true.into(), 1));

    let event = |id| json!({ "specversion": "1.0", "id": id, "source": "/test", "type": "other" });
    let batch = json!([event("x1"), event("x2")]).to_string();
    let reply = world.post("/v1/apps/shop/events", "application/cloudevents-batch+json", batch).await;
    let published: api::Published = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(published.events.iter().map(|event| event.id.as_str()).collect::<Vec<_>>(), ["x1", "x2"]);
    assert!(published.events.iter().all(|event| event.runs.is_empty()));
}

#[tokio::test]
async fn events_are_listed_newest_first_in_pages_and_by_type() {
    let world = world().await;
    for n in 0..5 {
        world.publish(&format!("e{n}"), if n % 2 == 0 { "even" } else { "odd" }).await;
    }
    let page: api::EventList =
        serde_json::from_slice(&world.get("/v1/apps/shop/events?limit=2").await.body).unwrap();
    assert_eq!(page.events.iter().map(|stored| stored.event.id()).collect::<Vec<_>>(), ["e4", "e3"]);
    let rest = world.get(&format!("/v1/apps/shop/events?limit=3&before={}", page.next.unwrap())).await;
    let rest: api::EventList = serde_json::from_slice(&rest.body).unwrap();
    assert_eq!(rest.events.iter().map(|stored| stored.event.id()).collect::<Vec<_>>(), ["e2", "e1", "e0"]);
    assert_eq!(rest.next, None);
    let odd: api::EventList =
        serde_json::from_slice(&world.get("/v1/apps/shop/events?type=odd").await.body).unwrap();
    assert_eq!(odd.events.len(), 2);
}

#[tokio::test]
async fn one_event_is_found_by_its_id_whatever_characters_it_has() {
    let world = world().await;
    world.publish("a/b c?ä", "order.paid").await;
    let reply = world.get("/v1/apps/shop/events/a%2Fb%20c%3F%C3%A4").await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    let stored: api::StoredEvent = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!((stored.event.id(), stored.runs.len()), ("a/b c?ä", 1));
    assert!(stored.event.extension_str("correlationid").is_some());
    let reply = world.get("/v1/apps/shop/events/a%2Fb%20c%3F%C3%A4?source=/other").await;
    assert_eq!((reply.status, reply.code().as_str()), (StatusCode::NOT_FOUND, "unknown_event"));
}

//! Events, and the platform API over HTTP.

use evoke_core::body::Body;
use evoke_core::event::Event;
use evoke_core::outcome::FailureCode;
use evoke_core::runtime::Input;
use serde_json::json;

use super::*;

#[tokio::test]
async fn an_event_comes_as_structured_cloudevent_and_is_answered_with_events() {
    let host = Host::start().await;
    let source = "
while True:
    id, _, event = next_invocation()
    if event['id'] == 'none':
        respond(id, b'')
    elif event['id'] == 'bad':
        respond(id, {'hello': 1})
    else:
        respond(id, [{'type': 'seen', 'data': event}, {'type': 'other', 'id': 'own'}])
";
    let mut guest = guest(&host, source).await;
    let outcome = guest.event(event()).await;
    let events = outcome.events();
    assert_eq!((events[0].id(), events[0].ty(), events[1].id()), ("run_01-0", "seen", "own"));
    let seen = serde_json::to_value(&events[0]).unwrap();
    let expected = json!({ "specversion": "1.0", "id": "evt_1", "source": "/shop/checkout", "type": "purchase_complete", "data": { "total": 42 } });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&seen["data"][name], value, "{seen}");
    }
    assert_eq!(seen["source"], "/shop/sample");
    assert!(guest.event(Event::new("none", "/a", "b")).await.events().is_empty());
    let outcome = guest.event(Event::new("bad", "/a", "b")).await;
    assert_eq!(
        outcome.failure().message,
        "the handler returned an object with hello in it: an event is answered with nothing, or with CloudEvents (objects with a \"type\")"
    );
}

#[tokio::test]
async fn the_platform_is_asked_over_http() {
    let host = Host::start().await;
    let source = "
assert os.environ['EVOKE_API'] == 'http://' + API
def handler(payload, fields):
    status, fields, body = call('PUT', '/v1/kv/default/a%2Fb?ttl_ms=5', json.dumps({'n': 1}), {'content-type': 'application/json', 'if-revision': '0'})
    refused, problem, _ = call('GET', '/v1/kv/default/gone')
    return [status, fields['content-type'], json.loads(body), refused, problem['evoke-problem']]
serve(handler)
";
    let mut guest = guest(&host, source).await;
    let platform: Platform = Box::new(|request| match request.method.as_str() {
        "PUT" => json_answer(200, json!({ "revision": 13 })),
        _ => json_answer(404, json!({ "code": "not_found" })),
    });
    let input = Input::Request(request("GET", "/", &[], Body::empty()));
    let outcome = guest.run(input, PATIENCE, platform).await;
    assert_eq!(
        outcome.answer().json(),
        json!([200, "application/json", { "revision": 13 }, 404, "not_found"]),
        "{outcome:#?}"
    );
    let asked = &outcome.asked[0];
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("PUT", "/v1/kv/default/a%2Fb?ttl_ms=5"));
    assert_eq!((&*asked.body, &asked.headers["if-revision"]), (&b"{\"n\": 1}"[..], &"0".parse().unwrap()));
    assert!(!asked.headers.contains_key("host"));
}

#[tokio::test]
async fn nothing_can_be_asked_outside_of_an_invocation() {
    let host = Host::start().await;
    let source = "
early = call('GET', '/v1/kv/default/a')
def handler(payload, fields):
    return [early[0], early[1]['evoke-problem']]
serve(handler)
";
    let outcome = guest(&host, source).await.get("/").await;
    assert_eq!(outcome.answer().json(), json!([503, "unavailable"]));
}

#[tokio::test]
async fn a_shell_script_is_a_bootstrap() {
    let host = Host::start().await;
    let text = r#"#!/bin/sh
set -e
api=http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation
while :; do
  curl -sS -D "$TMPDIR/head" -o "$TMPDIR/event" "$api/next"
  id=$(sed -n 's/^lambda-runtime-aws-request-id: *//Ip' "$TMPDIR/head" | tr -d '\r')
  curl -sS -o /dev/null "$api/$id/response" -d "{\"bytes\": $(wc -c < "$TMPDIR/event"), \"handler\": \"$_HANDLER\"}"
done
"#;
    let mut spec = host.prepare_as(RuntimeKind::Provided, "bootstrap", &[("bootstrap", text)]).await.unwrap();
    spec.handler = Some("app.handler".to_owned());
    let mut guest = host.start_spec(spec).await.unwrap();
    for _ in 0..2 {
        let outcome = guest.get("/").await;
        let told = outcome.answer().json();
        assert!(told["bytes"].as_u64().unwrap() > 100, "{told}");
        assert_eq!(told["handler"], "app.handler");
    }
}

#[tokio::test]
async fn a_failed_answer_to_an_event_is_a_failure() {
    let host = Host::start().await;
    let mut guest = guest(&host, "serve(lambda payload, fields: {'statusCode': 500})").await;
    let outcome = guest.event(event()).await;
    let failure = outcome.failure();
    assert_eq!(failure.code, FailureCode::FunctionError);
    assert_eq!(failure.message, "the handler answered the event with status 500");
}

//! How functions look: each contract once for a request and once for an event.

use crate::support::*;

#[tokio::test]
async fn web_style_javascript_answers_requests() {
    let host = Host::start().await;
    let mut guest = host
        .guest(&[(
            "main.mjs",
            r#"export default {
                async fetch(request, env, ctx) {
                    return new Response(`${request.method} ${new URL(request.url).pathname} ${await request.text()} ${env.COLOUR}`,
                        { status: 201, headers: { "x-a": "b" } });
                },
            };"#,
        )])
        .await;
    let outcome = guest.request(post("/orders/7?x=1", "hello")).await;
    assert_eq!(outcome.answer().text(), "POST /orders/7 hello green");
    assert_eq!(outcome.answer().status, 201);
    assert_eq!(outcome.answer().header("x-a"), Some("b"));
    let outcome = guest.get("/again").await;
    assert_eq!(outcome.answer().text(), "GET /again  green");
}

#[tokio::test]
async fn lambda_style_python_answers_requests() {
    let host = Host::start().await;
    let mut guest = host
        .guest(&[(
            "main.py",
            r#"
import os
def handler(event, context):
    return {"statusCode": 201, "headers": {"X-A": "b"}, "body": f"{event['requestContext']['http']['method']} {event['rawPath']} {event.get('body')} {os.environ['COLOUR']}"}
"#,
        )])
        .await;
    let outcome = guest.request(post("/orders/7?x=1", "hello")).await;
    assert_eq!(outcome.answer().text(), "POST /orders/7 hello green");
    assert_eq!(outcome.answer().status, 201);
    assert_eq!(outcome.answer().header("x-a"), Some("b"));
    let outcome = guest.get("/again").await;
    assert_eq!(outcome.answer().text(), "GET /again None green");
}

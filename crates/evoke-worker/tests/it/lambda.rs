//! Function-URL payload 2.0 and its response rules, the same in both languages.

use bytes::Bytes;

use crate::support::*;

#[tokio::test]
async fn requests_have_the_shape_of_payload_2() {
    let host = Host::start().await;
    let both = [
        ("main.mjs", "export const handler = (event) => event;"),
        ("main.py", "def handler(event, context): return event\n"),
    ];
    for (file, source) in both {
        let mut guest = host.guest(&[(file, source)]).await;
        let mut call = request(
            "POST",
            "/a%20b/c?x=1&x=2&y=%26",
            &[
                ("cookie", "a=1; b=2"),
                ("x-many", "1"),
                ("x-many", "2"),
                ("content-type", "text/plain; charset=utf-8"),
                ("user-agent", "test"),
            ],
            Bytes::from_static("héllo".as_bytes()),
        );
        call.params = vec![("id".to_owned(), "7".to_owned())];
        let mut told = guest.request(call).await.answer().json();
        assert!(told["requestContext"]["timeEpoch"].take().as_u64().unwrap() > 1_700_000_000_000, "{file}");
        let time = told["requestContext"]["time"].take();
        assert_eq!(time.as_str().unwrap().len(), "21/Nov/2026:01:42:00 +0000".len(), "{file}: {time}");
        insta::assert_json_snapshot!("payload", told);
    }
}

#[tokio::test]
async fn bodies_that_are_no_text_are_base64() {
    let host = Host::start().await;
    let both = [
        ("main.mjs", "export const handler = (event) => [event.body ?? null, event.isBase64Encoded];"),
        ("main.py", "def handler(event, context): return [event.get('body'), event['isBase64Encoded']]\n"),
    ];
    for (file, source) in both {
        let mut guest = host.guest(&[(file, source)]).await;
        let mut told = Vec::new();
        for (kind, body) in [
            ("application/octet-stream", &b"abc"[..]),
            ("application/json", b"{}"),
            ("application/problem+json", b"{}"),
            ("text/plain", b"\xff\xfe"),
            ("image/png", b"\x89PNG"),
            ("text/plain", b""),
        ] {
            let outcome = guest
                .request(request("POST", "/", &[("content-type", kind)], Bytes::from_static(body)))
                .await;
            told.push(outcome.answer().text());
        }
        let expected = [
            "[\"YWJj\",true]",
            "[\"{}\",false]",
            "[\"{}\",false]",
            "[\"//4=\",true]",
            "[\"iVBORw==\",true]",
            "[null,false]",
        ];
        assert_eq!(told, expected, "{file}");
    }
}

#[tokio::test]
async fn responses_follow_the_rules_of_function_urls() {
    // What the handler returns (JSON, which both languages can write), status, content type, body.
    let cases = [
        ("\"hello\"", 200, Some("application/json"), "\"hello\""),
        ("{\"a\": [1, null]}", 200, Some("application/json"), "{\"a\":[1,null]}"),
        ("null", 200, Some("application/json"), "null"),
        ("{\"statusCode\": 201, \"body\": \"text\"}", 201, Some("application/json"), "text"),
        (
            "{\"statusCode\": \"404\", \"headers\": {\"Content-Type\": \"text/plain\"}, \"body\": \"no\"}",
            404,
            Some("text/plain"),
            "no",
        ),
        (
            "{\"statusCode\": 200, \"body\": \"aGk=\", \"isBase64Encoded\": true}",
            200,
            Some("application/json"),
            "hi",
        ),
        ("{\"statusCode\": 200, \"body\": {\"a\": 1}}", 200, Some("application/json"), "{\"a\":1}"),
        ("{\"statusCode\": 204}", 204, None, ""),
    ];
    let host = Host::start().await;
    let javascript = "export const handler = (event) => JSON.parse(event.body);";
    let python = "import json\ndef handler(event, context): return json.loads(event['body'])\n";
    for (file, source) in [("main.mjs", javascript), ("main.py", python)] {
        let mut guest = host.guest(&[(file, source)]).await;
        for (result, status, kind, body) in cases {
            let outcome = guest.request(post("/", result)).await;
            let answer = outcome.answer();
            let told = (answer.status, answer.header("content-type"), answer.text());
            assert_eq!(told, (status, kind, body.to_owned()), "{file}: {result}");
        }
        let cookies = "{\"statusCode\": 200, \"cookies\": [\"a=1\", \"b=2\"], \"multiValueHeaders\": {\"X-B\": [\"1\", \"2\"]}}";
        let outcome = guest.request(post("/", cookies)).await;
        let all = |name: &str| {
            outcome
                .answer()
                .headers
                .get_all(name)
                .iter()
                .map(|v| v.to_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            (all("set-cookie"), all("x-b")),
            (vec!["a=1".to_owned(), "b=2".to_owned()], vec!["1".to_owned(), "2".to_owned()])
        );
        let outcome = guest.request(post("/", "{\"statusCode\": 99}")).await;
        assert!(
            outcome
                .failure()
                .message
                .ends_with("the handler returned statusCode 99, which is not within 200 to 599"),
            "{outcome:?}"
        );
    }
}

#[tokio::test]
async fn what_json_does_not_have_is_refused() {
    let host = Host::start().await;
    let cases = [
        (
            "a.mjs",
            "export const handler = () => () => 1;",
            "TypeError: the handler returned a function, which JSON does not have",
        ),
        ("b.mjs", "export const handler = () => 1n;", "TypeError: Do not know how to serialize a BigInt"),
        (
            "c.py",
            "def handler(e, c): return {1, 2}\n",
            "TypeError: a value of type set is not JSON serializable",
        ),
        (
            "d.py",
            "def handler(e, c): return float('nan')\n",
            "ValueError: Out of range float values are not JSON compliant",
        ),
    ];
    for (file, source, message) in cases {
        let outcome = host.guest(&[(file, source)]).await.get("/").await;
        assert!(outcome.failure().message.starts_with(message), "{file}: {}", outcome.failure().message);
    }
}

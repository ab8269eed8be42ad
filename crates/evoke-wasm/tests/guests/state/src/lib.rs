//! A guest of `wasi:http/proxy@0.2` that uses `wasi:keyvalue` and `wasi:config`.

use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

wit_bindgen::generate!({
    inline: "
        package evoke:state;
        world state {
            import wasi:keyvalue/store@0.2.0-draft;
            import wasi:keyvalue/atomics@0.2.0-draft;
            import wasi:keyvalue/batch@0.2.0-draft;
            import wasi:config/store@0.2.0-rc.1;
        }
        package wasi:keyvalue@0.2.0-draft {
            interface store {
                variant error { no-such-store, access-denied, other(string) }
                record key-response { keys: list<string>, cursor: option<u64> }
                open: func(identifier: string) -> result<bucket, error>;
                resource bucket {
                    get: func(key: string) -> result<option<list<u8>>, error>;
                    set: func(key: string, value: list<u8>) -> result<_, error>;
                    delete: func(key: string) -> result<_, error>;
                    exists: func(key: string) -> result<bool, error>;
                    list-keys: func(cursor: option<u64>) -> result<key-response, error>;
                }
            }
            interface atomics {
                use store.{bucket, error};
                increment: func(bucket: borrow<bucket>, key: string, delta: u64) -> result<u64, error>;
            }
            interface batch {
                use store.{bucket, error};
                get-many: func(bucket: borrow<bucket>, keys: list<string>) -> result<list<option<tuple<string, list<u8>>>>, error>;
                set-many: func(bucket: borrow<bucket>, key-values: list<tuple<string, list<u8>>>) -> result<_, error>;
                delete-many: func(bucket: borrow<bucket>, keys: list<string>) -> result<_, error>;
            }
        }
        package wasi:config@0.2.0-rc.1 {
            interface store {
                variant error { upstream(string), io(string) }
                get: func(key: string) -> result<option<string>, error>;
                get-all: func() -> result<list<tuple<string, string>>, error>;
            }
        }
    ",
    generate_all,
});
wasip2::http::proxy::export!(App);

use wasi::config::store as config;
use wasi::keyvalue::{atomics, batch, store};

struct App;

impl wasip2::exports::http::incoming_handler::Guest for App {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let (path, name) = path.split_once('?').unwrap_or((&path, ""));
        let text = match path {
            "/all" => all().unwrap_or_else(|error| format!("{error:?}")),
            "/count" => format!("{:?}", store::open("").and_then(|bucket| atomics::increment(&bucket, "count", 3))),
            "/open" => format!("{:?}", store::open(name).map(drop)),
            _ => format!("{:?}", config::get("COLOUR")),
        };
        let response = OutgoingResponse::new(Fields::new());
        let body = response.body().unwrap();
        ResponseOutparam::set(out, Ok(response));
        body.write().unwrap().blocking_write_and_flush(text.as_bytes()).unwrap();
        OutgoingBody::finish(body, None).unwrap();
    }
}

/// Each function once.
fn all() -> Result<String, store::Error> {
    let bucket = store::open("letters")?;
    let mut said = vec![format!("{:?}", bucket.get("a/b c")?)];
    bucket.set("a/b c", &[1, 2, 3])?;
    said.push(format!("{:?} {}", bucket.get("a/b c")?, bucket.exists("a/b c")?));
    batch::set_many(&bucket, &[("x".to_owned(), b"1".to_vec()), ("y".to_owned(), b"2".to_vec())])?;
    said.push(format!("{:?}", batch::get_many(&bucket, &["x".to_owned(), "none".to_owned()])?));
    let page = bucket.list_keys(None)?;
    said.push(format!("{:?} {:?}", page.keys, page.cursor));
    batch::delete_many(&bucket, &["x".to_owned(), "y".to_owned()])?;
    bucket.delete("a/b c")?;
    said.push(format!("{:?}", bucket.list_keys(None)?.keys));
    Ok(said.join("\n"))
}

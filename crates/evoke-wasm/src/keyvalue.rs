//! `wasi:keyvalue@0.2.0-draft`: the app's key-value state, under the names of the standard.
//!
//! A bucket is a namespace; the one without a name is `default`. Each function is a platform request, so writes are effects of the
//! attempt as any others: seen by itself at once, and by others when it has succeeded.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, Lower, Resource, ResourceType};

use crate::guest::Guest;
use crate::platform::HOST;
use crate::tie::Tie;

/// Entries of one page of keys.
const PAGE: u32 = 1000;
/// Pages that one bucket remembers the begin of.
const PAGES_MAX: usize = 10_000;
/// How often an increment is tried while others write the same key.
const TRIES: u32 = 10;
const REVISION: &str = "evoke-revision";
const IF_REVISION: &str = "if-revision";
const JSON: &str = "application/json";
const BYTES: &str = "application/octet-stream";

/// A namespace, opened.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    namespace: String,
    /// Where pages of keys begin: the standard's cursor is a number.
    pages: Vec<String>,
}

#[derive(Debug, Clone, ComponentType, Lift, Lower)]
#[component(variant)]
enum Error {
    #[component(name = "no-such-store")]
    NoSuchStore,
    #[component(name = "access-denied")]
    AccessDenied,
    #[component(name = "other")]
    Other(String),
}

#[derive(Debug, Clone, ComponentType, Lift, Lower)]
#[component(record)]
struct KeyResponse {
    keys: Vec<String>,
    cursor: Option<u64>,
}

type Store<'a> = StoreContextMut<'a, Guest>;
type Handle = Resource<Bucket>;
type Pair = (String, Vec<u8>);

/// Adds its three interfaces.
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut store = linker.instance("wasi:keyvalue/store@0.2.0-draft")?;
    store.resource("bucket", ResourceType::host::<Bucket>(), |mut store, rep| {
        store.data_mut().table().delete::<Bucket>(Resource::new_own(rep))?;
        Ok(())
    })?;
    store.func_wrap("open", |mut store: Store<'_>, (name,): (String,)| {
        let namespace = if name.is_empty() { "default".to_owned() } else { name };
        if !is_namespace(&namespace) {
            return Ok((Err(Error::NoSuchStore),));
        }
        let bucket = Bucket { namespace, pages: Vec::new() };
        Ok((Ok::<Handle, _>(store.data_mut().table().push(bucket)?),))
    })?;
    store.func_wrap_async("[method]bucket.get", |store: Store<'_>, (bucket, key): (Handle, String)| {
        Box::new(async move {
            Ok((State::of(store, &bucket)?.get(&key).await.map(|got| got.map(|(value, _)| value)),))
        })
    })?;
    store.func_wrap_async(
        "[method]bucket.set",
        |store: Store<'_>, (bucket, key, value): (Handle, String, Vec<u8>)| {
            Box::new(async move { Ok((State::of(store, &bucket)?.set(&key, value).await,)) })
        },
    )?;
    store.func_wrap_async("[method]bucket.delete", |store: Store<'_>, (bucket, key): (Handle, String)| {
        Box::new(async move { Ok((State::of(store, &bucket)?.delete(&key).await,)) })
    })?;
    store.func_wrap_async("[method]bucket.exists", |store: Store<'_>, (bucket, key): (Handle, String)| {
        Box::new(async move { Ok((State::of(store, &bucket)?.get(&key).await.map(|got| got.is_some()),)) })
    })?;
    store.func_wrap_async(
        "[method]bucket.list-keys",
        |mut store: Store<'_>, (handle, cursor): (Handle, Option<u64>)| {
            Box::new(async move {
                let bucket = store.data_mut().table().get(&handle)?;
                let after = cursor.and_then(|at| bucket.pages.get(usize::try_from(at).ok()?.checked_sub(1)?));
                if cursor.is_some() && after.is_none() {
                    return Ok((Err(Error::Other("this bucket has given no such cursor".to_owned())),));
                }
                let after = after.cloned();
                let state = State::of(StoreContextMut::from(&mut store), &handle)?;
                let (keys, next) = match state.keys(after.as_deref()).await {
                    Ok(page) => page,
                    Err(error) => return Ok((Err(error),)),
                };
                let bucket = store.data_mut().table().get_mut(&handle)?;
                let cursor = next.filter(|_| bucket.pages.len() < PAGES_MAX).map(|next| {
                    bucket.pages.push(next);
                    bucket.pages.len() as u64
                });
                Ok((Ok(KeyResponse { keys, cursor }),))
            })
        },
    )?;
    let mut atomics = linker.instance("wasi:keyvalue/atomics@0.2.0-draft")?;
    atomics.func_wrap_async(
        "increment",
        |store: Store<'_>, (bucket, key, delta): (Handle, String, u64)| {
            Box::new(async move { Ok((State::of(store, &bucket)?.increment(&key, delta).await,)) })
        },
    )?;
    let mut batch = linker.instance("wasi:keyvalue/batch@0.2.0-draft")?;
    batch.func_wrap_async("get-many", |store: Store<'_>, (bucket, keys): (Handle, Vec<String>)| {
        Box::new(async move { Ok((State::of(store, &bucket)?.get_many(keys).await,)) })
    })?;
    batch.func_wrap_async("set-many", |store: Store<'_>, (bucket, pairs): (Handle, Vec<Pair>)| {
        Box::new(async move { Ok((State::of(store, &bucket)?.set_many(pairs).await,)) })
    })?;
    batch.func_wrap_async("delete-many", |store: Store<'_>, (bucket, keys): (Handle, Vec<String>)| {
        Box::new(async move { Ok((State::of(store, &bucket)?.delete_many(keys).await,)) })
    })?;
    Ok(())
}

/// What would be a path of its own must not become one.
fn is_namespace(name: &str) -> bool {
    name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// The keys of a namespace.
struct State {
    tie: Arc<Tie>,
    namespace: String,
}

impl State {
    fn of(mut store: Store<'_>, bucket: &Handle) -> wasmtime::Result<Self> {
        let guest = store.data_mut();
        let tie = guest.tie();
        Ok(Self { tie, namespace: guest.table().get(bucket)?.namespace.clone() })
    }

    /// The value and its revision.
    async fn get(&self, key: &str) -> Result<Option<(Vec<u8>, String)>, Error> {
        let answer = self.ask(Method::GET, &self.path(key), HeaderMap::new(), Bytes::new()).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let answer = expect(answer)?;
        let revision = answer.headers().get(REVISION).and_then(|value| value.to_str().ok()).unwrap_or("0");
        let revision = revision.to_owned();
        Ok(Some((answer.into_body().into(), revision)))
    }

    async fn set(&self, key: &str, value: Vec<u8>) -> Result<(), Error> {
        let headers = fields(&[(header::CONTENT_TYPE.as_str(), BYTES)]);
        expect(self.ask(Method::PUT, &self.path(key), headers, value.into()).await?).map(drop)
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        expect(self.ask(Method::DELETE, &self.path(key), HeaderMap::new(), Bytes::new()).await?).map(drop)
    }

    /// Keys in order, and the one to go on after if there are more.
    async fn keys(&self, after: Option<&str>) -> Result<(Vec<String>, Option<String>), Error> {
        #[derive(serde::Deserialize)]
        struct Page {
            entries: Vec<Entry>,
            #[serde(default)]
            next: Option<String>,
        }
        #[derive(serde::Deserialize)]
        struct Entry {
            key: String,
        }
        let after = after.map(|after| format!("&after={}", encoded(after))).unwrap_or_default();
        let path = format!("/v1/kv/{}?limit={PAGE}{after}", self.namespace);
        let answer = expect(self.ask(Method::GET, &path, HeaderMap::new(), Bytes::new()).await?)?;
        let page: Page =
            serde_json::from_slice(answer.body()).map_err(|cause| Error::Other(cause.to_string()))?;
        Ok((page.entries.into_iter().map(|entry| entry.key).collect(), page.next))
    }

    /// Adds to a number in decimal digits, which is a number in JSON as well; an absent one is 0.
    async fn increment(&self, key: &str, delta: u64) -> Result<u64, Error> {
        for _ in 0..TRIES {
            let (value, revision) = match self.get(key).await? {
                Some((value, revision)) => (value, revision),
                None => (b"0".to_vec(), "0".to_owned()),
            };
            let number = std::str::from_utf8(&value).ok().and_then(|text| text.trim().parse::<u64>().ok());
            let number =
                number.ok_or_else(|| Error::Other(format!("the value of {key} is no whole number")))?;
            let sum = number
                .checked_add(delta)
                .ok_or_else(|| Error::Other(format!("{key} would be larger than {}", u64::MAX)))?;
            let headers = fields(&[(header::CONTENT_TYPE.as_str(), JSON), (IF_REVISION, &revision)]);
            let put = self.ask(Method::PUT, &self.path(key), headers, sum.to_string().into()).await?;
            if put.status() != StatusCode::CONFLICT {
                return expect(put).map(|_| sum);
            }
        }
        Err(Error::Other(format!("{key} was changed by others {TRIES} times in a row")))
    }

    async fn get_many(&self, keys: Vec<String>) -> Result<Vec<Option<Pair>>, Error> {
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            let value = self.get(&key).await?;
            found.push(value.map(|(value, _)| (key, value)));
        }
        Ok(found)
    }

    async fn set_many(&self, pairs: Vec<Pair>) -> Result<(), Error> {
        for (key, value) in pairs {
            self.set(&key, value).await?;
        }
        Ok(())
    }

    async fn delete_many(&self, keys: Vec<String>) -> Result<(), Error> {
        for key in keys {
            self.delete(&key).await?;
        }
        Ok(())
    }

    fn path(&self, key: &str) -> String {
        format!("/v1/kv/{}/{}", self.namespace, encoded(key))
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Bytes>, Error> {
        let request = Request::builder().method(method).uri(format!("http://{HOST}{path}")).body(body);
        let mut request = request.map_err(|cause| Error::Other(cause.to_string()))?;
        *request.headers_mut() = headers;
        self.tie.platform.ask(request).await.map_err(|cause| Error::Other(cause.to_string()))
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn fields(all: &[(&'static str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&'static str, &str)| {
        Some((http::HeaderName::from_static(name), http::HeaderValue::from_str(value).ok()?))
    };
    all.iter().filter_map(pair).collect()
}

/// A success, or what the platform says is wrong.
fn expect(answer: Response<Bytes>) -> Result<Response<Bytes>, Error> {
    if answer.status().is_success() {
        return Ok(answer);
    }
    let problem: Option<serde_json::Value> = serde_json::from_slice(answer.body()).ok();
    let detail = problem.as_ref().and_then(|problem| problem["detail"].as_str());
    match answer.status() {
        StatusCode::FORBIDDEN => Err(Error::AccessDenied),
        status => Err(Error::Other(detail.map_or_else(|| status.to_string(), str::to_owned))),
    }
}

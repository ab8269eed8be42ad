//! An instance of a component: fresh for each call, or kept for the next one where the function asks for that.
//!
//! A kept instance belongs to one connection, so it serves calls of one function, one after the other. Whatever goes wrong ends it:
//! nobody knows what it left behind.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use futures_channel::oneshot;
use parking_lot::Mutex;
use tokio::time::Instant;
use wasmtime::{AsContextMut as _, Store};
use wasmtime_wasi_http::handler::{Prepared, Proxy};
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::{WasiBody, WasiHttpView as _};

use crate::failure::Failure;
use crate::guest::Guest;
use crate::meter::Peak;
use crate::output::Output;
use crate::taken::Taken;
use crate::tie::Tie;

/// Calls that one instance serves at most, and how old it may become: what leaks in a guest does so within bounds.
const CALLS_MAX: u32 = 1000;
const AGE_MAX: Duration = Duration::from_secs(600);

/// Where the guest's answer goes.
pub(crate) type To = oneshot::Sender<wasmtime::Result<http::Response<WasiBody>>>;

/// A guest that can be called.
pub(crate) struct Instance {
    store: Store<Guest>,
    proxy: Proxy,
    made: Instant,
    used: Instant,
    calls: u32,
}

/// Where a connection has its instances between calls: the last one used first, so that there are no more than are needed.
#[derive(Default)]
pub(crate) struct Kept(Mutex<VecDeque<Instance>>);

impl Kept {
    /// Keeps no instance for longer without a call; up to twice as long, since it is looked for so often.
    pub const IDLE_MAX: Duration = Duration::from_secs(10);

    /// An instance that is not too old, if there is one.
    pub fn take(&self) -> Option<Instance> {
        loop {
            // Out of the lock: to drop one takes its time.
            let last = self.0.lock().pop_back();
            if last.as_ref().is_none_or(|instance| instance.made.elapsed() < AGE_MAX) {
                return last;
            }
        }
    }

    /// Keeps it for the next call, unless it has had its share.
    pub fn put(&self, mut instance: Instance) {
        if instance.calls < CALLS_MAX {
            instance.used = Instant::now();
            self.0.lock().push_back(instance);
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// Those that were not needed for a while, which are not kept any longer.
    pub fn idle(&self) -> Vec<Instance> {
        let now = Instant::now();
        let mut kept = self.0.lock();
        let is_idle = |instance: &mut Instance| now.duration_since(instance.used) >= Self::IDLE_MAX;
        std::iter::from_fn(|| kept.pop_front_if(is_idle)).collect()
    }

    /// All of them, which are not kept any longer.
    pub fn all(&self) -> Vec<Instance> {
        self.0.lock().drain(..).collect()
    }
}

impl Instance {
    /// One that was just made.
    pub fn new(store: Store<Guest>, proxy: Proxy) -> Self {
        let made = Instant::now();
        Self { store, proxy, made, used: made, calls: 0 }
    }

    /// Another call begins.
    pub fn begin(&mut self, tie: Arc<Tie>, peak: Peak) {
        self.store.data_mut().begin(tie, peak);
    }

    /// Its standard output and error.
    pub fn output(&self) -> [Output; 2] {
        self.store.data().output()
    }

    /// Runs the guest until its answer is made and nothing of it goes on. With `taken`, also until the answer has been read to its
    /// end; false when that does not come.
    pub async fn drive(
        &mut self,
        request: http::Request<WasiBody>,
        to: To,
        taken: Option<&Taken>,
    ) -> Result<bool, Failure> {
        self.calls += 1;
        let driven = match &self.proxy {
            Proxy::P2(proxy) => {
                let store = &mut self.store;
                async {
                    let mut view = store.data_mut().http();
                    let request = view.new_incoming_request(Scheme::Http, request)?;
                    let answer =
                        move |answer: Result<_, wasmtime_wasi_http::p2::bindings::http::types::ErrorCode>| {
                            // Whoever does not wait any more does not need it.
                            let _ = to.send(answer.map_err(Into::into));
                        };
                    let out = view.new_response_outparam_from_callback(answer)?;
                    proxy.wasi_http_incoming_handler().call_handle(store, request, out).await?;
                    Ok(true)
                }
                .await
            }
            proxy @ Proxy::P3(_) => {
                let run = async |accessor: &wasmtime::component::Accessor<Guest>| {
                    let prepared = accessor.with(|mut store| {
                        Prepared::new(store.as_context_mut(), proxy, request, Guest::view, to)
                    })?;
                    prepared.run(accessor, std::future::pending()).await?;
                    // What it does after its answer is part of the call.
                    poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
                    match taken {
                        Some(taken) => Ok(taken.wait().await),
                        None => Ok(true),
                    }
                };
                self.store.run_concurrent(run).await.flatten()
            }
        };
        driven.map_err(|error| Failure::of(&error, &self.store.data().memory))
    }
}

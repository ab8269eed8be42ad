//! An instance of a component: fresh for each call, or kept for the next one where the function asks for that.
//!
//! What runs it is one future for as long as it lives, which is made and moved once, however many calls it serves. A call puts its
//! order on the instance's [`Desk`], and then goes on with that future until the order is served.
//!
//! A kept instance belongs to one connection, so it serves calls of one function, one after the other. Whatever goes wrong ends it:
//! nobody knows what it left behind.

use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_channel::oneshot;
use parking_lot::Mutex;
use tokio::time::Instant;
use wasmtime::component::Accessor;
use wasmtime::{AsContextMut as _, Store};
use wasmtime_wasi_http::handler::{Prepared, Proxy};
use wasmtime_wasi_http::p2;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::{WasiBody, WasiHttpView as _};

use crate::eager::Eager;
use crate::failure::Failure;
use crate::function::Function;
use crate::guest::Guest;
use crate::meter::Peak;
use crate::output::Output;
use crate::tie::Tie;

/// Calls that one instance serves at most, and how old it may become: what leaks in a guest does so within bounds.
const CALLS_MAX: u32 = 1000;
const AGE_MAX: Duration = Duration::from_secs(600);

/// Where the guest's answer goes, and where it comes from.
pub(crate) type To = oneshot::Sender<wasmtime::Result<http::Response<WasiBody>>>;
pub(crate) type Answer = oneshot::Receiver<wasmtime::Result<http::Response<WasiBody>>>;

/// What a guest is asked for in one call.
pub(crate) struct Order {
    pub request: http::Request<WasiBody>,
    pub to: To,
    pub tie: Arc<Tie>,
    pub peak: Peak,
}

/// Between a call and what runs its instance, of which one goes on at a time: nobody has to be woken.
#[derive(Default)]
struct Desk {
    order: Mutex<Option<Order>>,
    is_served: AtomicBool,
}

/// A guest that can be called.
pub(crate) struct Instance {
    /// Ends only when the guest cannot go on. It is taken as far as it goes before somebody looks at its answer, which so is mostly
    /// there as a whole.
    life: Eager<Pin<Box<dyn Future<Output = Failure> + Send>>>,
    desk: Arc<Desk>,
    output: [Output; 2],
    made: Instant,
    calls: u32,
    /// It had no call since somebody looked.
    pub is_idle: bool,
}

impl Instance {
    /// One of `function`, which is made when its first call goes on.
    pub fn new(function: Arc<Function>, output: [Output; 2]) -> Self {
        let desk = Arc::<Desk>::default();
        let life: Pin<Box<dyn Future<Output = _> + Send>> =
            Box::pin(live(function, output.clone(), Arc::clone(&desk)));
        let life = Eager::new(life);
        Self { life, desk, output, made: Instant::now(), calls: 0, is_idle: false }
    }

    /// Another call begins.
    pub fn begin(&mut self, order: Order) {
        self.calls += 1;
        *self.desk.order.lock() = Some(order);
    }

    /// Goes on with the call until its answer is made and nothing of the guest goes on. After a failure it is not to be polled.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        if let Poll::Ready(failure) = Pin::new(&mut self.life).poll(cx) {
            return Poll::Ready(Err(failure));
        }
        if self.desk.is_served.swap(false, Ordering::Relaxed) { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// Its standard output and error.
    pub fn output(&self) -> [Output; 2] {
        self.output.clone()
    }

    /// Whether it may go on living.
    pub fn is_young(&self) -> bool {
        self.made.elapsed() < AGE_MAX
    }

    /// Whether it may have another call.
    pub fn may_serve(&self) -> bool {
        self.calls < CALLS_MAX
    }
}

impl Desk {
    /// What is asked for next.
    async fn order(&self) -> Order {
        poll_fn(|_| self.order.lock().take().map_or(Poll::Pending, Poll::Ready)).await
    }

    /// What was asked for is done, all of it.
    fn served(&self) {
        self.is_served.store(true, Ordering::Relaxed);
    }
}

/// Makes an instance for the first order, and has it serve what comes to its desk.
async fn live(function: Arc<Function>, output: [Output; 2], desk: Arc<Desk>) -> Failure {
    let guest = {
        let first = desk.order.lock();
        let Order { tie, peak, .. } = first.as_ref().expect("an instance is polled for a call");
        function.guest(output, Arc::clone(tie), peak.clone())
    };
    let (mut store, proxy) = match function.instantiate(guest).await {
        Ok(made) => made,
        Err(failure) => return failure,
    };
    let Err(error) = match &proxy {
        Proxy::P2(proxy) => serve_one(&mut store, proxy, &desk).await,
        Proxy::P3(_) => {
            store.run_concurrent(async |accessor| serve(accessor, &proxy, &desk).await).await.flatten()
        }
    };
    Failure::of(&error, &store.data().memory)
}

/// Serves one order: components of WASI 0.2 are not kept.
async fn serve_one(
    store: &mut Store<Guest>,
    proxy: &p2::bindings::Proxy,
    desk: &Desk,
) -> wasmtime::Result<std::convert::Infallible> {
    let Order { request, to, .. } = desk.order().await;
    let mut view = store.data_mut().http();
    let request = view.new_incoming_request(Scheme::Http, request)?;
    let answer = move |answer: Result<_, ErrorCode>| {
        // Whoever does not wait any more does not need it.
        let _ = to.send(answer.map_err(Into::into));
    };
    let out = view.new_response_outparam_from_callback(answer)?;
    proxy.wasi_http_incoming_handler().call_handle(store, request, out).await?;
    desk.served();
    pending().await
}

/// Serves one order after the other.
async fn serve(
    accessor: &Accessor<Guest>,
    proxy: &Proxy,
    desk: &Desk,
) -> wasmtime::Result<std::convert::Infallible> {
    loop {
        let Order { request, to, tie, peak } = desk.order().await;
        let prepared = accessor.with(|mut store| {
            store.data_mut().begin(tie, peak);
            Prepared::new(store.as_context_mut(), proxy, request, Guest::view, to)
        })?;
        prepared.run(accessor, pending()).await?;
        // What it does after its answer is part of the call.
        poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
        desk.served();
    }
}

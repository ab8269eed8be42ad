//! Data at deploy: what a component's own function leaves in its memory becomes part of the component.
//!
//! A component that exports `wizer-initialize: func()` is instantiated here once, that function is called, and the memories it
//! leaves are written back as the component's data. So each instance starts where the function ended: its pages are mapped from the
//! compiled file, and shared until somebody writes to them.

use std::sync::Arc;

use tokio_util::task::TaskTracker;
use wasmparser::{Parser, Payload};
use wasmtime::Store;
use wasmtime::component::{Component, Instance, Lift, WasmList};
use wasmtime_wasi_config::WasiConfigVariables;
use wasmtime_wizer::{ComponentInstanceState, Wizer};

use crate::connection::Common;
use crate::engine::{self, Tasks};
use crate::failure::Failure;
use crate::function;
use crate::guest::Guest;
use crate::lent::Lent;
use crate::meter::{Memory, Peak};
use crate::outbox::Outbox;
use crate::outgoing::Network;
use crate::output::{Output, Stream};
use crate::tie::Tie;
use crate::tls::Tls;

/// The export that is called.
const INIT: &str = "wizer-initialize";
/// Linear memory it may use. The process that compiles has a limit of its own, for this and all that is made of it.
const MEMORY_BYTES: usize = 512 << 20;
/// Bytes of a line of its output, which nobody reads.
const LINE_BYTES: usize = 1024;

/// The component with its data, if it has such a function; otherwise nothing. The error is for the one who wrote it.
pub(crate) fn preloaded(bytes: &[u8]) -> Result<Option<Vec<u8>>, String> {
    if !exports_init(bytes) {
        return Ok(None);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|cause| format!("{INIT} cannot be run: {cause}"))?;
    runtime.block_on(Box::pin(preload(bytes)))
}

/// Whether the component itself exports it. Its modules may have something of that name that is nobody's business: the engines of
/// languages are made with such functions. To find that out by compiling costs ten seconds.
fn exports_init(bytes: &[u8]) -> bool {
    let mut depth = 0;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload {
            Ok(Payload::Version { .. }) => depth += 1,
            Ok(Payload::End(_)) => depth -= 1,
            Ok(Payload::ComponentExportSection(exports)) if depth == 1 => {
                if exports.into_iter().any(|export| export.is_ok_and(|export| export.name.name == INIT)) {
                    return true;
                }
            }
            Ok(_) => {}
            // Whoever compiles it says what is wrong.
            Err(_) => return false,
        }
    }
    false
}

async fn preload(bytes: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let unfit = |cause: wasmtime::Error| format!("{INIT}: the component cannot be preloaded: {cause:#}");
    let mut wizer = Wizer::new();
    wizer.init_func(INIT).keep_init_func(true);
    let (context, instrumented) = wizer.instrument_component(bytes).map_err(unfit)?;
    let engine = engine::preloading().map_err(unfit)?;
    let component = Component::from_binary(&engine, &instrumented).map_err(unfit)?;
    let mut store = Store::new(&engine, guest());
    store.limiter(|guest| &mut guest.memory);
    // The clock of this engine stands still: the process is ended when it takes too long.
    store.set_epoch_deadline(1);
    // Memories are read as lists.
    store.set_hostcall_fuel(usize::MAX);
    let linker = function::linker(&engine, Tasks::Several).map_err(unfit)?;
    let instance = linker.instantiate_async(&mut store, &component).await.map_err(unfit)?;
    let init = instance.get_typed_func::<(), ()>(&mut store, INIT).map_err(unfit)?;
    if let Err(error) = init.call_async(&mut store, ()).await {
        let failure = Failure::of(&error, &store.data().memory);
        return Err(format!("{INIT} failed: {}", failure.words()));
    }
    let mut state = State { store, instance, failed: None };
    let preloaded = wizer.snapshot_component(&context, &mut state).await.map_err(unfit)?;
    match state.failed {
        Some(cause) => Err(unfit(cause)),
        None => Ok(Some(preloaded)),
    }
}

/// What it has of a host: a clock, random numbers, output that nobody reads, and nothing that leads out.
pub(crate) fn guest() -> Guest {
    let outbox = Arc::<Outbox>::default();
    let network = Network { lent: Lent::default(), tls: Tls::new(&[]), tasks: TaskTracker::new() };
    let common = Common::new(Arc::clone(&outbox), Arc::new(network));
    let tie = Tie::new(0, &Arc::new(common), None);
    tie.end();
    let output = [Stream::Stdout, Stream::Stderr]
        .map(|stream| Output::new(stream, 0, Arc::clone(&outbox), LINE_BYTES));
    let memory = Memory::new(MEMORY_BYTES, Peak::default());
    Guest::new(&[], Arc::<WasiConfigVariables>::default(), output, Arc::new(tie), memory)
}

/// The instance, from which its memories and globals are read by functions that were added to it.
struct State {
    store: Store<Guest>,
    instance: Instance,
    failed: Option<wasmtime::Error>,
}

impl State {
    async fn read<R, T>(
        &mut self,
        interface: &str,
        function: &str,
        take: impl FnOnce(&Store<Guest>, R) -> T,
    ) -> Option<T>
    where
        R: Lift + Send + Sync + 'static,
    {
        match self.call(interface, function).await {
            Ok(read) => Some(take(&self.store, read)),
            Err(cause) => {
                self.failed.get_or_insert(cause);
                None
            }
        }
    }

    async fn call<R>(&mut self, interface: &str, function: &str) -> wasmtime::Result<R>
    where
        R: Lift + Send + Sync + 'static,
    {
        let Self { store, instance, .. } = self;
        let missing = || wasmtime::Error::msg(format!("its {interface} has no {function}"));
        let (_, interface_export) = instance.get_export(&mut *store, None, interface).ok_or_else(missing)?;
        let export = instance.get_export(&mut *store, Some(&interface_export), function);
        let (_, export) = export.ok_or_else(missing)?;
        let typed = instance.get_typed_func::<(), (R,)>(&mut *store, export)?;
        Ok(typed.call_async(&mut *store, ()).await?.0)
    }
}

impl ComponentInstanceState for State {
    async fn call_func_ret_list_u8(
        &mut self,
        instance: &str,
        func: &str,
        contents: impl FnOnce(&[u8]) + Send,
    ) {
        self.read(instance, func, |store, list: WasmList<u8>| contents(list.as_le_slice(store))).await;
    }

    async fn call_func_ret_s32(&mut self, instance: &str, func: &str) -> i32 {
        self.read(instance, func, |_, value| value).await.unwrap_or_default()
    }

    async fn call_func_ret_s64(&mut self, instance: &str, func: &str) -> i64 {
        self.read(instance, func, |_, value| value).await.unwrap_or_default()
    }

    async fn call_func_ret_f32(&mut self, instance: &str, func: &str) -> u32 {
        self.read(instance, func, |_, value: f32| value.to_bits()).await.unwrap_or_default()
    }

    async fn call_func_ret_f64(&mut self, instance: &str, func: &str) -> u64 {
        self.read(instance, func, |_, value: f64| value.to_bits()).await.unwrap_or_default()
    }
}

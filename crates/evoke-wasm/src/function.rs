//! A function: its component, loaded from what was compiled at deploy, ready to be instantiated.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime::{Engine, Store, UpdateDeadline};
use wasmtime_wasi_config::WasiConfigVariables;
use wasmtime_wasi_http::handler::{Proxy, ProxyPre};
use wasmtime_wasi_http::{p2, p3};

use crate::engine::{self, Tasks};
use crate::failure::Failure;
use crate::guest::Guest;
use crate::keyvalue;
use crate::meter::{Memory, Peak};
use crate::output::Output;
use crate::tie::Tie;
use crate::wire::Init;

/// Bytes that one call of a host function may copy out of a guest.
const HOSTCALL_BYTES: usize = 16 << 20;
/// Handles of the component model that one instance may have.
const HANDLES_MAX: usize = 65_536;

/// What a component offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contract {
    /// `wasi:http/incoming-handler@0.2`.
    Proxy,
    /// `wasi:http/handler@0.3`.
    Service,
}

impl Contract {
    /// Its name on the wire and for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Proxy => "wasi:http/proxy@0.2",
            Self::Service => "wasi:http/service@0.3",
        }
    }
}

/// Why a component cannot be a function.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("the component exports neither wasi:http/incoming-handler@0.2 nor wasi:http/handler@0.3")]
    NoHandler,
    #[error(
        "reuse = true is for components of wasi:http/handler@0.3, and this is one of wasi:http/incoming-handler@0.2: leave reuse out"
    )]
    Reuse,
    #[error("the component cannot be linked: {0:#}")]
    Link(wasmtime::Error),
    #[error("the compiled component cannot be loaded: {0:#}")]
    Load(wasmtime::Error),
}

/// What components may import, and the engines that run them. Those of WASI 0.2 have one of their own: to be ready for calls that wait at
/// the same time costs each call a quarter of its time, and they have none.
pub(crate) struct Worlds {
    one: Linker<Guest>,
    several: Linker<Guest>,
}

impl Worlds {
    /// For up to `instances` live instances of either.
    pub fn new(instances: u32) -> wasmtime::Result<Self> {
        let of = |tasks| linker(&engine::running(tasks, instances)?, tasks);
        Ok(Self { one: of(Tasks::One)?, several: of(Tasks::Several)? })
    }

    /// Both engines.
    pub fn engines(&self) -> Vec<Engine> {
        [&self.one, &self.several].map(|linker| linker.engine().clone()).into()
    }
}

/// A function that can be called.
pub(crate) struct Function {
    pub init: Init,
    component: Arc<Loaded>,
    /// Its variables, for `wasi:config`.
    config: Arc<WasiConfigVariables>,
}

/// A component that can be instantiated.
struct Loaded {
    contract: Contract,
    engine: Engine,
    pre: ProxyPre<Guest>,
}

/// Components that functions use at the moment, by the path of what was compiled.
#[derive(Default)]
pub(crate) struct Components(Mutex<HashMap<String, Weak<Loaded>>>);

impl Components {
    fn get(&self, worlds: &Worlds, source: &str) -> Result<Arc<Loaded>, LoadError> {
        let mut all = self.0.lock();
        if let Some(loaded) = all.get(source).and_then(Weak::upgrade) {
            return Ok(loaded);
        }
        all.retain(|_, loaded| loaded.strong_count() > 0);
        let loaded = Arc::new(Loaded::new(worlds, Path::new(source))?);
        all.insert(source.to_owned(), Arc::downgrade(&loaded));
        Ok(loaded)
    }
}

impl Loaded {
    fn new(worlds: &Worlds, path: &Path) -> Result<Self, LoadError> {
        // What was compiled for the other engine is refused at once.
        let one = load(worlds.one.engine(), path).map(|component| (&worlds.one, component));
        let loaded = one
            .or_else(|_| load(worlds.several.engine(), path).map(|component| (&worlds.several, component)));
        let (linker, component) = loaded.map_err(LoadError::Load)?;
        let (contract, pre) = link(linker, &component)?;
        Ok(Self { contract, engine: linker.engine().clone(), pre })
    }
}

impl Function {
    /// Loads what [`crate::compile`] has made; once, however many use it.
    pub fn load(components: &Components, worlds: &Worlds, init: Init) -> Result<Self, LoadError> {
        let component = components.get(worlds, &init.source)?;
        if init.reuse && component.contract == Contract::Proxy {
            return Err(LoadError::Reuse);
        }
        let config = Arc::new(init.variables.iter().cloned().collect());
        Ok(Self { init, component, config })
    }

    /// What an instance of it has of the host.
    pub fn guest(&self, output: [Output; 2], tie: Arc<Tie>, peak: Peak) -> Guest {
        let memory_bytes = usize::try_from(self.init.memory_mib << 20).unwrap_or(usize::MAX);
        let memory = Memory::new(memory_bytes, peak);
        Guest::new(&self.init.variables, Arc::clone(&self.config), output, tie, memory)
    }

    /// What it offers.
    pub fn contract(&self) -> Contract {
        self.component.contract
    }

    /// A fresh instance of its component, and where it lives.
    pub async fn instantiate(&self, guest: Guest) -> Result<(Store<Guest>, Proxy), Failure> {
        let mut store = store(&self.component.engine, guest);
        match self.component.pre.instantiate_async(&mut store).await {
            Ok(proxy) => Ok((store, proxy)),
            Err(error) => Err(Failure::of(&error, &store.data().memory)),
        }
    }
}

/// Where an instance lives, with its bounds.
fn store(engine: &Engine, guest: Guest) -> Store<Guest> {
    let mut store = Store::new(engine, guest);
    store.limiter(|guest| &mut guest.memory);
    store.set_hostcall_fuel(HOSTCALL_BYTES);
    store.set_max_component_handles(HANDLES_MAX);
    store.set_epoch_deadline(1);
    // Whoever waits for the call sees to its end in between.
    store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Yield(1)));
    store
}

/// Everything a component may import.
pub(crate) fn linker(engine: &Engine, tasks: Tasks) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    p2::add_only_http_to_linker_async(&mut linker)?;
    keyvalue::add_to_linker(&mut linker)?;
    wasmtime_wasi_config::add_to_linker(&mut linker, |guest| guest.config())?;
    if tasks == Tasks::Several {
        wasmtime_wasi::p3::add_to_linker(&mut linker)?;
        p3::add_to_linker(&mut linker)?;
    }
    Ok(linker)
}

/// Finds the contract of a component, and whether all it imports is there.
pub(crate) fn link(
    linker: &Linker<Guest>,
    component: &Component,
) -> Result<(Contract, ProxyPre<Guest>), LoadError> {
    let engine = linker.engine();
    let ty = component.component_type();
    let contract = ty.exports(engine).find_map(|(name, _)| contract_of(name)).ok_or(LoadError::NoHandler)?;
    let pre: InstancePre<Guest> = linker.instantiate_pre(component).map_err(LoadError::Link)?;
    let pre = match contract {
        Contract::Proxy => ProxyPre::P2(p2::bindings::ProxyPre::new(pre).map_err(LoadError::Link)?),
        Contract::Service => ProxyPre::P3(p3::bindings::ServicePre::new(pre).map_err(LoadError::Link)?),
    };
    Ok((contract, pre))
}

fn contract_of(export: &str) -> Option<Contract> {
    if export.starts_with("wasi:http/incoming-handler@0.2.") {
        Some(Contract::Proxy)
    } else if export.starts_with("wasi:http/handler@0.3.") {
        Some(Contract::Service)
    } else {
        None
    }
}

#[expect(unsafe_code, reason = "compiled code is code: whoever maps it must know where it comes from")]
fn load(engine: &Engine, path: &Path) -> wasmtime::Result<Component> {
    // SAFETY: the host names only files that it wrote itself, from what its own compiler gave it, in a folder that no guest can
    // write to; and it replaces them whole, so that nothing changes under the mapping.
    unsafe { Component::deserialize_file(engine, path) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preload::guest;

    /// What becomes of a component's `run` with this number.
    fn run(component: &str, number: u32) -> wasmtime::Result<u32> {
        let engine = engine::running(Tasks::One, 1)?;
        let component = Component::from_binary(&engine, &wat::parse_str(component).unwrap())?;
        let mut store = store(&engine, guest());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let instance = linker(&engine, Tasks::One)?.instantiate_async(&mut store, &component).await?;
            let run = instance.get_typed_func::<(u32,), (u32,)>(&mut store, "run")?;
            run.call_async(&mut store, (number,)).await.map(|(done,)| done)
        })
    }

    #[test]
    fn handles_to_resources_of_its_own_have_a_bound() {
        let hoards = r#"(component
            (type $thing (resource (rep i32)))
            (core func $new (canon resource.new $thing))
            (core module $hoard
                (import "" "new" (func $new (param i32) (result i32)))
                (func (export "run") (param $wanted i32) (result i32)
                    (local $made i32)
                    (loop $more
                        (drop (call $new (i32.const 7)))
                        (local.set $made (i32.add (local.get $made) (i32.const 1)))
                        (br_if $more (i32.lt_u (local.get $made) (local.get $wanted))))
                    (local.get $made)))
            (core instance $things (export "new" (func $new)))
            (core instance $hoard (instantiate $hoard (with "" (instance $things))))
            (func (export "run") (param "wanted" u32) (result u32) (canon lift (core func $hoard "run"))))"#;
        assert_eq!(run(hoards, 60_000).unwrap(), 60_000);
        assert!(run(hoards, 70_000).is_err());
    }

    #[test]
    fn what_a_host_function_copies_out_of_a_guest_has_a_bound() {
        let asks = r#"(component
            (import "wasi:config/store@0.2.0-rc.1" (instance $config
                (type $error' (variant (case "upstream" string) (case "io" string)))
                (export "error" (type $error (eq $error')))
                (export "get" (func (param "key" string) (result (result (option string) (error $error)))))))
            (core module $memory
                (memory (export "memory") 500)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 64)))
            (core instance $memory (instantiate $memory))
            (core func $get (canon lower (func $config "get")
                (memory $memory "memory") (realloc (func $memory "realloc"))))
            (core module $asks
                (import "" "get" (func $get (param i32 i32 i32)))
                (func (export "run") (param $bytes i32) (result i32)
                    (call $get (i32.const 1024) (local.get $bytes) (i32.const 0))
                    (local.get $bytes)))
            (core instance $from (export "get" (func $get)))
            (core instance $asks (instantiate $asks (with "" (instance $from))))
            (func (export "run") (param "bytes" u32) (result u32) (canon lift (core func $asks "run"))))"#;
        assert_eq!(run(asks, 1 << 20).unwrap(), 1 << 20);
        assert!(run(asks, 20 << 20).is_err());
    }
}

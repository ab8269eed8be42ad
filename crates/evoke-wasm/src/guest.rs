//! What one instance has of the host: its streams, its environment, and one way out.

use std::sync::Arc;

use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

use crate::meter::Memory;
use crate::output::Output;
use crate::platform::{self, Platform};

/// Handles to the host's resources (streams, requests, bodies …) that one instance may have.
const RESOURCES_MAX: usize = 4096;
/// Random bytes at once.
const RANDOM_BYTES: u64 = 1 << 20;
/// Of one set of header fields, as held in memory.
const FIELDS_BYTES: usize = 256 << 10;

/// The data of a store.
pub(crate) struct Guest {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
    ways_out: WaysOut,
    output: [Output; 2],
    pub memory: Memory,
}

impl Guest {
    /// Without files, sockets, arguments or standard input.
    pub fn new(
        variables: &[(String, String)],
        output: [Output; 2],
        platform: Arc<Platform>,
        memory_bytes: usize,
    ) -> Self {
        let [stdout, stderr] = output.clone();
        let mut wasi = WasiCtx::builder();
        wasi.envs(variables).stdout(stdout).stderr(stderr);
        wasi.max_random_size(RANDOM_BYTES).allow_tcp(false).allow_udp(false).allow_ip_name_lookup(false);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(FIELDS_BYTES);
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES_MAX);
        let ways_out = WaysOut { platform };
        Self { wasi: wasi.build(), http, table, ways_out, output, memory: Memory::new(memory_bytes) }
    }

    /// Another call begins in the same instance.
    pub fn begin(&mut self, call: u32, platform: Arc<Platform>) {
        self.output.iter().for_each(|output| output.begin(call));
        self.ways_out.platform = platform;
        self.memory.begin();
    }

    /// Its standard output and error.
    pub fn output(&self) -> [Output; 2] {
        self.output.clone()
    }

    /// For requests the guest is given.
    pub fn view(&mut self) -> WasiHttpCtxView<'_> {
        self.http()
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.ways_out, table: &mut self.table, ctx: &mut self.http }
    }
}

/// Where outgoing requests go.
struct WaysOut {
    platform: Arc<Platform>,
}

/// A response, and what becomes of its connection.
type Answered = (http::Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>);

impl WasiHttpHooks for WaysOut {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        _options: Option<RequestOptions>,
        _processed: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Answered, Error>> + Send> {
        let platform = Arc::clone(&self.platform);
        Box::new(async move {
            if request.uri().host() != Some(platform::HOST) {
                return Err(Error::HttpRequestDenied);
            }
            let response = platform.send(request).await?;
            let done: Box<dyn Future<Output = Result<(), Error>> + Send> =
                Box::new(std::future::ready(Ok(())));
            Ok((response, done))
        })
    }
}

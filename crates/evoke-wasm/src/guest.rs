//! What one instance has of the host: its streams, its environment, and its ways out.

use std::sync::Arc;

use http::HeaderName;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_config::{WasiConfig, WasiConfigVariables};
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpCtx,
    WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

use crate::meter::{Memory, Peak};
use crate::output::Output;
use crate::platform;
use crate::tie::Tie;

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
    config: Arc<WasiConfigVariables>,
    pub memory: Memory,
}

impl Guest {
    /// Without files, sockets, arguments or standard input.
    pub fn new(
        variables: &[(String, String)],
        config: Arc<WasiConfigVariables>,
        output: [Output; 2],
        tie: Arc<Tie>,
        memory: Memory,
    ) -> Self {
        let [stdout, stderr] = output.clone();
        let mut wasi = WasiCtx::builder();
        wasi.envs(variables).stdout(stdout).stderr(stderr);
        wasi.max_random_size(RANDOM_BYTES).allow_tcp(false).allow_udp(false).allow_ip_name_lookup(false);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(FIELDS_BYTES);
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES_MAX);
        Self { wasi: wasi.build(), http, table, ways_out: WaysOut(tie), output, config, memory }
    }

    /// Another call begins in the same instance.
    pub fn begin(&mut self, tie: Arc<Tie>, peak: Peak) {
        self.output.iter().for_each(|output| output.begin(tie.call));
        self.ways_out = WaysOut(tie);
        self.memory.begin(peak);
    }

    /// The host's resources that it has handles to.
    pub fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }

    /// The current call.
    pub fn tie(&self) -> Arc<Tie> {
        Arc::clone(&self.ways_out.0)
    }

    /// For `wasi:config`.
    pub fn config(&self) -> WasiConfig<'_> {
        WasiConfig::from(&*self.config)
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

/// Where outgoing requests of a call go.
pub(crate) struct WaysOut(pub Arc<Tie>);

/// A response, and what becomes of its connection.
type Answered = (http::Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>);

/// What no header field of a guest's requests and answers may be called. In one place, since each use of the constant makes its names.
static FORBIDDEN: [HeaderName; 9] = DEFAULT_FORBIDDEN_HEADERS;

impl WasiHttpHooks for WaysOut {
    fn is_forbidden_header(&mut self, name: &HeaderName) -> bool {
        FORBIDDEN.contains(name)
    }

    /// The same for trailers.
    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        Arc::new(|name| FORBIDDEN.contains(name))
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Answered, Error>> + Send> {
        let tie = Arc::clone(&self.0);
        Box::new(async move {
            let response = if request.uri().host() == Some(platform::HOST) {
                tie.platform.send(request).await?
            } else {
                tie.outgoing.send(request, options).await?
            };
            let done: Box<dyn Future<Output = Result<(), Error>> + Send> =
                Box::new(std::future::ready(Ok(())));
            Ok((response, done))
        })
    }
}

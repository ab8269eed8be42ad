//! An HTTP load generator. In a closed loop, a fixed number of clients, each with one connection and one request at a time:
//! a slow answer slows its client down too, so the rate is what the server sustains at this concurrency, and the
//! latencies are those of an unhurried client. In an open loop (`--open`), a rate that waits for nothing: what the world does.
//!
//! **Bounds:** one `u32` a request is kept, for exact percentiles: 4 MB a million requests.
//!
//! ```sh
//! evoke-load http://127.0.0.1:7070/hello --clients 16 --seconds 5
//! evoke-load http://127.0.0.1:7070/hello --open --rate 5000 --clients 2000   # at most so many connections
//! evoke-load --file /var/tmp --clients 16          # what the disk allows: a plain file with group commit
//! evoke-load --serve 127.0.0.1:7080                # what the network allows: a server that is hyper and nothing else
//! ```

mod client;
mod file;
mod open;
mod report;
mod serve;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Parser;
use http::{HeaderName, HeaderValue, Method, Uri};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::client::{Client, Plan};
use crate::report::Report;

/// Sends the same request again and again, and prints one line of JSON.
#[derive(Debug, Parser)]
struct Options {
    /// Where to: http://HOST:PORT/PATH.
    #[arg(required_unless_present_any = ["file", "serve"], default_value = "")]
    url: String,
    /// Appends records of 1 KiB to a file in this folder instead, one fdatasync for all that wait.
    #[arg(long, value_name = "FOLDER", conflicts_with = "url")]
    file: Option<PathBuf>,
    /// Answers every request with `hello` instead, until it is ended.
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["url", "file"])]
    serve: Option<SocketAddr>,
    /// Requests begin at the rate whatever became of those before; refusals are counted.
    #[arg(long, requires = "rate", conflicts_with = "file")]
    open: bool,
    /// All clients together send no more than this a second.
    #[arg(long)]
    rate: Option<f64>,
    /// Connections, each with one request at a time.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4096))]
    clients: u32,
    /// How long to measure.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// How long to send before measuring.
    #[arg(long, default_value_t = 1.0)]
    warm_up: f64,
    /// Method.
    #[arg(short = 'X', long, default_value = "GET")]
    method: Method,
    /// Header field; `{n}` in its value becomes a text that no other request of this run has, `{t}` the microseconds since
    /// 1970 when it is sent.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// Body.
    #[arg(short, long, default_value = "")]
    data: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("evoke-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> anyhow::Result<String> {
    if let Some(address) = options.serve {
        match serve::hello(address).await? {}
    }
    let clients = options.clients;
    if let Some(folder) = &options.file {
        let from = Instant::now() + Duration::try_from_secs_f64(options.warm_up)?;
        let until = from + Duration::try_from_secs_f64(options.seconds)?;
        return Ok(serde_json::to_string(&file::measure(folder, clients, from, until).await?)?);
    }
    if let Some(rate) = options.rate.filter(|_| options.open) {
        return Ok(serde_json::to_string(&open::measure(options.plan()?, rate, clients).await?)?);
    }
    let report = measure(options.plan()?, clients).await?;
    Ok(serde_json::to_string(&report)?)
}

/// Runs all clients to the end of the plan. The first client that fails ends the measurement.
async fn measure(plan: Plan, clients: u32) -> anyhow::Result<Report> {
    let mut running = JoinSet::new();
    for number in 0..clients {
        let plan = plan.clone();
        running.spawn(async move { Client::connect(plan, number).await?.run().await });
    }
    let mut latencies_us = Vec::new();
    while let Some(done) = running.join_next().await {
        latencies_us.extend(done.context("a client panicked")??);
    }
    Ok(Report::new(clients, plan.until.duration_since(plan.from), latencies_us))
}

impl Options {
    fn plan(self) -> anyhow::Result<Plan> {
        let url: Uri = self.url.parse().with_context(|| format!("{:?} is no URL", self.url))?;
        if url.scheme_str() != Some("http") {
            bail!("{url}: only http:// is spoken");
        }
        let authority = url.authority().with_context(|| format!("{url}: names no host"))?;
        let address = (authority.host().to_owned(), authority.port_u16().unwrap_or(80));
        let now = Instant::now();
        let from = now + Duration::try_from_secs_f64(self.warm_up)?;
        let clients = f64::from(self.clients);
        let pace = self.rate.map(|rate| Duration::try_from_secs_f64(clients / rate)).transpose()?;
        Ok(Plan {
            address,
            host: HeaderValue::from_str(authority.as_str())?,
            path: url.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
            method: self.method,
            headers: self.headers.iter().map(|field| header(field)).collect::<anyhow::Result<_>>()?,
            body: self.data.into(),
            pace: pace.unwrap_or_default(),
            from,
            until: from + Duration::try_from_secs_f64(self.seconds)?,
        })
    }
}

fn header(field: &str) -> anyhow::Result<(HeaderName, String)> {
    let (name, value) = field.split_once(':').with_context(|| format!("header {field:?} has no colon"))?;
    Ok((name.trim().parse()?, value.trim().to_owned()))
}

//! `evoke doctor`: what this machine gives a server, what it does not, and what to do about it.
//!
//! Everything is tried as a server would: the layers of the sandbox by a launcher in throw-away processes, the interpreters
//! by asking them, the disk by writing to it.

mod certificates;

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use evoke_core::limits::Limits;
use evoke_core::manifest::{RuntimeKind, units};
use evoke_core::runtime::Runtime as _;
use evoke_core::time::Clock as _;
use evoke_worker::sandbox::{Machine, RuntimeApi};
use evoke_worker::{Options, ProcessRuntime};
use serde::Serialize;
use tokio::time::Instant;

use crate::cli::DoctorArgs;
use crate::clock::SystemClock;
use crate::exit::{Exit, Result};
use crate::output::table::{Cell, Table};
use crate::output::{self, Format, words};
use crate::serve::{self, failure, memory};
use certificates::Certificate;

/// Syncs that are timed.
const SYNCS: usize = 16;
/// Bytes of each.
const SYNC_BYTES: usize = 4096;

/// What is found.
#[derive(Debug, Serialize)]
struct Report {
    sandbox: Machine,
    programs: Vec<Program>,
    /// Who can reach the runtime API of a function that is a program of its own.
    runtime_api: RuntimeApi,
    data: Data,
    /// Those of files that are named, and those of ACME servers in the data folder.
    certificates: Vec<Certificate>,
    open_files: OpenFiles,
    /// What a server sets aside unless it is told otherwise.
    instances: Instances,
}

#[derive(Debug, Serialize)]
struct Instances {
    count: usize,
    memory_bytes: u64,
}

#[derive(Debug, Serialize)]
struct Program {
    runtime: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// How instances come about: `forked`, or `started_ahead`.
    #[serde(skip_serializing_if = "Option::is_none")]
    instances: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why_not_forked: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why_not: Option<String>,
}

#[derive(Debug, Serialize)]
struct Data {
    path: PathBuf,
    exists: bool,
    /// Median and worst of a few.
    #[serde(skip_serializing_if = "Option::is_none")]
    fsync_us: Option<[u64; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why_not: Option<String>,
}

#[derive(Debug, Serialize)]
struct OpenFiles {
    soft: Option<u64>,
    hard: Option<u64>,
}

/// Looks, and prints what was found. Fails when no function could run at all, or a server would not start.
pub async fn run(args: &DoctorArgs, format: Format) -> Result {
    let report = examine(args).await?;
    let works = report.data.why_not.is_none()
        && report.programs.iter().any(|program| program.path.is_some())
        && !report.certificates.iter().any(Certificate::keeps_from_starting);
    if format.is_json() {
        output::json(&report)?;
    } else {
        print(&report)?;
    }
    Ok(if works { Exit::Done } else { Exit::Failed })
}

async fn examine(args: &DoctorArgs) -> Result<Report> {
    let certificates = certificates::look_at(&args.certificates, &args.data, SystemClock.now())?;
    let scratch = std::env::temp_dir().join(format!("evoke-doctor-{}", std::process::id()));
    let options = Options::new(&scratch, serve::launcher()?);
    let runtime = ProcessRuntime::start(options).await.map_err(failure::runtime)?;
    let mut found = Vec::new();
    for (kind, program) in runtime.interpreters().await {
        found.push((kind, program, runtime.forks(kind).await));
    }
    let machine = runtime.machine();
    runtime.shutdown().await;
    let _ = std::fs::remove_dir_all(&scratch);
    let programs = found.into_iter().map(|(kind, found, forks)| {
        let runtime = kind.as_str();
        match found {
            Ok((path, (major, minor))) => Program {
                runtime,
                path: Some(path),
                version: Some(format!("{major}.{minor}")),
                instances: Some(if forks.is_ok() { "forked" } else { "started_ahead" }),
                why_not_forked: forks.err(),
                why_not: None,
            },
            Err(why) => Program {
                runtime,
                path: None,
                version: None,
                instances: None,
                why_not_forked: None,
                why_not: Some(why),
            },
        }
    });
    let limits = evoke_worker::open_files();
    let sandbox = machine.expect("the runtime has been started and not yet shut down");
    Ok(Report {
        runtime_api: sandbox.runtime_api(),
        sandbox,
        programs: programs.collect(),
        data: look_at(&args.data),
        certificates,
        open_files: OpenFiles { soft: limits.0, hard: limits.1 },
        instances: Instances { count: Limits::default().instances, memory_bytes: memory::for_instances() },
    })
}

/// Where the folder is not there yet, its disk is tried in the nearest one that is.
fn look_at(path: &Path) -> Data {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let there = absolute.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/"));
    let (fsync_us, why_not) = match time_syncs(there) {
        Ok(times) => (Some(times), None),
        Err(cause) => (None, Some(format!("{} cannot be written: {cause}", there.display()))),
    };
    Data { exists: absolute.is_dir(), path: absolute, fsync_us, why_not }
}

fn time_syncs(folder: &Path) -> std::io::Result<[u64; 2]> {
    let path = folder.join(format!(".evoke-doctor-{}", std::process::id()));
    let timed = File::create_new(&path).and_then(|mut file| {
        let mut times = Vec::with_capacity(SYNCS);
        for _ in 0..SYNCS {
            let began = Instant::now();
            file.write_all(&[0; SYNC_BYTES])?;
            file.sync_data()?;
            times.push(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
        }
        times.sort_unstable();
        Ok([times[SYNCS / 2], times[SYNCS - 1]])
    });
    let _ = std::fs::remove_file(path);
    timed
}

fn print(report: &Report) -> Result<()> {
    let mut layers = Table::new(&["SANDBOX", "ENFORCED", "WHAT IT DOES, OR WHY IT DOES NOT"]);
    for layer in &report.sandbox.layers {
        let enforced =
            if layer.enforced { Cell::styled("yes", words::GOOD) } else { Cell::styled("no", words::BAD) };
        let text = match (&layer.why_not, &layer.fix) {
            (Some(why), Some(fix)) => format!("{why}; to change it: {fix}"),
            (Some(why), None) => why.clone(),
            (None, _) => layer.purpose.clone(),
        };
        layers.row([Cell::styled(layer.name.as_str(), words::NAME), enforced, text.into()]);
    }
    layers.print("")?;
    output::line("")?;
    certificates::print(&report.certificates)?;
    let mut machine = Table::new(&["MACHINE", "", ""]);
    for program in &report.programs {
        let version = program.version.clone().unwrap_or_else(|| "none".to_owned());
        let how = match &program.why_not_forked {
            Some(why) => format!("instances are started ahead, not forked: {why}"),
            None => "instances are forked".to_owned(),
        };
        let place = program.path.as_ref().map(|path| format!("{}; {how}", path.display()));
        let text = place.or_else(|| program.why_not.clone()).unwrap_or_default();
        machine.row([Cell::styled(program.runtime, words::NAME), version.into(), text.into()]);
    }
    let reach = match report.runtime_api {
        RuntimeApi::Namespace => "any executable; its runtime API is in its own network",
        RuntimeApi::FunctionUser => {
            "any executable; its runtime API is on the machine's loopback, for processes of its own user"
        }
        RuntimeApi::ServerUser => {
            "any executable; its runtime API is on the machine's loopback, for every process of this user"
        }
    };
    machine.row([Cell::styled(RuntimeKind::Provided.as_str(), words::NAME), "".into(), reach.into()]);
    let data = &report.data;
    let exists = if data.exists { "there" } else { "not made yet" };
    machine.row([Cell::styled("data", words::NAME), exists.into(), data.path.display().to_string().into()]);
    let sync = match (data.fsync_us, &data.why_not) {
        (Some([median, worst]), _) => {
            let [median, worst] = [median, worst].map(|us| words::duration(Duration::from_micros(us)));
            [median, format!("to write {SYNC_BYTES} bytes through to the disk; {worst} at worst")]
        }
        (None, why) => ["none".to_owned(), why.clone().unwrap_or_default()],
    };
    let [cost, text] = sync;
    machine.row([Cell::styled("fsync", words::NAME), cost.into(), text.into()]);
    let cgroups = match &report.sandbox.cgroups {
        Some(version) => [format!("version {version}"), String::new()],
        None => [
            "none".to_owned(),
            "memory is bounded for each process alone; what calls use is measured without child processes"
                .to_owned(),
        ],
    };
    let [version, text] = cgroups;
    machine.row([Cell::styled("cgroups", words::NAME), version.into(), text.into()]);
    let limit = |value: Option<u64>| value.map_or("unlimited".to_owned(), |value| value.to_string());
    let most = format!("can be raised to {}", limit(report.open_files.hard));
    machine.row([Cell::styled("open files", words::NAME), limit(report.open_files.soft).into(), most.into()]);
    let Instances { count, memory_bytes } = report.instances;
    let text = format!(
        "share {} by their limits; --instances and --instance-memory change it",
        rounded(memory_bytes)
    );
    machine.row([Cell::styled("instances", words::NAME), count.to_string().into(), text.into()]);
    machine.print("")?;
    Ok(())
}

/// In whole MiB: an odd number of bytes says nothing to anybody.
fn rounded(bytes: u64) -> String {
    units::format_bytes(bytes >> 20 << 20)
}

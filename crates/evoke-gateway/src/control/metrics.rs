//! What functions used, for a Prometheus server: counters since the server started.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use evoke_engine::Spent;
use http::header::{CONTENT_TYPE, HeaderValue};

use crate::gateway::Shared;

/// The text format of version 0.0.4.
const FORMAT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// A name, its type, what it is, and its value.
type Metric = (&'static str, &'static str, &'static str, fn(&Spent) -> Option<f64>);

const METRICS: [Metric; 6] = [
    ("evoke_function_attempts_total", "counter", "Attempts that have ended.", |spent| {
        Some(spent.attempts as f64)
    }),
    (
        "evoke_function_unmeasured_attempts_total",
        "counter",
        "Attempts of which the processor time is not known.",
        |spent| Some(spent.unmeasured as f64),
    ),
    ("evoke_function_run_seconds_total", "counter", "Time that attempts ran.", |spent| {
        Some(seconds(spent.ran_us))
    }),
    ("evoke_function_cpu_seconds_total", "counter", "Processor time of attempts.", |spent| {
        Some(seconds(spent.cpu_us))
    }),
    (
        "evoke_function_idle_cpu_seconds_total",
        "counter",
        "Processor time of instances without a call: loading, and between calls.",
        |spent| Some(seconds(spent.idle_cpu_us)),
    ),
    (
        "evoke_function_peak_memory_bytes",
        "gauge",
        "Most memory of an instance during an attempt since the server started.",
        |spent| spent.peak_memory_bytes.map(|bytes| bytes as f64),
    ),
];

/// What functions used, in the text format of Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "server", operation_id = "metrics",
    responses((status = 200, body = String, content_type = "text/plain")))]
pub(super) async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let all = shared.engine.spent_by_all();
    let mut text = String::new();
    for (name, ty, help, value) in METRICS {
        // Writing to a text does not fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {ty}");
        for (app, function, spent) in &all {
            // Names have no character that would need an escape.
            if let Some(value) = value(spent) {
                let _ = writeln!(text, "{name}{{app=\"{app}\",function=\"{function}\"}} {value}");
            }
        }
    }
    ([(CONTENT_TYPE, FORMAT)], text).into_response()
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

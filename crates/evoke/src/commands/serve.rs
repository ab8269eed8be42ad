//! `evoke serve`: the server, until SIGTERM or Ctrl-C.

use serde_json::json;

use crate::cli::{ListenArgs, ServeArgs};
use crate::exit::{Exit, Result};
use crate::output::{self, Format};
use crate::serve::{self, Server};
use crate::signals::Signals;

/// Serves until it is told to stop.
pub async fn run(args: ServeArgs, format: Format) -> Result {
    serve::log_to_stderr()?;
    let mut signals = Signals::listen()?;
    let ListenArgs { listen, admin, grace, sandbox, egress_allow, ca_file, instances, instance_memory, keep } =
        args.listen;
    let options = serve::Options {
        data: args.data,
        listen,
        admin,
        grace,
        tell_failures: false,
        sandbox: sandbox.into(),
        egress_allow,
        ca_file,
        instances,
        instance_memory,
        retention: keep.into(),
    };
    let server = tokio::select! {
        started = Server::start(options) => started?,
        () = signals.next() => return Ok(Exit::Done),
    };
    announce(&server, format);
    tokio::select! {
        () = signals.next() => stop(server, grace, &mut signals, format).await,
        // Nothing more can become durable: whoever starts it again is sooner back at work than by any end in order.
        error = server.failed() => Err(error),
    }
}

/// One line per listener, now that both are ready. A reader of stdout that went away does not stop a server.
pub fn announce(server: &Server, format: Format) {
    for (name, url) in [("data", &server.listeners().data), ("admin", &server.listeners().admin)] {
        let _ = match format {
            Format::Text => output::line(format_args!("evoke: {name} listener ready on {url}")),
            Format::Json => output::json(&json!({ "kind": "ready", "listener": name, "url": url })),
        };
    }
}

/// Ends the server in order; another signal ends it at once.
pub async fn stop(
    server: Server,
    grace: std::time::Duration,
    signals: &mut Signals,
    format: Format,
) -> Result {
    format.talk(format_args!("evoke: finishing what runs, for at most {grace:?}; once more to end at once"));
    tokio::select! {
        stopped = server.stop() => stopped.map(|()| Exit::Done),
        () = signals.next() => Ok(Exit::Interrupted),
    }
}

//! `evoke serve`: the server, until SIGTERM or Ctrl-C.

use serde_json::json;

use crate::cli::{ListenArgs, ServeArgs};
use crate::exit::{Exit, Result};
use crate::output::{self, Format};
use crate::serve::{self, Server};
use crate::signals::{HangUps, Signals};

/// Serves until it is told to stop.
pub async fn run(args: ServeArgs, format: Format) -> Result {
    serve::log_to_stderr()?;
    let (mut signals, mut hang_up) = (Signals::listen()?, HangUps::listen()?);
    let ListenArgs {
        listen,
        admin,
        grace,
        sandbox,
        egress_allow,
        ca_file,
        instances,
        instance_memory,
        call_threads,
        keep,
        edge,
    } = args.listen;
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
        call_threads,
        retention: keep.into(),
        edge,
    };
    let server = tokio::select! {
        started = Server::start(options) => started?,
        () = signals.next() => return Ok(Exit::Done),
    };
    announce(&server, format);
    let ended = tokio::select! {
        () = signals.next() => None,
        // Nothing more can become durable: whoever starts it again is sooner back at work than by any end in order.
        error = server.failed() => Some(error),
        never = hang_ups(&server, &mut hang_up) => match never {},
    };
    match ended {
        None => stop(server, grace, &mut signals, format).await,
        Some(error) => Err(error),
    }
}

/// SIGHUP: what the server reads from files, it reads again.
async fn hang_ups(server: &Server, signals: &mut HangUps) -> std::convert::Infallible {
    loop {
        signals.next().await;
        server.reload();
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

//! What the server says about itself: lines on stderr, chosen by `EVOKE_LOG`.

use anstream::{AutoStream, ColorChoice};
use tracing_subscriber::EnvFilter;

use crate::exit::{Error, Result};

const VARIABLE: &str = "EVOKE_LOG";
const DEFAULT: &str = "warn";

/// Starts to write; call it once. `EVOKE_LOG` is a level, or a list such as `warn,evoke_engine=debug`.
pub fn to_stderr() -> Result<()> {
    let wanted = std::env::var(VARIABLE).ok().filter(|wanted| !wanted.is_empty());
    let filter = EnvFilter::try_new(wanted.as_deref().unwrap_or(DEFAULT)).map_err(|cause| {
        Error::usage(format!("{VARIABLE}={:?}: {cause}", wanted.unwrap_or_default())).help(
            "write a level (error, warn, info, debug, trace), or a list such as warn,evoke_engine=debug",
        )
    })?;
    let colours = AutoStream::choice(&std::io::stderr()) != ColorChoice::Never;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .try_init()
        .map_err(|cause| Error::failed("log", format!("the log cannot be set up: {cause}")))
}

/// Says how the store is brought to the present format; the last word of each step only.
pub fn migration(progress: evoke_store::Progress) {
    let evoke_store::Progress { from, to, step, durable } = progress;
    if durable {
        tracing::warn!(from, to, step, "the store is brought to a newer format");
    }
}

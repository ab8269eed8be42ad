//! `evoke completions`: what a shell has to know.

use clap::CommandFactory as _;
use serde_json::json;

use crate::cli::{Cli, CompletionsArgs};
use crate::exit::{Exit, Result};
use crate::output::{self, Format};

/// Prints the script.
pub fn run(args: &CompletionsArgs, format: Format) -> Result {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut visible(), "evoke", &mut script);
    if format.is_json() {
        output::json(
            &json!({ "shell": args.shell.to_string(), "script": String::from_utf8_lossy(&script) }),
        )?;
    } else {
        output::raw(&script)?;
    }
    Ok(Exit::Done)
}

/// The command line without what is hidden, which a shell would offer all the same.
fn visible() -> clap::Command {
    let all = Cli::command();
    clap::Command::new("evoke")
        .version(env!("CARGO_PKG_VERSION"))
        .args(all.get_arguments().cloned())
        .subcommands(all.get_subcommands().filter(|command| !command.is_hide_set()).cloned())
}

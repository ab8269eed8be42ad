//! Asking before something is gone for good.

use std::io::{IsTerminal as _, Write as _};

use crate::exit::{Error, Result};

/// Asks whoever sits there whether to do `what`; a script says `--yes`. `shows` is what `--dry-run` is good for, `nothing` what was
/// done when nobody agrees.
pub fn agree(what: &str, shows: &str, nothing: &str) -> Result<()> {
    if !std::io::stdin().is_terminal() {
        return Err(Error::usage(format!("nobody is here to be asked whether to {what}"))
            .help(format!("add --yes; --dry-run shows {shows}")));
    }
    let mut to = std::io::stderr();
    write!(to, "{what}? [y/N] ")?;
    to.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Error::failed("not_agreed", nothing)),
    }
}

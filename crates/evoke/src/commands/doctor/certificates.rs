//! The certificates of a server: those of files, and what is kept of ACME servers. Read as the server would.

use std::path::{Path, PathBuf};

use evoke_core::time::Timestamp;
use evoke_gateway::tls::files::{Certified, SOON, TlsError};
use evoke_gateway::tls::kept;
use serde::Serialize;

use crate::cli::CertificateArgs;
use crate::exit::Result;
use crate::output::table::{Cell, Table};
use crate::output::words;
use crate::serve::front;

/// A certificate, or why it is none.
#[derive(Debug, Serialize)]
pub struct Certificate {
    from: Origin,
    path: PathBuf,
    state: State,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    names: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_until: Option<String>,
    /// When a server gets the next one; only of those of ACME servers.
    #[serde(skip_serializing_if = "Option::is_none")]
    renewed_from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why_not: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Origin {
    File,
    Acme,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Good,
    /// Of an ACME server, and a server should have got the next one by now.
    Due,
    /// Its time ends within two weeks; of an ACME server only when it is due.
    Soon,
    Over,
    NotYet,
    /// Of an ACME server, which has issued none so far.
    Missing,
    Unusable,
}

/// Those of `--tls-cert` and those in the data folder.
pub fn look_at(args: &CertificateArgs, data: &Path, now: Timestamp) -> Result<Vec<Certificate>> {
    let mut found: Vec<Certificate> = front::pairs(args)?
        .into_iter()
        .map(|pair| {
            let read = pair.read();
            Certificate::of(Origin::File, pair.chain, Some(read), now)
        })
        .collect();
    let folder = data.join("acme");
    match kept(&folder) {
        Ok(kept) => found.extend(
            kept.into_iter().map(|kept| Certificate::of(Origin::Acme, kept.path, kept.certificate, now)),
        ),
        Err(cause) => found.push(Certificate {
            why_not: Some(format!("{}: {cause}", folder.display())),
            ..Certificate::without(Origin::Acme, folder, State::Unusable)
        }),
    }
    Ok(found)
}

impl Certificate {
    fn of(
        from: Origin,
        path: PathBuf,
        read: Option<std::result::Result<Certified, TlsError>>,
        now: Timestamp,
    ) -> Self {
        match read {
            None => Self::without(from, path, State::Missing),
            Some(Err(error)) => {
                Self { why_not: Some(error.to_string()), ..Self::without(from, path, State::Unusable) }
            }
            Some(Ok(certified)) => Self {
                names: certified.names.clone(),
                valid_from: Some(certified.from.to_rfc3339()),
                valid_until: Some(certified.until.to_rfc3339()),
                renewed_from: (from == Origin::Acme).then(|| certified.renewed_at().to_rfc3339()),
                ..Self::without(from, path, State::of(from, &certified, now))
            },
        }
    }

    fn without(from: Origin, path: PathBuf, state: State) -> Self {
        Self {
            from,
            path,
            state,
            names: Vec::new(),
            valid_from: None,
            valid_until: None,
            renewed_from: None,
            why_not: None,
        }
    }

    /// Whether a server that is given it does not start.
    pub fn keeps_from_starting(&self) -> bool {
        self.state == State::Unusable
    }
}

impl State {
    fn of(from: Origin, certified: &Certified, now: Timestamp) -> Self {
        if now >= certified.until {
            Self::Over
        } else if now < certified.from {
            Self::NotYet
        } else if from == Origin::Acme {
            if now >= certified.renewed_at() { Self::Due } else { Self::Good }
        } else if certified.until.since(now) < SOON {
            Self::Soon
        } else {
            Self::Good
        }
    }
}

/// Prints them, where there are some.
pub fn print(certificates: &[Certificate]) -> Result<()> {
    if certificates.is_empty() {
        return Ok(());
    }
    let mut table = Table::new(&["CERTIFICATE", "STATE", ""]);
    for one in certificates {
        let (state, style) = match one.state {
            State::Good => ("good", words::GOOD),
            State::Due => ("due", words::BAD),
            State::Soon => ("ends soon", words::BAD),
            State::Over => ("ended", words::BAD),
            State::NotYet => ("not yet valid", words::BAD),
            State::Missing => ("none yet", words::BAD),
            State::Unusable => ("unusable", words::BAD),
        };
        let text = match (&one.why_not, &one.valid_from, &one.valid_until) {
            (Some(why), ..) => why.clone(),
            (None, Some(from), Some(until)) => {
                let names = if one.names.is_empty() { "no name".to_owned() } else { one.names.join(", ") };
                let renewed = one.renewed_from.as_ref();
                let renewed = renewed.map(|at| format!("; the next is got from {at} on")).unwrap_or_default();
                format!("for {names}; from {from} until {until}{renewed}")
            }
            _ => "the log of the server says why; a server with --acme-domain gets one".to_owned(),
        };
        table.row([
            Cell::styled(one.path.display().to_string(), words::NAME),
            Cell::styled(state, style),
            text.into(),
        ]);
    }
    table.print("")?;
    crate::output::line("")?;
    Ok(())
}

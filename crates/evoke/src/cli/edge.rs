//! How clients reach a server, as types: TLS, proxies, and how patient it is.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use evoke_core::egress::Cidr;
use evoke_gateway::tls::Oldest;
use evoke_gateway::{Bounds, Pace};

use super::{parse_duration, parse_size};

/// Certificates in files.
#[derive(Debug, Clone, Args)]
pub struct CertificateArgs {
    /// Certificate chain in PEM form, with which the data listener speaks TLS; may be given several times, each for its names.
    #[arg(long, value_name = "FILE", env = "EVOKE_TLS_CERT", value_delimiter = ',', help_heading = "TLS")]
    pub tls_cert: Vec<PathBuf>,

    /// The private key of each --tls-cert, in the same order [default: in the same file].
    #[arg(long, value_name = "FILE", env = "EVOKE_TLS_KEY", value_delimiter = ',', help_heading = "TLS")]
    pub tls_key: Vec<PathBuf>,
}

/// What stands between a client and the listeners.
#[derive(Debug, Clone, Args)]
pub struct EdgeArgs {
    /// Certificates.
    #[command(flatten)]
    pub certificates: CertificateArgs,

    /// Oldest version of TLS that is spoken.
    #[arg(
        long,
        value_name = "1.2|1.3",
        value_enum,
        hide_possible_values = true,
        default_value = "1.2",
        help_heading = "TLS"
    )]
    pub tls_min: TlsArg,

    /// Address of a listener without TLS that sends clients to https, and answers ACME servers.
    #[arg(long, value_name = "ADDR", env = "EVOKE_TLS_REDIRECT", help_heading = "TLS")]
    pub tls_redirect: Option<SocketAddr>,

    /// Name to get a certificate for from an ACME server, whose terms of service are agreed to with that; may be given several
    /// times.
    #[arg(long, value_name = "NAME", env = "EVOKE_ACME_DOMAIN", value_delimiter = ',', help_heading = "TLS")]
    pub acme_domain: Vec<String>,

    /// Where the ACME server may write to; may be given several times.
    #[arg(
        long,
        value_name = "EMAIL",
        env = "EVOKE_ACME_CONTACT",
        value_delimiter = ',',
        help_heading = "TLS"
    )]
    pub acme_contact: Vec<String>,

    /// The ACME server: letsencrypt, letsencrypt-staging, or the URL of a directory.
    #[arg(
        long,
        value_name = "URL",
        env = "EVOKE_ACME_DIRECTORY",
        default_value = "letsencrypt",
        help_heading = "TLS"
    )]
    pub acme_directory: String,

    /// Certificate authorities that the ACME server's own certificate may come from besides the system's, in PEM form.
    #[arg(long, value_name = "FILE", env = "EVOKE_ACME_CA_FILE", help_heading = "TLS")]
    pub acme_ca_file: Option<PathBuf>,

    /// Networks of proxies in front, whose word is taken for who the client is and what it speaks; may be given several times.
    #[arg(
        long,
        value_name = "CIDR",
        env = "EVOKE_TRUSTED_PROXY",
        value_delimiter = ',',
        help_heading = "Clients"
    )]
    pub trusted_proxy: Vec<Cidr>,

    /// Connections of the data listener. A further one takes the place of the one that is idle for longest, or waits.
    #[arg(long, value_name = "COUNT", env = "EVOKE_CONNECTIONS", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..=1_000_000), help_heading = "Clients")]
    pub connections: u32,

    /// Connections of one client address (of IPv6: of one /64). A further one is closed.
    #[arg(long, value_name = "COUNT", env = "EVOKE_CLIENT_CONNECTIONS", default_value_t = 2048, value_parser = clap::value_parser!(u32).range(1..=1_000_000), help_heading = "Clients")]
    pub client_connections: u32,

    /// How long a client may take for the head of a request, and be silent between two over HTTP/1.
    #[arg(long, value_name = "DURATION", env = "EVOKE_HEAD_TIMEOUT", default_value = "30s", value_parser = parse_duration, help_heading = "Clients")]
    pub head_timeout: Duration,

    /// How long a connection may be without a request.
    #[arg(long, value_name = "DURATION", env = "EVOKE_IDLE_TIMEOUT", default_value = "60s", value_parser = parse_duration, help_heading = "Clients")]
    pub idle_timeout: Duration,

    /// How long a body that has to be there whole before a call may take.
    #[arg(long, value_name = "DURATION", env = "EVOKE_BODY_TIMEOUT", default_value = "60s", value_parser = parse_duration, help_heading = "Clients")]
    pub body_timeout: Duration,

    /// How much a client has to send of a body, and read of an answer, in a second; 0B for nothing.
    #[arg(long, value_name = "SIZE", env = "EVOKE_MIN_RATE", default_value = "240B", value_parser = parse_size, help_heading = "Clients")]
    pub min_rate: u64,

    /// How long a client may be slower than that at first.
    #[arg(long, value_name = "DURATION", env = "EVOKE_MIN_RATE_GRACE", default_value = "10s", value_parser = parse_duration, help_heading = "Clients")]
    pub min_rate_grace: Duration,
}

/// What `--tls-min` can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TlsArg {
    /// TLS 1.2.
    #[value(name = "1.2")]
    Tls12,
    /// TLS 1.3.
    #[value(name = "1.3")]
    Tls13,
}

impl From<TlsArg> for Oldest {
    fn from(arg: TlsArg) -> Self {
        match arg {
            TlsArg::Tls12 => Self::Tls12,
            TlsArg::Tls13 => Self::Tls13,
        }
    }
}

impl EdgeArgs {
    /// The bounds of the listeners.
    pub fn bounds(&self) -> Bounds {
        Bounds {
            data_connections: self.connections as usize,
            client_connections: self.client_connections as usize,
            head_timeout: self.head_timeout,
            idle_timeout: self.idle_timeout,
            body_timeout: self.body_timeout,
            pace: Pace { bytes: self.min_rate, grace: self.min_rate_grace },
            ..Bounds::default()
        }
    }
}

//! One entry of an `egress` list: `smtp.example.com:25`, `*.example.org:443`, `10.1.0.0/16:5432`, `[2001:db8::7]:443`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Cidr, Destination, Host};

/// Characters of a DNS name, and of a label of it (RFC 1035).
const NAME_CHARS_MAX: usize = 253;
const LABEL_CHARS_MAX: usize = 63;

/// Hosts and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Entry {
    /// Which machines.
    pub host: HostPattern,
    /// TCP port, not 0.
    pub port: u16,
}

/// Which machines an entry means.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// `*`: all names and addresses.
    Any,
    /// One name, lower case, without the last dot.
    Name(String),
    /// `*.example.org`: all names below `example.org`, at any depth, and not itself. Kept as `.example.org`.
    Below(String),
    /// Addresses a function dials without a name.
    Addresses(Cidr),
}

/// Why a text is no entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct EntryError {
    /// What is wrong: `has no port`.
    pub reason: &'static str,
    /// What would be right.
    pub help: String,
}

impl Entry {
    /// Whether the destination is meant.
    pub fn allows(&self, destination: &Destination) -> bool {
        self.port == destination.port
            && match &destination.host {
                Host::Name(name) => self.host.matches_name(name),
                Host::Address(address) => self.host.matches_address(*address),
            }
    }
}

impl HostPattern {
    /// Whether a name (lower case, without the last dot) is meant.
    pub fn matches_name(&self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Name(own) => own == name,
            Self::Below(suffix) => name.len() > suffix.len() && name.ends_with(suffix.as_str()),
            Self::Addresses(_) => false,
        }
    }

    /// Whether an address dialled without a name is meant.
    pub fn matches_address(&self, address: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::Addresses(range) => range.contains(address),
            Self::Name(_) | Self::Below(_) => false,
        }
    }
}

impl FromStr for Entry {
    type Err = EntryError;

    fn from_str(text: &str) -> Result<Self, EntryError> {
        if let Some((_, rest)) = text.split_once("://") {
            let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
            let port = if text.starts_with("http://") { 80 } else { 443 };
            let host = if host.contains(':') { host.to_owned() } else { format!("{host}:{port}") };
            return Err(wrong("is a URL", format!("write host and port only: {host:?}")));
        }
        let (host, port) = split(text)?;
        let port = match port.parse::<u16>() {
            Ok(port) if port != 0 && port.to_string().len() == port_digits(text) => port,
            _ => return Err(wrong("has no valid port", "a port is a number from 1 to 65535".to_owned())),
        };
        Ok(Self { host: pattern(host)?, port })
    }
}

/// Host, without brackets, and port.
fn split(text: &str) -> Result<(&str, &str), EntryError> {
    if let Some(rest) = text.strip_prefix('[') {
        let help = "write an IPv6 address in brackets and a port: \"[2001:db8::7]:443\"";
        let (host, port) =
            rest.split_once(']').ok_or_else(|| wrong("has a [ without a ]", help.to_owned()))?;
        if !host.contains(':') {
            return Err(wrong("has something else than an IPv6 address in brackets", help.to_owned()));
        }
        let port = port.strip_prefix(':').ok_or_else(|| wrong("has no port", help.to_owned()))?;
        return Ok((host, port));
    }
    match text.rsplit_once(':') {
        None => Err(wrong("has no port", format!("write {:?}", format!("{text}:443")))),
        Some((host, _)) if host.contains(':') => Err(wrong(
            "has more than one colon",
            "an IPv6 address is written in brackets: \"[2001:db8::7]:443\"".to_owned(),
        )),
        Some(parts) => Ok(parts),
    }
}

fn port_digits(text: &str) -> usize {
    text.rsplit_once(':').map_or(0, |(_, port)| port.len())
}

fn pattern(host: &str) -> Result<HostPattern, EntryError> {
    if host == "*" {
        return Ok(HostPattern::Any);
    }
    if host.contains('/') {
        let range = host.parse::<Cidr>().map_err(|cause| {
            wrong("has a range of addresses that is not one", format!("{cause}; write \"10.1.0.0/16:5432\""))
        })?;
        return Ok(HostPattern::Addresses(range));
    }
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return Ok(HostPattern::Addresses(Cidr::single(address.into())));
    }
    if host.contains(':') {
        let address = host.parse::<Ipv6Addr>().map_err(|_| {
            wrong("has an invalid IPv6 address", "write it as \"[2001:db8::7]:443\"".to_owned())
        })?;
        return Ok(HostPattern::Addresses(Cidr::single(address.into())));
    }
    let lower = host.to_ascii_lowercase();
    let lower = lower.strip_suffix('.').unwrap_or(&lower);
    if let Some(suffix) = lower.strip_prefix('*').filter(|suffix| suffix.starts_with('.')) {
        check_name(&suffix[1..])?;
        return Ok(HostPattern::Below(suffix.to_owned()));
    }
    check_name(lower)?;
    Ok(HostPattern::Name(lower.to_owned()))
}

fn check_name(name: &str) -> Result<(), EntryError> {
    let example = || "write a name and a port: \"api.example.com:443\"".to_owned();
    if name.is_empty() {
        return Err(wrong("has no host", example()));
    }
    if !name.is_ascii() {
        let help = "write the ASCII form of the name, as in \"xn--bcher-kva.example:443\"";
        return Err(wrong("has characters that DNS does not know", help.to_owned()));
    }
    if name.contains('*') {
        let help = "a * is the whole first label: \"*.example.org:443\"; a * alone means every host";
        return Err(wrong("has a * in the wrong place", help.to_owned()));
    }
    let label_is_right = |label: &str| {
        !label.is_empty()
            && label.len() <= LABEL_CHARS_MAX
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if name.len() > NAME_CHARS_MAX || !name.split('.').all(label_is_right) {
        return Err(wrong("has an invalid host name", example()));
    }
    // What resolvers take for an address would never be asked for as a name.
    if name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit())) {
        return Err(wrong("has an invalid IPv4 address", "write it as \"192.0.2.7:443\"".to_owned()));
    }
    Ok(())
}

fn wrong(reason: &'static str, help: String) -> EntryError {
    EntryError { reason, help }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            HostPattern::Any => write!(f, "*:{}", self.port),
            HostPattern::Name(name) => write!(f, "{name}:{}", self.port),
            HostPattern::Below(suffix) => write!(f, "*{suffix}:{}", self.port),
            HostPattern::Addresses(range) if range.is_ipv6() => write!(f, "[{range}]:{}", self.port),
            HostPattern::Addresses(range) => write!(f, "{range}:{}", self.port),
        }
    }
}

impl TryFrom<String> for Entry {
    type Error = EntryError;

    fn try_from(text: String) -> Result<Self, EntryError> {
        text.parse()
    }
}

impl From<Entry> for String {
    fn from(entry: Entry) -> Self {
        entry.to_string()
    }
}

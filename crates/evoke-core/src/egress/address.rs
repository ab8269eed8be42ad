//! Ranges of addresses, and which of them nobody reaches unless the operator says so.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A range of addresses: `10.0.0.0/8`, `fd00::/8`, or a single address. The bits after the prefix are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cidr {
    first: IpAddr,
    bits: u8,
}

/// Why a text is no range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no range of addresses such as 10.0.0.0/8 or fd00::/8: {reason}")]
pub struct CidrError {
    text: String,
    reason: String,
}

impl Cidr {
    /// The range of one address.
    pub const fn single(address: IpAddr) -> Self {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        Self { first: address, bits }
    }

    /// Whether the address is in it. No IPv4 address is in an IPv6 range, nor the other way round.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.first.is_ipv4() == address.is_ipv4() && truncate(address, self.bits) == self.first
    }

    /// Whether its addresses are IPv6.
    pub const fn is_ipv6(&self) -> bool {
        self.first.is_ipv6()
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let wrong = |reason: String| CidrError { text: text.chars().take(60).collect(), reason };
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong("the address is not valid".to_owned()))?;
        let single = Self::single(address);
        let Some(bits) = bits else { return Ok(single) };
        let digits = !bits.is_empty() && bits.bytes().all(|b| b.is_ascii_digit());
        let bits = bits.parse::<u8>().ok().filter(|bits| digits && *bits <= single.bits);
        let bits =
            bits.ok_or_else(|| wrong(format!("after the / comes a number from 0 to {}", single.bits)))?;
        let first = truncate(address, bits);
        if first != address {
            return Err(wrong(format!("its first address is {first}")));
        }
        Ok(Self { first, bits })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.first, self.bits) {
            (IpAddr::V4(first), 32) => first.fmt(f),
            (IpAddr::V6(first), 128) => first.fmt(f),
            (first, bits) => write!(f, "{first}/{bits}"),
        }
    }
}

/// Zeroes what comes after the first `bits` bits.
fn truncate(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

/// What an operator opened of the addresses that are otherwise refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressPolicy {
    /// Ranges that may be connected to, whatever they are.
    pub opened: Vec<Cidr>,
}

/// An address nobody may connect to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{address} is {what}")]
pub struct Refused {
    /// Which.
    pub address: IpAddr,
    /// What it is: `a private address`.
    pub what: &'static str,
}

impl AddressPolicy {
    /// Whether a connection may be made to this very address.
    pub fn check(&self, address: IpAddr) -> Result<(), Refused> {
        match special(address) {
            Some(what) if !self.opens(address) => Err(Refused { address, what }),
            _ => Ok(()),
        }
    }

    /// Whether the operator opened a range with this address in it.
    pub fn opens(&self, address: IpAddr) -> bool {
        self.opened.iter().any(|range| range.contains(address))
    }
}

/// What the address is, if it is not one of the public internet. After the registries of special-purpose addresses of
/// IANA (RFC 6890), with what clouds use for their metadata.
fn special(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => {
            let found = V4.iter().find(|(first, bits, _)| in_v4(address, *first, *bits));
            found.map(|(_, _, what)| *what)
        }
        IpAddr::V6(address) => {
            let found = V6.iter().find(|(first, bits, _)| in_v6(address, *first, *bits));
            // Only 2000::/3 has been given out as global unicast.
            found.map(|(_, _, what)| *what).or((address.segments()[0] >> 13 != 1).then_some("reserved"))
        }
    }
}

fn in_v4(address: Ipv4Addr, first: [u8; 4], bits: u8) -> bool {
    truncate(address.into(), bits) == IpAddr::V4(first.into())
}

fn in_v6(address: Ipv6Addr, first: [u16; 8], bits: u8) -> bool {
    truncate(address.into(), bits) == IpAddr::V6(first.into())
}

/// The first that fits counts.
const V4: &[([u8; 4], u8, &str)] = &[
    ([0, 0, 0, 0], 8, "of this network (0.0.0.0/8)"),
    ([10, 0, 0, 0], 8, "a private address"),
    ([100, 64, 0, 0], 10, "shared behind carrier-grade NAT"),
    ([127, 0, 0, 0], 8, "a loopback address"),
    ([168, 63, 129, 16], 32, "a cloud's metadata service"),
    ([169, 254, 169, 254], 32, "a cloud's metadata service"),
    ([169, 254, 0, 0], 16, "a link-local address"),
    ([172, 16, 0, 0], 12, "a private address"),
    ([192, 0, 0, 0], 24, "reserved for protocols"),
    ([192, 0, 2, 0], 24, "for documentation"),
    ([192, 88, 99, 0], 24, "a 6to4 relay"),
    ([192, 168, 0, 0], 16, "a private address"),
    ([198, 18, 0, 0], 15, "for benchmarks"),
    ([198, 51, 100, 0], 24, "for documentation"),
    ([203, 0, 113, 0], 24, "for documentation"),
    ([224, 0, 0, 0], 4, "a multicast address"),
    ([255, 255, 255, 255], 32, "the broadcast address"),
    ([240, 0, 0, 0], 4, "reserved"),
];

/// The first that fits counts.
const V6: &[([u16; 8], u8, &str)] = &[
    ([0, 0, 0, 0, 0, 0, 0, 0], 128, "the unspecified address"),
    ([0, 0, 0, 0, 0, 0, 0, 1], 128, "the loopback address"),
    ([0, 0, 0, 0, 0, 0xffff, 0, 0], 96, "a v4-mapped address"),
    ([0, 0, 0, 0, 0xffff, 0, 0, 0], 96, "a v4-translated address"),
    ([0, 0, 0, 0, 0, 0, 0, 0], 96, "a v4-compatible address"),
    ([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96, "a NAT64 address"),
    ([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, "a local NAT64 address"),
    ([0x100, 0, 0, 0, 0, 0, 0, 0], 64, "discard-only"),
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, "a Teredo address"),
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, "reserved for protocols"),
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, "for documentation"),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, "for documentation"),
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, "a 6to4 address"),
    ([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128, "a cloud's metadata service"),
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "a unique local address"),
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, "a link-local address"),
    ([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, "a site-local address"),
    ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, "a multicast address"),
];

//! What has to be known of an X.509 certificate (RFC 5280, 4.1): its names and its time. Nothing is verified here; that is the
//! client's part.

use evoke_core::time::Timestamp;

const SEQUENCE: u8 = 0x30;
const OCTETS: u8 = 0x04;
const OID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const EXTENSIONS: u8 = 0xa3;
/// 2.5.29.17, subjectAltName.
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];
const DNS_NAME: u8 = 0x82;
const ADDRESS: u8 = 0x87;

/// What a certificate says of itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub names: Vec<String>,
    pub from: Timestamp,
    pub until: Timestamp,
}

/// Reads a certificate. `None`: it is none.
pub(super) fn facts(certificate: &[u8]) -> Option<Facts> {
    let mut whole = Values(certificate);
    let mut signed = Values(Values(whole.of(SEQUENCE)?).of(SEQUENCE)?);
    let (mut time, mut names) = (None, Vec::new());
    while let Some((tag, value)) = signed.next() {
        if tag == SEQUENCE && time.is_none() {
            time = validity(value);
        } else if tag == EXTENSIONS {
            names = alternative_names(Values(value).of(SEQUENCE)?)?;
        }
    }
    let (from, until) = time?;
    Some(Facts { names, from, until })
}

/// The one sequence that begins with a time.
fn validity(value: &[u8]) -> Option<(Timestamp, Timestamp)> {
    let mut values = Values(value);
    Some((timestamp(values.next()?)?, timestamp(values.next()?)?))
}

fn alternative_names(extensions: &[u8]) -> Option<Vec<String>> {
    let mut extensions = Values(extensions);
    while let Some((_, extension)) = extensions.next() {
        let mut parts = Values(extension);
        if parts.of(OID)? != ALTERNATIVE_NAMES {
            continue;
        }
        // Whether it is critical may stand between.
        let octets = std::iter::from_fn(|| parts.next()).find(|(tag, _)| *tag == OCTETS)?.1;
        let mut names = Values(Values(octets).of(SEQUENCE)?);
        return Some(std::iter::from_fn(|| names.next()).filter_map(name).collect());
    }
    Some(Vec::new())
}

fn name((tag, value): (u8, &[u8])) -> Option<String> {
    match tag {
        DNS_NAME => std::str::from_utf8(value).ok().map(str::to_ascii_lowercase),
        ADDRESS => {
            let four = <[u8; 4]>::try_from(value).ok().map(std::net::IpAddr::from);
            let address = four.or_else(|| <[u8; 16]>::try_from(value).ok().map(std::net::IpAddr::from));
            address.map(|address| address.to_string())
        }
        _ => None,
    }
}

/// `YYMMDDHHMMSSZ`, or with four digits for the year (RFC 5280, 4.1.2.5).
fn timestamp((tag, value): (u8, &[u8])) -> Option<Timestamp> {
    let text = std::str::from_utf8(value).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = text.split_at_checked(2)?;
            (format!("{}{year}", if year < "50" { "20" } else { "19" }), rest)
        }
        GENERALIZED_TIME => text.split_at_checked(4).map(|(year, rest)| (year.to_owned(), rest))?,
        _ => return None,
    };
    let part = |at: usize| rest.get(at..at + 2);
    let [month, day, hour, minute, second] = [part(0)?, part(2)?, part(4)?, part(6)?, part(8)?];
    Timestamp::parse_rfc3339(&format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z"))
}

/// Values one after the other, each with its tag (X.690, definite lengths).
struct Values<'b>(&'b [u8]);

impl<'b> Values<'b> {
    fn next(&mut self) -> Option<(u8, &'b [u8])> {
        let (tag, rest) = self.0.split_first()?;
        let (first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(*first), rest),
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (bytes.iter().fold(0, |all, byte| all << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, value))
    }

    /// The next, if it has this tag.
    fn of(&mut self, tag: u8) -> Option<&'b [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn names_and_time_are_those_it_was_made_with() {
        let names = ["Shop.example.com", "*.example.org", "10.0.0.7", "2001:db8::1"].map(str::to_owned);
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(1999, 12, 31);
        params.not_after = date_time_ymd(2051, 2, 3);
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let read = facts(made.der()).unwrap();
        assert_eq!(read.names, ["shop.example.com", "*.example.org", "10.0.0.7", "2001:db8::1"]);
        assert_eq!(read.from, Timestamp::parse_rfc3339("1999-12-31T00:00:00Z").unwrap());
        assert_eq!(read.until, Timestamp::parse_rfc3339("2051-02-03T00:00:00Z").unwrap());
        for cut in 0..made.der().len() {
            assert_eq!(facts(&made.der()[..cut]), None);
        }
    }

    proptest! {
        #[test]
        fn bytes_that_are_no_certificate_are_none(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = facts(&bytes);
        }
    }
}

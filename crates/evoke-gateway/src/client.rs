//! Who sent a request: the other end of the connection or, where that is a proxy that is trusted, whom it names.
//!
//! Only proxies of [`Proxies`] are believed, and of the ways a request came only the part that they wrote: from the right, up
//! to the first address that is not one of them. Whatever stands before that, the client may have written.

use std::net::{IpAddr, SocketAddr};

use evoke_core::egress::Cidr;
use http::HeaderMap;
use http::header::FORWARDED;

/// Hops that are looked at. A longer way is nobody's.
const HOPS: usize = 32;

/// The networks of proxies whose fields are believed.
#[derive(Debug, Clone, Default)]
pub struct Proxies(pub Vec<Cidr>);

/// Who sent a request, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Client {
    /// The other end of the connection, which can be a proxy's.
    pub peer: SocketAddr,
    pub address: IpAddr,
    /// What the client spoke with the outermost proxy that is trusted, or with this server.
    pub https: bool,
    /// The host it asked the proxy for, if that differs from `Host`.
    pub host: Option<String>,
    /// The proxies between, this server's neighbour last.
    pub through: Vec<IpAddr>,
}

impl Client {
    /// Of a request over a connection with `peer`, over TLS or not.
    pub fn of(peer: SocketAddr, tls: bool, headers: &HeaderMap, proxies: &Proxies) -> Self {
        let neighbour = peer.ip().to_canonical();
        let direct = Self { peer, address: neighbour, https: tls, host: None, through: Vec::new() };
        if !proxies.trusts(neighbour) {
            return direct;
        }
        let (plain, standard) = (way_of_x_forwarded(headers), way_of_forwarded(headers));
        let told = match (plain, standard) {
            (Some(plain), Some(standard)) => {
                let same = proxies.client(&plain.hops) == proxies.client(&standard.hops);
                // The proxy wrote one of the two, the client perhaps the other, and nothing tells which.
                if same { Some(plain) } else { None }
            }
            (plain, standard) => plain.or(standard),
        };
        let Some(told) = told else { return direct };
        let Some((address, mut through)) = proxies.client(&told.hops) else { return direct };
        through.push(neighbour);
        Self { peer, address, https: told.https.unwrap_or(tls), host: told.host, through }
    }

    /// `https` or `http`.
    pub fn scheme(&self) -> &'static str {
        if self.https { "https" } else { "http" }
    }
}

impl Proxies {
    /// Whether what this address says of others is believed.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }

    /// The first address from the right that is no proxy, or the leftmost; and those after it. `None` where a hop is unknown.
    fn client(&self, hops: &[Option<IpAddr>]) -> Option<(IpAddr, Vec<IpAddr>)> {
        let mut through = Vec::new();
        for (nth, hop) in hops.iter().enumerate().rev() {
            let address = (*hop)?;
            if nth == 0 || !self.trusts(address) {
                through.reverse();
                return Some((address, through));
            }
            through.push(address);
        }
        None
    }
}

/// What fields say of the way a request came.
struct Way {
    hops: Vec<Option<IpAddr>>,
    https: Option<bool>,
    host: Option<String>,
}

fn way_of_x_forwarded(headers: &HeaderMap) -> Option<Way> {
    let hops = list(headers, "x-forwarded-for")?.iter().map(|hop| address(hop)).collect();
    let last = |name| list(headers, name).and_then(|list| list.last().map(|last| (*last).to_owned()));
    let https = last("x-forwarded-proto").and_then(|proto| scheme(&proto));
    Some(Way { hops, https, host: last("x-forwarded-host").filter(|host| is_host(host)) })
}

/// RFC 7239.
fn way_of_forwarded(headers: &HeaderMap) -> Option<Way> {
    let elements = list(headers, FORWARDED.as_str())?;
    let pair = |element: &str, wanted: &str| {
        element.split(';').find_map(|pair| {
            let (name, value) = pair.trim().split_once('=')?;
            name.eq_ignore_ascii_case(wanted).then(|| value.trim_matches('"').to_owned())
        })
    };
    let hops = elements.iter().map(|element| pair(element, "for").and_then(|hop| address(&hop))).collect();
    let last = elements.last()?;
    let https = pair(last, "proto").and_then(|proto| scheme(&proto));
    Some(Way { hops, https, host: pair(last, "host").filter(|host| is_host(host)) })
}

/// The entries of a field that may be given several times. `None` where there is none, or too many.
fn list<'h>(headers: &'h HeaderMap, name: &str) -> Option<Vec<&'h str>> {
    let values: Result<Vec<&str>, _> = headers.get_all(name).iter().map(|value| value.to_str()).collect();
    let entries: Vec<&str> =
        values.ok()?.into_iter().flat_map(|value| value.split(',')).map(str::trim).collect();
    (!entries.is_empty() && entries.len() <= HOPS).then_some(entries)
}

/// An address, with a port or without, in brackets or not.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.split_once(']')).map(|(bare, _)| bare);
    let parsed = bare.unwrap_or(text).parse().or_else(|_| text.parse::<SocketAddr>().map(|both| both.ip()));
    parsed.ok().map(|address: IpAddr| address.to_canonical())
}

fn scheme(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "https" | "wss" => Some(true),
        "http" | "ws" => Some(false),
        _ => None,
    }
}

fn is_host(text: &str) -> bool {
    text.parse::<http::uri::Authority>().is_ok() && !text.contains('@')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(fields: &[(&'static str, &'static str)]) -> Client {
        let proxies = Proxies(["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap()).to_vec());
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        Client::of("10.0.0.1:5".parse().unwrap(), false, &headers, &proxies)
    }

    #[test]
    fn the_client_is_the_first_from_the_right_that_is_no_proxy() {
        for (fields, client) in [
            (&[("x-forwarded-for", "1.1.1.1, 2.2.2.2, 10.9.9.9")][..], "2.2.2.2"),
            (&[("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "10.9.9.9")], "1.1.1.1"),
            (&[("x-forwarded-for", "10.1.1.1, 10.9.9.9")], "10.1.1.1"),
            (&[("x-forwarded-for", "2.2.2.2:80")], "2.2.2.2"),
            (&[("forwarded", "for=1.1.1.1, for=\"[2001:db8::1]:80\";proto=https")], "2001:db8::1"),
            (&[("x-forwarded-for", "2.2.2.2"), ("forwarded", "for=2.2.2.2")], "2.2.2.2"),
            // One of the two is the client's own.
            (&[("x-forwarded-for", "2.2.2.2"), ("forwarded", "for=6.6.6.6")], "10.0.0.1"),
            (&[("x-forwarded-for", "1.1.1.1, nobody")], "10.0.0.1"),
            (&[("forwarded", "for=_hidden")], "10.0.0.1"),
            (&[], "10.0.0.1"),
        ] {
            assert_eq!(of(fields).address, client.parse::<IpAddr>().unwrap(), "{fields:?}");
        }
    }

    #[test]
    fn scheme_and_host_are_those_the_last_proxy_says() {
        let client = of(&[
            ("x-forwarded-for", "2.2.2.2"),
            ("x-forwarded-proto", "http, https"),
            ("x-forwarded-host", "shop.example.com"),
        ]);
        assert_eq!((client.scheme(), client.host.as_deref()), ("https", Some("shop.example.com")));
        let headers = [("x-forwarded-for", "2.2.2.2"), ("x-forwarded-proto", "https")]
            .map(|(name, value)| (name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap()));
        let stranger = Client::of(
            "9.9.9.9:5".parse().unwrap(),
            false,
            &headers.into_iter().collect(),
            &Proxies::default(),
        );
        assert_eq!((stranger.address.to_string().as_str(), stranger.https), ("9.9.9.9", false));
    }
}

//! Which destinations a list names, and which addresses are nobody's to reach.

use std::net::IpAddr;

use evoke_core::egress::{AddressPolicy, AllowList, Cidr, Destination, Entry, Host};
use proptest::prelude::*;

fn list(entries: &[&str]) -> AllowList {
    entries.iter().map(|entry| entry.parse::<Entry>().unwrap()).collect()
}

fn to(host: &str, port: u16) -> Destination {
    let host = match host.parse() {
        Ok(address) => Host::Address(address),
        Err(_) => Host::Name(host.to_owned()),
    };
    Destination { host, port }
}

#[test]
fn a_list_names_hosts_and_ports() {
    let list = list(&[
        "api.example.com:443",
        "*.example.org:443",
        "10.1.0.0/16:5432",
        "[2001:db8::7]:443",
        "*:8443",
    ]);
    for (host, port) in [
        ("api.example.com", 443),
        ("a.example.org", 443),
        ("b.a.example.org", 443),
        ("10.1.255.255", 5432),
        ("2001:db8::7", 443),
        ("anything", 8443),
        ("8.8.8.8", 8443),
    ] {
        assert!(list.allows(&to(host, port)), "{host} {port}");
    }
    for (host, port) in [
        ("api.example.com", 80),
        ("xapi.example.com", 443),
        ("api.example.com.evil.net", 443),
        ("example.org", 443),
        ("evilexample.org", 443),
        (".example.org", 443),
        ("10.2.0.0", 5432),
        ("10.1.0.1", 443),
        ("2001:db8::8", 443),
        ("0.0.0.0", 443),
    ] {
        assert!(!list.allows(&to(host, port)), "{host} {port}");
    }
    assert!(!AllowList::default().allows(&to("anything", 443)));
    assert_eq!(list.ports().into_iter().collect::<Vec<_>>(), [443, 5432, 8443]);
}

#[test]
fn special_addresses_are_closed() {
    let closed = AddressPolicy::default();
    for address in [
        "0.0.0.0",
        "0.255.255.255",
        "10.0.0.0",
        "10.255.255.255",
        "100.64.0.0",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.255",
        "168.63.129.16",
        "169.254.0.1",
        "169.254.169.254",
        "172.16.0.0",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:8.8.8.8",
        "::8.8.8.8",
        "::ffff:0:8.8.8.8",
        "64:ff9b::8.8.8.8",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:2::1",
        "2001:db8::1",
        "3fff::1",
        "2002:7f00:1::",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "4000::1",
        "1::1",
    ] {
        assert!(closed.check(address.parse().unwrap()).is_err(), "{address}");
    }
    for address in [
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "168.63.129.17",
        "169.253.255.255",
        "172.15.255.255",
        "172.32.0.0",
        "192.167.255.255",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2606:4700:4700::1111",
        "2001:4860:4860::8888",
        "2a00::1",
    ] {
        assert_eq!(closed.check(address.parse().unwrap()), Ok(()), "{address}");
    }
}

#[test]
fn an_operator_opens_ranges() {
    let policy = AddressPolicy {
        opened: ["127.0.0.0/8", "fd00::/8", "10.0.0.7"].map(|r| r.parse().unwrap()).to_vec(),
    };
    for address in ["127.0.0.1", "127.9.9.9", "fd12::1", "10.0.0.7"] {
        assert_eq!(policy.check(address.parse().unwrap()), Ok(()), "{address}");
    }
    for address in ["10.0.0.8", "::ffff:127.0.0.1", "::1", "fc00::1"] {
        assert!(policy.check(address.parse().unwrap()).is_err(), "{address}");
    }
    let refused = policy.check("169.254.169.254".parse().unwrap()).unwrap_err();
    assert_eq!(refused.to_string(), "169.254.169.254 is a cloud's metadata service");
}

#[test]
fn ranges_are_written_with_their_first_address() {
    let text = |range: &str| range.parse::<Cidr>().unwrap_err().to_string();
    assert_eq!(
        text("10.0.0.1/8"),
        "\"10.0.0.1/8\" is no range of addresses such as 10.0.0.0/8 or fd00::/8: its first address is 10.0.0.0"
    );
    for wrong in [
        "",
        "/",
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0.0/-1",
        "10.0.0.0/+8",
        "fd00::/129",
        "localhost",
        "10.0.0.0/8/8",
    ] {
        assert!(wrong.parse::<Cidr>().is_err(), "{wrong}");
    }
    assert!("0.0.0.0/0".parse::<Cidr>().unwrap().contains([1, 2, 3, 4].into()));
    assert!(!"::/0".parse::<Cidr>().unwrap().contains([1, 2, 3, 4].into()));
}

/// What a refusal tells people to add is an entry that allows exactly what was refused.
#[test]
fn text_of_a_destination_is_the_entry_for_it() {
    for destination in
        [to("api.example.com", 443), to("192.0.2.7", 25), to("2001:db8::7", 8443), to("db", 5432)]
    {
        assert!(list(&[&destination.to_string()]).allows(&destination), "{destination}");
    }
}

proptest! {
    #[test]
    fn entries_survive_text(text in "(\\*\\.|)([a-z0-9-]{1,9}\\.){0,3}[a-z]{1,6}:[1-9][0-9]{0,3}") {
        let entry: Entry = text.parse().unwrap();
        prop_assert_eq!(entry.to_string(), text);
    }

    #[test]
    fn hostile_entries_are_refused_or_survive(text in ".{0,60}") {
        if let Ok(entry) = text.parse::<Entry>() {
            prop_assert_eq!(entry.to_string().parse::<Entry>(), Ok(entry));
        }
    }

    #[test]
    fn a_range_has_its_own_addresses(address in any::<[u8; 16]>(), v6 in any::<bool>(), bits in 0u8..=128) {
        let address: IpAddr = if v6 { address.into() } else { [address[0], address[1], address[2], address[3]].into() };
        let bits = bits.min(if v6 { 128 } else { 32 });
        let wrong = format!("{address}/{bits}").parse::<Cidr>();
        // The message of a range that does not start where it says has the address that it does start at.
        if let Err(cause) = wrong {
            let first = cause.to_string().rsplit(' ').next().unwrap().to_owned();
            let range: Cidr = format!("{first}/{bits}").parse().unwrap();
            prop_assert!(range.contains(address));
        }
    }
}

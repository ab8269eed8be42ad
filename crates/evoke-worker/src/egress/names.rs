//! Made-up addresses: each name a function asks for gets one of its own, out of a range nobody routes.

use std::collections::HashMap;
use std::net::Ipv4Addr;

/// 198.18.0.0/15, which is for benchmarks (RFC 2544) and on no network.
const FIRST: u32 = 0xc612_0001;
const LAST: u32 = 0xc613_fffe;

/// Which address stands for which name, within one namespace. The name that was not used for longest gives way.
#[derive(Debug)]
pub(super) struct Names {
    by_name: HashMap<String, Known>,
    by_address: HashMap<Ipv4Addr, String>,
    limit: usize,
    next: u32,
    turn: u64,
}

#[derive(Debug)]
struct Known {
    address: Ipv4Addr,
    used: u64,
}

impl Names {
    /// At most `limit` names at once.
    pub(super) fn new(limit: usize) -> Self {
        let limit = limit.clamp(1, 10_000);
        Self { by_name: HashMap::new(), by_address: HashMap::new(), limit, next: FIRST, turn: 0 }
    }

    /// The address of a name (lower case, without the last dot), made up if it has none yet.
    pub(super) fn address_of(&mut self, name: &str) -> Ipv4Addr {
        self.turn += 1;
        if let Some(known) = self.by_name.get_mut(name) {
            known.used = self.turn;
            return known.address;
        }
        if self.by_name.len() >= self.limit {
            self.forget_one();
        }
        let address = self.free_address();
        self.by_name.insert(name.to_owned(), Known { address, used: self.turn });
        self.by_address.insert(address, name.to_owned());
        address
    }

    /// The name an address stands for.
    pub(super) fn name_of(&mut self, address: Ipv4Addr) -> Option<&str> {
        let Self { by_name, by_address, turn, .. } = self;
        let name = by_address.get(&address)?;
        *turn += 1;
        if let Some(known) = by_name.get_mut(name) {
            known.used = *turn;
        }
        Some(name)
    }

    fn forget_one(&mut self) {
        let oldest = self.by_name.iter().min_by_key(|(_, known)| known.used).map(|(name, _)| name.clone());
        if let Some(known) = oldest.and_then(|name| self.by_name.remove(&name)) {
            self.by_address.remove(&known.address);
        }
    }

    /// Goes round through the whole range, so that an address that was forgotten comes back as late as can be. There are
    /// ten times more addresses than names.
    fn free_address(&mut self) -> Ipv4Addr {
        loop {
            let address = Ipv4Addr::from_bits(self.next);
            self.next = if self.next == LAST { FIRST } else { self.next + 1 };
            if !self.by_address.contains_key(&address) {
                return address;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_address() {
        let mut names = Names::new(10);
        let first = names.address_of("a.example");
        assert_eq!(first, Ipv4Addr::new(198, 18, 0, 1));
        assert_ne!(names.address_of("b.example"), first);
        assert_eq!(names.address_of("a.example"), first);
        assert_eq!(names.name_of(first), Some("a.example"));
        assert_eq!(names.name_of(Ipv4Addr::new(198, 18, 9, 9)), None);
    }

    #[test]
    fn the_name_unused_for_longest_gives_way_and_its_address_is_not_reused_soon() {
        let mut names = Names::new(2);
        let (a, b) = (names.address_of("a"), names.address_of("b"));
        assert_eq!(names.name_of(a), Some("a"));
        let c = names.address_of("c");
        assert_eq!(names.name_of(a), Some("a"));
        assert_eq!(names.name_of(b), None);
        assert!(c != a && c != b);
    }

    #[test]
    fn addresses_go_round_within_the_range() {
        let mut names = Names::new(3);
        names.next = LAST;
        assert_eq!(names.address_of("a"), Ipv4Addr::new(198, 19, 255, 254));
        assert_eq!(names.address_of("b"), Ipv4Addr::new(198, 18, 0, 1));
    }
}

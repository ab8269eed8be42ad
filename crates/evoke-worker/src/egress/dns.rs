//! DNS inside a namespace: every name has an address, the made-up one by which the host recognises it.
//!
//! Names that no entry of the list has get one too. Only the connection tells the port, and with it the line that is
//! missing from `evoke.toml`; to ask for a name leads nowhere by itself. No question leaves the machine from here.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use evoke_core::egress::{AllowList, HostPattern};
use parking_lot::Mutex;
use simple_dns::rdata::{A, AAAA, RData};
use simple_dns::{CLASS, OPCODE, Packet, PacketFlag, QCLASS, QTYPE, RCODE, ResourceRecord, TYPE};
use tokio::net::UdpSocket;

use super::Namespace;
use super::names::Names;

/// Bytes of a question; longer ones have records no question needs.
const QUESTION_BYTES_MAX: usize = 1_232;
/// How long an answer may be kept, seconds.
const TTL: u32 = 60;

pub(super) fn socket(fd: OwnedFd) -> io::Result<UdpSocket> {
    UdpSocket::from_std(std::net::UdpSocket::from(fd))
}

/// Answers for ever.
pub(super) async fn serve(socket: UdpSocket, namespace: Arc<Namespace>) {
    let mut buffer = [0; QUESTION_BYTES_MAX];
    loop {
        // An error is that of an earlier answer whose asker is gone.
        let Ok((length, asker)) = socket.recv_from(&mut buffer).await else { continue };
        if let Some(answer) = answer(&buffer[..length], &namespace.allowed, &namespace.names) {
            // An asker without room has to ask again, as with any name server.
            let _ = socket.try_send_to(&answer, asker);
        }
    }
}

/// The answer to a message; `None` for what is no question.
fn answer(message: &[u8], allowed: &AllowList, names: &Mutex<Names>) -> Option<Vec<u8>> {
    let Ok(query) = Packet::parse(message) else { return not_understood(message) };
    if query.has_flags(PacketFlag::RESPONSE) {
        return None;
    }
    let mut reply = Packet::new_reply(query.id());
    reply.set_flags(PacketFlag::RECURSION_AVAILABLE);
    if query.has_flags(PacketFlag::RECURSION_DESIRED) {
        reply.set_flags(PacketFlag::RECURSION_DESIRED);
    }
    let [question] = &*query.questions else {
        *reply.rcode_mut() = RCODE::FormatError;
        return reply.build_bytes_vec().ok();
    };
    if query.opcode() != OPCODE::StandardQuery || question.qclass != QCLASS::CLASS(CLASS::IN) {
        *reply.rcode_mut() = RCODE::NotImplemented;
        return reply.build_bytes_vec().ok();
    }
    match (find(&question.qname.to_string(), allowed), question.qtype) {
        (Found::Nothing, _) => *reply.rcode_mut() = RCODE::NameError,
        (Found::Loopback, QTYPE::TYPE(TYPE::A)) => {
            let data = RData::A(A { address: Ipv4Addr::LOCALHOST.to_bits() });
            reply.answers.push(ResourceRecord::new(question.qname.clone(), CLASS::IN, TTL, data));
        }
        (Found::Loopback, QTYPE::TYPE(TYPE::AAAA)) => {
            let data = RData::AAAA(AAAA { address: Ipv6Addr::LOCALHOST.to_bits() });
            reply.answers.push(ResourceRecord::new(question.qname.clone(), CLASS::IN, TTL, data));
        }
        (Found::Name(name), QTYPE::TYPE(TYPE::A)) => {
            let address = names.lock().address_of(&name).to_bits();
            let data = RData::A(A { address });
            reply.answers.push(ResourceRecord::new(question.qname.clone(), CLASS::IN, TTL, data));
        }
        // It exists, but has no record of that type.
        _ => {}
    }
    reply.questions.push(question.clone());
    reply.build_bytes_vec().ok()
}

enum Found {
    Nothing,
    Loopback,
    Name(String),
}

fn find(name: &str, allowed: &AllowList) -> Found {
    let name = name.to_ascii_lowercase();
    let name = name.strip_suffix('.').unwrap_or(&name);
    let is_right = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if name.is_empty() || name.len() > 253 || !name.bytes().all(is_right) {
        return Found::Nothing;
    }
    if name == "localhost" || name.ends_with(".localhost") {
        return Found::Loopback;
    }
    if name.ends_with(".arpa") || is_expansion(name, allowed) {
        return Found::Nothing;
    }
    Found::Name(name.to_owned())
}

/// Whether this is a name of the list with the machine's search domain after it. Resolvers try that first, and with an
/// answer would never come to the name that was meant.
fn is_expansion(name: &str, allowed: &AllowList) -> bool {
    let listed = |name: &str| {
        let entries = allowed.entries().iter();
        entries.filter(|entry| entry.host != HostPattern::Any).any(|entry| entry.host.matches_name(name))
    };
    !listed(name) && name.match_indices('.').any(|(at, _)| listed(&name[..at]))
}

/// A question that cannot be read whole (a type nobody has heard of, say) is refused by its number.
fn not_understood(message: &[u8]) -> Option<Vec<u8>> {
    let header: [u8; 12] = message.get(..12)?.try_into().ok()?;
    let is_answer = header[2] & 0x80 != 0;
    if is_answer {
        return None;
    }
    let mut reply = Packet::new_reply(u16::from_be_bytes([header[0], header[1]]));
    *reply.rcode_mut() = RCODE::NotImplemented;
    reply.build_bytes_vec().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use simple_dns::{Name, Question};

    fn allowed() -> AllowList {
        ["api.example.com:443", "*.example.org:443", "db:5432"]
            .map(|text| text.parse().unwrap())
            .into_iter()
            .collect()
    }

    fn ask(name: &str, kind: TYPE) -> Packet<'static> {
        let mut query = Packet::new_query(7);
        let name = Name::new_unchecked(name).into_owned();
        query.questions.push(Question::new(name, QTYPE::TYPE(kind), QCLASS::CLASS(CLASS::IN), false));
        let names = Mutex::new(Names::new(10));
        let bytes = answer(&query.build_bytes_vec().unwrap(), &allowed(), &names).unwrap();
        let bytes: &'static [u8] = bytes.leak();
        Packet::parse(bytes).unwrap()
    }

    fn addresses(packet: &Packet<'_>) -> Vec<Ipv4Addr> {
        let address = |record: &ResourceRecord<'_>| match &record.rdata {
            RData::A(a) => Some(Ipv4Addr::from_bits(a.address)),
            _ => None,
        };
        packet.answers.iter().filter_map(address).collect()
    }

    #[test]
    fn every_name_has_one_made_up_ipv4_address() {
        for name in ["api.example.com", "API.Example.COM", "other.example.net", "host"] {
            let reply = ask(name, TYPE::A);
            assert_eq!((reply.id(), reply.rcode(), reply.questions.len()), (7, RCODE::NoError, 1), "{name}");
            assert_eq!(addresses(&reply), [Ipv4Addr::new(198, 18, 0, 1)], "{name}");
        }
    }

    #[test]
    fn other_types_exist_without_records() {
        for kind in [TYPE::AAAA, TYPE::MX, TYPE::TXT, TYPE::HTTPS] {
            let reply = ask("api.example.com", kind);
            assert_eq!((reply.rcode(), reply.answers.len()), (RCODE::NoError, 0));
        }
    }

    #[test]
    fn a_search_domain_after_a_listed_name_leads_nowhere() {
        for name in ["api.example.com.corp.internal", "a.example.org.corp", "db.corp.internal"] {
            assert_eq!(ask(name, TYPE::A).rcode(), RCODE::NameError, "{name}");
        }
    }

    #[test]
    fn localhost_is_the_namespace_itself_and_addresses_have_no_names() {
        assert_eq!(addresses(&ask("localhost", TYPE::A)), [Ipv4Addr::LOCALHOST]);
        assert_eq!(ask("7.2.0.192.in-addr.arpa", TYPE::PTR).rcode(), RCODE::NameError);
    }

    #[test]
    fn an_unknown_type_is_refused_by_number() {
        let mut query = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        query.extend(b"\x01a\x00\xfe\xfe\x00\x01");
        let names = Mutex::new(Names::new(10));
        let reply = answer(&query, &allowed(), &names).unwrap();
        let reply = Packet::parse(&reply).unwrap();
        assert_eq!((reply.id(), reply.rcode()), (0x1234, RCODE::NotImplemented));
    }

    #[test]
    fn answers_are_not_answered() {
        let reply = Packet::new_reply(7).build_bytes_vec().unwrap();
        assert_eq!(answer(&reply, &allowed(), &Mutex::new(Names::new(10))), None);
    }

    proptest! {
        #[test]
        fn hostile_packets_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let names = Mutex::new(Names::new(10));
            if let Some(reply) = answer(&bytes, &allowed(), &names) {
                prop_assert!(reply.len() <= 600, "{}", reply.len());
            }
        }

        /// The same, past the header.
        #[test]
        fn hostile_questions_are_survived(counts in any::<[u8; 8]>(), bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut message = vec![0, 1, 1, 0, 0, counts[1] % 3, 0, counts[3] % 3, 0, counts[5] % 3, 0, counts[7] % 3];
            message.extend(bytes);
            let names = Mutex::new(Names::new(10));
            let _ = answer(&message, &allowed(), &names);
        }
    }
}

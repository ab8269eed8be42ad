//! The inside of a function's own network namespace: an interface that leads nowhere, and sockets that lead to the host.
//!
//! In the namespace every address there is is local to its loopback interface (AnyIP: a `local` route for all of IPv4 and
//! IPv6). So whatever a function dials arrives at a socket in the same namespace, with the destination it meant as the
//! socket's own address. Those sockets are made here, before the function's program runs, and handed to the host: a socket
//! stays in the namespace it was made in, whoever holds it. What the host does with them is [`crate::egress`].
//!
//! * a TCP listener on each port of the function's list;
//! * for a function that speaks HTTP to the platform, a TCP listener on 127.0.0.1;
//! * UDP sockets for DNS, on port 53 of 127.0.0.1 and of every name server the machine's `resolv.conf` names;
//! * raw sockets that get nothing but the kernel's own refusals: the RST by which it answers a SYN to a port on which nobody
//!   listens. So the host knows what the function tried to reach, without a socket on all 65,535 ports.
//!
//! [`Inside::set_up`] runs in the new process before it gives its capabilities up.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use evoke_core::manifest::bounds::EGRESS_PORTS_MAX;
use rustix::net::{
    AddressFamily, Protocol, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, ipproto, netlink, sockopt,
};
use serde::{Deserialize, Serialize};

/// What a private root's `/etc/resolv.conf` says. No search list: names mean what they say.
pub(crate) const RESOLV_CONF: &str = "nameserver 127.0.0.1\nsearch .\noptions ndots:1 timeout:5 attempts:2\n";

/// Name servers of a `resolv.conf` that count; the C library reads as many.
const NAME_SERVERS_MAX: usize = 3;
/// Listeners, the platform's listener, DNS on each name server and on loopback, raw sockets of both families.
const SOCKETS_MAX: usize = EGRESS_PORTS_MAX + 1 + NAME_SERVERS_MAX + 1 + 2;
/// Connections that wait until the host accepts them, per port.
const BACKLOG: i32 = 128;
const DNS_PORT: u16 = 53;
/// Where the platform is, unless the function's list has that port: then on the next that it does not have.
const PLATFORM_PORT: u16 = 9001;
/// The loopback interface is the first of every namespace.
const LOOPBACK: i32 = 1;

/// What is to be in a namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Inside {
    /// Ports to listen on, at most [`EGRESS_PORTS_MAX`].
    pub ports: Vec<u16>,
    /// Addresses on which DNS is answered, besides 127.0.0.1.
    pub name_servers: Vec<IpAddr>,
    /// Port of 127.0.0.1 on which the platform listens, if the function is to find it there.
    pub platform: Option<u16>,
}

/// The sockets of a namespace, here in the host.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    pub listeners: Vec<OwnedFd>,
    /// The one that leads to the platform.
    pub platform: Option<OwnedFd>,
    pub dns: Vec<OwnedFd>,
    /// Gets IPv4 packets with their header.
    pub refused_v4: Option<OwnedFd>,
    /// Gets IPv6 packets without it; none where the kernel has no IPv6.
    pub refused_v6: Option<OwnedFd>,
}

impl Inside {
    /// For these ports, and the name servers this machine has now.
    pub(crate) fn new(ports: impl IntoIterator<Item = u16>) -> Self {
        let ports = ports.into_iter().take(EGRESS_PORTS_MAX).collect();
        let resolv_conf = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        Self { ports, name_servers: name_servers(&resolv_conf), platform: None }
    }

    /// With the platform on a port of 127.0.0.1, which is returned.
    pub(crate) fn with_platform(mut self) -> (Self, u16) {
        let port =
            (PLATFORM_PORT..=u16::MAX).find(|port| !self.ports.contains(port)).unwrap_or(PLATFORM_PORT);
        self.platform = Some(port);
        (self, port)
    }

    /// Makes routes and sockets, and sends them through `host`. For a process that is alone in a new network namespace,
    /// with all capabilities over it.
    pub(crate) fn set_up(&self, host: BorrowedFd<'_>) -> io::Result<()> {
        loopback_is_everything()?;
        let mut made = Vec::new();
        for port in &self.ports {
            made.push(listener(*port)?);
        }
        let listeners = made.len();
        if let Some(port) = self.platform {
            made.push(listener_on(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?);
        }
        let platform = made.len() - listeners;
        made.push(dns_socket(Ipv4Addr::LOCALHOST.into())?);
        // Without those of a family the kernel does not have: nobody can ask them either.
        made.extend(self.name_servers.iter().filter_map(|server| dns_socket(*server).ok()));
        let dns = made.len() - listeners - platform;
        made.push(refusals(AddressFamily::INET, V4_REFUSALS)?);
        made.extend(refusals(AddressFamily::INET6, V6_REFUSALS));
        let raw = made.len() - listeners - platform - dns;
        let counts = [listeners, platform, dns, raw].map(|count| count as u8);
        hand_over(host, counts, &made)
    }

    /// [`Inside::set_up`] for nobody: whether the machine allows it.
    pub(crate) fn try_out(&self) -> io::Result<()> {
        let (ours, theirs) = hand_over_pair()?;
        self.set_up(theirs.as_fd())?;
        receive(ours.as_fd()).map(drop)
    }
}

/// Both ends of what the sockets of a namespace go through: the host's, and that of the process.
pub(crate) fn hand_over_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

/// The name servers of a `resolv.conf`, without 127.0.0.1, which is always there.
fn name_servers(resolv_conf: &str) -> Vec<IpAddr> {
    let address = |line: &str| line.strip_prefix("nameserver")?.split_whitespace().next()?.parse().ok();
    let mut servers: Vec<IpAddr> = resolv_conf.lines().filter_map(address).take(NAME_SERVERS_MAX).collect();
    servers.retain(|server| *server != IpAddr::V4(Ipv4Addr::LOCALHOST));
    servers.dedup();
    servers
}

/// Brings the loopback interface up and makes every address a local one.
fn loopback_is_everything() -> io::Result<()> {
    // Protocol 0 of this family is NETLINK_ROUTE.
    let kernel =
        rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    ask(&kernel, &link_up())?;
    ask(&kernel, &local_route(libc::AF_INET as u8))?;
    // Without IPv6 there is nothing to route.
    let _ = ask(&kernel, &local_route(libc::AF_INET6 as u8));
    Ok(())
}

/// Sends a request and waits for the kernel's verdict, which comes at once.
fn ask(kernel: &OwnedFd, request: &[u8]) -> io::Result<()> {
    rustix::net::sendto(kernel, request, SendFlags::empty(), &netlink::SocketAddrNetlink::new(0, 0))?;
    let mut answer = [0; 512];
    let (_, length) = rustix::net::recv(kernel, &mut answer[..], RecvFlags::empty())?;
    let word =
        |at: usize| answer.get(at..at + 4).and_then(|word| word.try_into().ok()).map(i32::from_ne_bytes);
    match (length >= 20).then(|| word(16)).flatten() {
        Some(0) => Ok(()),
        Some(errno) => Err(io::Error::from_raw_os_error(-errno)),
        None => Err(io::Error::from_raw_os_error(libc::EPROTO)),
    }
}

/// `struct nlmsghdr`; the kernel answers to it in any case.
fn header(length: u32, kind: u16, flags: i32) -> [u8; 16] {
    let mut header = [0; 16];
    header[..4].copy_from_slice(&length.to_ne_bytes());
    header[4..6].copy_from_slice(&kind.to_ne_bytes());
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_ACK | flags) as u16;
    header[6..8].copy_from_slice(&flags.to_ne_bytes());
    header
}

/// `ip link set lo up`: a header and a `struct ifinfomsg`.
fn link_up() -> [u8; 32] {
    let up = (libc::IFF_UP as u32).to_ne_bytes();
    let mut message = [0; 32];
    message[..16].copy_from_slice(&header(32, libc::RTM_NEWLINK, 0));
    message[20..24].copy_from_slice(&LOOPBACK.to_ne_bytes());
    message[24..28].copy_from_slice(&up);
    message[28..32].copy_from_slice(&up);
    message
}

/// `ip route add local default dev lo`: a header, a `struct rtmsg` and the interface as attribute.
fn local_route(family: u8) -> [u8; 36] {
    let mut message = [0; 36];
    message[..16].copy_from_slice(&header(36, libc::RTM_NEWROUTE, libc::NLM_F_CREATE | libc::NLM_F_EXCL));
    message[16] = family;
    message[20] = libc::RT_TABLE_LOCAL;
    message[21] = libc::RTPROT_STATIC;
    message[22] =
        if i32::from(family) == libc::AF_INET { libc::RT_SCOPE_HOST } else { libc::RT_SCOPE_UNIVERSE };
    message[23] = libc::RTN_LOCAL;
    message[28..30].copy_from_slice(&8u16.to_ne_bytes());
    message[30..32].copy_from_slice(&libc::RTA_OIF.to_ne_bytes());
    message[32..36].copy_from_slice(&LOOPBACK.to_ne_bytes());
    message
}

/// Listens on the port of every address, of both families where there are two.
fn listener(port: u16) -> io::Result<OwnedFd> {
    let socket = match socket(AddressFamily::INET6, SocketType::STREAM, None) {
        Ok(socket) => {
            sockopt::set_ipv6_v6only(&socket, false)?;
            sockopt::set_socket_reuseaddr(&socket, true)?;
            rustix::net::bind(&socket, &SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)))?;
            socket
        }
        Err(_) => return listener_on(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))),
    };
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// Listens on one address of IPv4. Port 0 is any that is free.
pub(crate) fn listener_on(address: SocketAddr) -> io::Result<OwnedFd> {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

fn dns_socket(address: IpAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket(family, SocketType::DGRAM, None)?;
    rustix::net::bind(&socket, &SocketAddr::from((address, DNS_PORT)))?;
    Ok(socket)
}

fn refusals(family: AddressFamily, filter: &[libc::sock_filter]) -> io::Result<OwnedFd> {
    let socket = socket(family, SocketType::RAW, Some(ipproto::TCP))?;
    crate::sys::attach_filter(socket.as_fd(), filter)?;
    Ok(socket)
}

fn socket(family: AddressFamily, kind: SocketType, protocol: Option<Protocol>) -> io::Result<OwnedFd> {
    Ok(rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, protocol)?)
}

/// Bytes that the filters below keep of a packet.
const KEPT_BYTES: u32 = 64;

/// Packet filters (classic BPF) that keep TCP segments with RST and ACK and nothing else, and a sequence number of 0. That
/// is how the kernel refuses a SYN (RFC 9293, 3.10.7.1); the RST of a connection that was open has another number. This one
/// is for packets with the IPv4 header in front, whose length is in its first byte.
const V4_REFUSALS: &[libc::sock_filter] = &[
    instruction(libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH, 0, 0, 0),
    instruction(libc::BPF_LD | libc::BPF_B | libc::BPF_IND, 0, 0, 13),
    instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 3, RST_ACK),
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_IND, 0, 0, 4),
    instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, 0),
    instruction(libc::BPF_RET | libc::BPF_K, 0, 0, KEPT_BYTES),
    instruction(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
];

/// For packets from the TCP header on.
const V6_REFUSALS: &[libc::sock_filter] = &[
    instruction(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, 0, 13),
    instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 3, RST_ACK),
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 4),
    instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, 0),
    instruction(libc::BPF_RET | libc::BPF_K, 0, 0, KEPT_BYTES),
    instruction(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
];

const RST_ACK: u32 = 0x14;

const fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt, jf, k }
}

/// One message: how many there are of each kind, and the sockets themselves.
fn hand_over(host: BorrowedFd<'_>, counts: [u8; 4], sockets: &[OwnedFd]) -> io::Result<()> {
    let mut borrowed = [host; SOCKETS_MAX];
    let Some(borrowed) = borrowed.get_mut(..sockets.len()) else {
        return Err(io::Error::from_raw_os_error(libc::E2BIG));
    };
    for (place, socket) in borrowed.iter_mut().zip(sockets) {
        *place = socket.as_fd();
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(borrowed)) {
        return Err(io::Error::from_raw_os_error(libc::E2BIG));
    }
    rustix::net::sendmsg(host, &[IoSlice::new(&counts)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

impl Sockets {
    /// Waits for what [`Inside::set_up`] sends; `None` when the process died before it had.
    pub(crate) async fn arrive(from: OwnedFd) -> io::Result<Option<Self>> {
        let from = crate::sys::watch(from)?;
        loop {
            let mut ready = from.readable().await?;
            if let Ok(received) = ready.try_io(|from| receive(from.as_fd())) {
                return received;
            }
        }
    }
}

fn receive(from: BorrowedFd<'_>) -> io::Result<Option<Sockets>> {
    let mut counts = [0; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = rustix::net::recvmsg(
        from,
        &mut [IoSliceMut::new(&mut counts)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    if got.bytes == 0 {
        return Ok(None);
    }
    let mut fds = control.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(rights) => rights.collect::<Vec<_>>(),
        _ => Vec::new(),
    });
    let [listeners, platform, dns, raw] = counts.map(usize::from);
    let sockets = Sockets {
        listeners: fds.by_ref().take(listeners).collect(),
        platform: if platform > 0 { fds.next() } else { None },
        dns: fds.by_ref().take(dns).collect(),
        refused_v4: fds.next(),
        refused_v6: fds.next(),
    };
    let whole = got.bytes == counts.len()
        && sockets.listeners.len() == listeners
        && sockets.platform.is_some() == (platform > 0)
        && sockets.dns.len() == dns
        && sockets.refused_v4.is_some()
        && sockets.refused_v6.is_some() == (raw > 1);
    if whole { Ok(Some(sockets)) } else { Err(io::Error::other("the sockets of its network did not arrive")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_read_as_the_c_library_does() {
        let text = "# nameserver 9.9.9.9\nsearch corp\nnameserver 127.0.0.1\nnameserver\t10.0.0.2 # x\n\
                    nameserver fe80::1%eth0\nnameserver ::1\noptions ndots:5\n";
        let expected: [IpAddr; 2] = [[10, 0, 0, 2].into(), Ipv6Addr::LOCALHOST.into()];
        assert_eq!(name_servers(text), expected);
        assert_eq!(name_servers(""), Vec::<IpAddr>::new());
    }

    #[test]
    fn the_platform_is_on_a_port_the_function_does_not_dial() {
        let (inside, port) = Inside { ports: vec![9001, 443, 9002], ..Inside::default() }.with_platform();
        assert_eq!((inside.platform, port), (Some(9003), 9003));
    }
}

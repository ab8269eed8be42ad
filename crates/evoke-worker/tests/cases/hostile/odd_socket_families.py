# stopped by: seccomp
# ends: answered
def attack(facts):
    import socket
    for family in [38, 40, 31, 29, 44]:  # ALG, VSOCK, BLUETOOTH, CAN, XDP
        yield refused(lambda: socket.socket(family, socket.SOCK_DGRAM if family != 40 else socket.SOCK_STREAM))
    for protocol in [2, 9, 15]:  # ss, audit, uevent
        yield refused(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol))
    harm(not socket.if_nameindex(), 'interfaces cannot be listed any more')

# stopped by: seccomp
# ends: answered
def attack(facts):
    import socket
    yield refused(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
    yield refused(lambda: socket.socket(socket.AF_INET6, socket.SOCK_RAW, 58))
    yield refused(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
    yield refused(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0))

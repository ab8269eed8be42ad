# stopped by: network
# ends: answered
def attack(facts):
    import socket
    yield refused(lambda: socket.create_connection(('169.254.169.254', 80), 1))

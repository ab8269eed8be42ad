# stopped by: network
# ends: answered
def attack(facts):
    import socket
    yield refused(lambda: socket.create_connection(('127.0.0.1', facts['port']), 2))

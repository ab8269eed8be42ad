# stopped by: landlock network
# ends: answered
def attack(facts):
    import socket
    yield refused(lambda: socket.socket(socket.AF_UNIX).connect('\0' + facts['abstract']))

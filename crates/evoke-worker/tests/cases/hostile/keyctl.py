# stopped by: seccomp
# ends: answered
def attack(facts):
    yield refused_syscall('keyctl', 0, -3, 1)
    yield refused_syscall('add_key', b'user', b'name', b'value', 5, -3)
    yield refused_syscall('request_key', b'user', b'name', 0, -3)

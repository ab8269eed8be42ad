# stopped by: seccomp
# ends: answered
def attack(facts):
    yield refused_syscall('personality', 0x0040000)
    harm(syscall('personality', 0xffffffff)[0] != 0, 'it has another personality')
    yield 'asking is allowed'

# stopped by: seccomp
# ends: answered
def attack(facts):
    for flag in [0x10000000, 0x20000000, 0x00020000, 0x40000000, 0x04000000, 0x08000000, 0x02000000]:
        yield refused_syscall('clone', flag | 17, 0, 0, 0, 0)
    yield refused_syscall('clone3', 0, 0, code='ENOSYS')

# stopped by: seccomp
# ends: answered
def attack(facts):
    for flag in [0x10000000, 0x20000000, 0x00020000, 0x40000000]:
        yield refused_syscall('unshare', flag)

# stopped by: seccomp
# ends: answered
def attack(facts):
    space = os.open('/proc/self/ns/mnt', os.O_RDONLY)
    yield refused_syscall('setns', space, 0)

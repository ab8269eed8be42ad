# stopped by: seccomp
# ends: answered
def attack(facts):
    yield refused_syscall('settimeofday', 0, 0)
    yield refused_syscall('clock_settime', 0, 0)
    yield refused_syscall('adjtimex', 0)
    yield refused_syscall('sethostname', b'x', 1)

# stopped by: seccomp
# ends: answered
def attack(facts):
    yield refused_syscall('bpf', 0, 0, 0)
    yield refused_syscall('perf_event_open', 0, 0, -1, -1, 0)

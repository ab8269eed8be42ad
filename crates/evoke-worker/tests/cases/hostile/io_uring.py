# stopped by: seccomp
# ends: answered
def attack(facts):
    yield refused_syscall('io_uring_setup', 1, 0)
    yield refused_syscall('io_uring_enter', 0, 0, 0, 0, 0, 0)
    yield refused_syscall('io_uring_register', 0, 0, 0, 0)

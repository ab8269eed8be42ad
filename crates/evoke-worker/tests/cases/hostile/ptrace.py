# stopped by: seccomp
# ends: answered
def attack(facts):
    yield refused_syscall('ptrace', 16, 1, 0, 0)
    yield refused_syscall('ptrace', 16, os.getppid() or 1, 0, 0)
    yield refused_syscall('process_vm_readv', 1, 0, 0, 0, 0, 0)
    yield refused_syscall('process_vm_writev', 1, 0, 0, 0, 0, 0)

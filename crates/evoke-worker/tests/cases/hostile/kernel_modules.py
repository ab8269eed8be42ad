# stopped by: seccomp
# ends: answered
def attack(facts):
    yield refused_syscall('init_module', 0, 0, b'')
    yield refused_syscall('finit_module', 0, b'', 0)
    yield refused_syscall('delete_module', b'x', 0)
    yield refused_syscall('kexec_load', 0, 0, 0, 0)

# stopped by: seccomp
# ends: answered
def attack(facts):
    # Wrong magic numbers: the filter looks at the call, the kernel would refuse these anyway.
    yield refused_syscall('reboot', 0, 0, 0, 0)
    yield refused_syscall('swapon', b'/tmp/swap', 0)
    yield refused_syscall('syslog', 2, 0, 0)

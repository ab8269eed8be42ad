# stopped by: seccomp
# ends: answered
def attack(facts):
    yield refused_syscall('open_by_handle_at', -100, 0, 0)
    yield refused_syscall('quotactl', 0, 0, 0, 0)
    yield refused_syscall('acct', b'/tmp/acct')

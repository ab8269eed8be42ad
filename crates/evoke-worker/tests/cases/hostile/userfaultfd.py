# stopped by: seccomp
# ends: answered
def attack(facts):
    yield refused_syscall('userfaultfd', 1)
    yield refused_syscall('fanotify_init', 0, 0)
    yield refused_syscall('kcmp', 1, 1, 0, 0, 0)

# stopped by: seccomp
# ends: answered
def attack(facts):
    yield refused_syscall('mount', b'tmpfs', b'/tmp', b'tmpfs', 0, 0)
    yield refused_syscall('umount2', b'/proc', 2)
    yield refused_syscall('open_tree', -100, b'/', 1)
    yield refused_syscall('fsopen', b'tmpfs', 0)
    yield refused_syscall('mount_setattr', -100, b'/', 0, 0, 0)
    yield refused_syscall('pivot_root', b'.', b'.')
    yield refused_syscall('chroot', b'/tmp')

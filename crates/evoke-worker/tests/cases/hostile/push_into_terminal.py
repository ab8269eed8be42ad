# stopped by: seccomp
# ends: answered
def attack(facts):
    import fcntl, termios
    yield refused(lambda: fcntl.ioctl(0, termios.TIOCSTI, b'x'), 'EPERM')
    yield refused(lambda: fcntl.ioctl(0, 0x541c, b'x'), 'EPERM')

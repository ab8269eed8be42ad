# stopped by: user capabilities uid
# ends: answered
def attack(facts):
    if os.getuid() != 0:
        yield refused(lambda: os.setuid(0))
        yield refused(lambda: os.setgid(0))
    yield refused(lambda: os.setuid(12345))
    yield refused(lambda: os.setgroups([0]))

# stopped by: mount uid
# ends: answered
def attack(facts):
    yield refused(lambda: os.chmod(__file__, 0o777))
    yield refused(lambda: os.utime(__file__, (0, 0)))

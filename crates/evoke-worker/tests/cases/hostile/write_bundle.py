# stopped by: mount landlock
# ends: answered
def attack(facts):
    yield refused(lambda: open(__file__, 'a'))
    yield refused(lambda: os.unlink(__file__))
    yield refused(lambda: open(os.path.dirname(__file__) + '/new.py', 'w'))
    yield refused(lambda: os.rename(__file__, __file__ + 'c'))
    yield refused(lambda: os.truncate(__file__, 0))

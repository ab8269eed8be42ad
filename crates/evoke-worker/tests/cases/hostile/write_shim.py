# stopped by: mount landlock
# ends: answered
def attack(facts):
    import evoke
    folder = os.path.dirname(evoke.__file__)
    yield refused(lambda: open(evoke.__file__, 'a'))
    yield refused(lambda: open(folder + '/evil.py', 'w'))

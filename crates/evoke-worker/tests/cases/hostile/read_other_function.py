# stopped by: mount landlock
# ends: answered
def attack(facts):
    yield refused(lambda: os.listdir(facts['other_bundle']))
    yield refused(lambda: open(facts['other_bundle'] + '/main.py').read())

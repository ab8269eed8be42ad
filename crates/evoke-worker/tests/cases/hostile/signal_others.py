# stopped by: pid landlock
# ends: answered
# Signal 0 asks for the right to signal, and does nothing.
def attack(facts):
    for name in ['host', 'launcher', 'neighbour']:
        yield refused(lambda: os.kill(facts[name], 0))

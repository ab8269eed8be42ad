# stopped by: pid landlock uid
# ends: answered
# Process 1 of a pid namespace is a copy of the launcher, which knows the secrets of every function.
def attack(facts):
    for pid in [1, facts['launcher'], facts['host']]:
        yield refused(lambda: open(f'/proc/{pid}/environ').read())

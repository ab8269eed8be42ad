# stopped by: pid landlock uid
# ends: answered
def attack(facts):
    for pid in [1, facts['launcher']]:
        yield refused(lambda: open(f'/proc/{pid}/mem', 'rb').read(1))
        yield refused(lambda: open(f'/proc/{pid}/maps').read())

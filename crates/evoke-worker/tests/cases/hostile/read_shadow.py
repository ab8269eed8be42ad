# stopped by: mount landlock uid
# ends: answered
def attack(facts):
    yield refused(lambda: open('/etc/shadow').read())
    yield refused(lambda: open('/etc/ssh/ssh_host_ed25519_key').read())

# stopped by: proc landlock uid
# ends: answered
def attack(facts):
    yield refused(lambda: open(f"/proc/{facts['neighbour']}/environ").read())
    yield refused(lambda: os.listdir(f"/proc/{facts['neighbour']}/fd"))

# stopped by: proc landlock uid
# ends: answered
def attack(facts):
    yield refused(lambda: open(f"/proc/{facts['neighbour']}/environ").read())
    # Without a pid namespace the numbers can be listed, and nothing behind them be seen.
    yield refused(lambda: os.readlink(f"/proc/{facts['neighbour']}/fd/3"))

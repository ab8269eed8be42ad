# stopped by: proc
# ends: answered
def attack(facts):
    seen = [int(name) for name in os.listdir('/proc') if name.isdigit()]
    harm(set(seen) & {facts['host'], facts['launcher'], facts['neighbour']}, 'processes of the host are visible')
    yield f'sees {len(seen)} processes'

# stopped by: memory rlimits
# ends: out_of_memory
def attack(facts):
    kept = []
    for _ in range(10 * 64):
        kept.append(b'x' * (16 << 20))
    harm(True, '10 GB were allocated')
    yield ''

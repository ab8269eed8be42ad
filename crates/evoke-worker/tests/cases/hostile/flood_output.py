# stopped by: deadline
# ends: answered or timed_out
def attack(facts):
    line = 'x' * 1000
    for _ in range(20_000):
        print(line)
    yield '20 MB of lines'

# stopped by: deadline
# ends: timed_out
def attack(facts):
    while True: pass
    yield ''

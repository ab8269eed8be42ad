# stopped by: deadline
# ends: timed_out
def attack(facts):
    import signal
    for number in range(1, 65):
        try: signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError): pass
    while True: time.sleep(1000)
    yield ''

# stopped by: pid launcher
# ends: answered
# The test looks for them when the instance is gone.
def attack(facts):
    import signal
    for _ in range(5):
        if os.fork() == 0:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if os.fork() == 0:
                while True: time.sleep(1000)
            os._exit(0)
        os.wait()
    yield 'five daemons'

# stopped by: pid
# ends: answered
def attack(facts):
    # Only where it can hit nobody else: a trial of the sandbox must not depend on the sandbox.
    harm(os.getpid() > 100 or os.path.exists(f"/proc/{facts['host']}"), 'it is in the pid namespace of the host')
    import signal
    if (child := os.fork()) == 0:
        while True: time.sleep(1000)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.kill(-1, signal.SIGTERM)
    try: os.kill(1, signal.SIGKILL)  # which process 1 does not hear
    except PermissionError: pass
    os.waitpid(child, 0)
    yield 'hit its own child only'

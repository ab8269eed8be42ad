# stopped by: pids user
# ends: crashed or out_of_memory
def attack(facts):
    import threading
    threading.stack_size(64 << 10)
    threads = 0
    try:
        while threads < 3000:
            threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
            threads += 1
    except (RuntimeError, MemoryError):
        print(f'no more after {threads} threads')
        # They would be waited for.
        os._exit(0)
    harm(True, f'{threads} threads live')
    yield ''

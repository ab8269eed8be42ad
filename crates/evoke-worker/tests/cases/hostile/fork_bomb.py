# stopped by: pids user
# ends: answered or out_of_memory
def attack(facts):
    children = 0
    try:
        while children < 3000:
            if os.fork() == 0:
                while True: time.sleep(1000)
            children += 1
    except OSError as error:
        harm(error.errno != errno.EAGAIN, f'it ended with {error}')
        yield f'EAGAIN after {children} children'
        return
    harm(True, f'{children} children live')

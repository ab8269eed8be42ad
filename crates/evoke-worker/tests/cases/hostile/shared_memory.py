# stopped by: ipc mount
# ends: answered
def attack(facts):
    from multiprocessing import shared_memory
    mine = shared_memory.SharedMemory(create=True, size=4096)
    harm(os.path.exists('/dev/shm/' + mine.name) and not os.path.exists('/tmp/' + mine.name), 'it is the shared memory of the host')
    mine.unlink()
    yield 'its own'

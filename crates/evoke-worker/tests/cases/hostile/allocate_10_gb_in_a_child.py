# stopped by: memory
# ends: answered or out_of_memory
def attack(facts):
    if (child := os.fork()) == 0:
        kept = []
        for _ in range(10 * 64):
            kept.append(b'x' * (16 << 20))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    harm(os.waitstatus_to_exitcode(status) == 0, 'the child allocated 10 GB')
    yield 'the child was ended'

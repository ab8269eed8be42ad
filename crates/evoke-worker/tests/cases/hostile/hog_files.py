# stopped by: rlimits
# ends: answered
def attack(facts):
    kept = []
    try:
        while len(kept) < 100_000:
            kept.append(os.open('/dev/null', os.O_RDONLY))
    except OSError as error:
        harm(error.errno != errno.EMFILE, f'it ended with {error}')
        count = len(kept)
        for fd in kept: os.close(fd)
        yield f'EMFILE after {count} files'
        return
    harm(True, 'as many as it wanted')

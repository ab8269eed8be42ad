# stopped by: mount
# ends: answered
def attack(facts):
    try:
        for number in range(40_000):
            os.close(os.open(f'/tmp/file-{number}', os.O_CREAT | os.O_WRONLY))
    except OSError as error:
        harm(error.errno != errno.ENOSPC, f'it ended with {error}')
        yield f'ENOSPC after {number} files'
        return
    harm(True, 'as many as it wanted')

# stopped by: mount
# ends: answered or out_of_memory
# Where cgroups count it, the files are memory of the function.
def attack(facts):
    written = 0
    try:
        for number in range(40):
            with open(f'/tmp/file-{number}', 'wb') as file:
                for _ in range(16):
                    file.write(bytes(1 << 20))
                    written += 1
    except OSError as error:
        harm(error.errno not in (errno.ENOSPC, errno.EDQUOT), f'it ended with {error}')
        harm(written > 129, f'{written} MiB were written')
        yield f'ENOSPC after {written} MiB'
        return
    harm(True, f'{written} MiB were written')

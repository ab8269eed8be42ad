# stopped by: rlimits mount
# ends: answered
def attack(facts):
    file = os.open(os.environ['TMPDIR'] + '/large', os.O_CREAT | os.O_WRONLY)
    os.lseek(file, 2 << 30, os.SEEK_SET)
    yield refused(lambda: os.write(file, b'x'))

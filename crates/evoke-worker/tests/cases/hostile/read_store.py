# stopped by: mount landlock
# ends: answered
# The file is readable for everybody, as far as its mode is concerned.
def attack(facts):
    yield refused(lambda: open(facts['store']).read())
    try:
        # The folder is on the way to its own bundle.
        harm('evoke.db' in os.listdir(os.path.dirname(facts['store'])), 'the file is visible')
    except OSError as error:
        yield errno.errorcode[error.errno]

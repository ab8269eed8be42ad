# stopped by: mount
# ends: answered
def attack(facts):
    for path in ['/root', '/home', '/var', '/opt', '/sys/class', '/boot', '/run', '/etc/hostname']:
        # What lies on the way to an interpreter is there, as an empty folder.
        try:
            names = os.listdir(path)
        except OSError:
            continue
        harm([name for name in names if not name.startswith('.pyenv')], f'{path} is visible')
    yield 'sees its own root only'

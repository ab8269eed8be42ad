# stopped by: no_new_privs
# ends: answered
def attack(facts):
    status = dict(line.split(':', 1) for line in open('/proc/self/status') if ':' in line)
    harm(status['NoNewPrivs'].strip() != '1', 'privileges can be gained')
    import subprocess
    programs = [path for path in ['/usr/bin/su', '/usr/bin/mount', '/usr/bin/passwd'] if os.path.exists(path)]
    for program in programs[:1]:
        told = subprocess.run([program, '-c', 'id -u'], capture_output=True, stdin=subprocess.DEVNULL)
        harm(told.stdout.strip() == b'0' and os.getuid() != 0, 'it became root')
    yield 'nobody gains anything'

# stopped by: mount landlock
# ends: answered
def attack(facts):
    for path in ['/evil', '/usr/evil', '/usr/bin/evil', '/etc/ld.so.preload', '/etc/cron.d/evil', '/var/evil', '/dev/evil', '/root/evil']:
        yield refused(lambda: open(path, 'w'))

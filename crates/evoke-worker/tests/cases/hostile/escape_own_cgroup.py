# stopped by: mount landlock
# ends: answered
def attack(facts):
    for path in ['/sys/fs/cgroup', '/sys/fs/cgroup/memory', '/sys/fs/cgroup/unified']:
        yield refused(lambda: open(path + '/cgroup.procs', 'w'))
    yield 'no cgroup to be seen'

# stopped by: mount landlock
# ends: answered
def attack(facts):
    for path in ['/proc/sys/kernel/core_pattern', '/proc/sys/kernel/hostname', '/proc/sysrq-trigger', '/proc/self/uid_map', '/sys/power/state', '/proc/1/oom_score_adj']:
        yield refused(lambda: os.write(os.open(path, os.O_WRONLY), b'0'))

# stopped by: capabilities
# ends: answered
def attack(facts):
    import stat
    yield refused(lambda: os.mknod('/tmp/disk', stat.S_IFBLK | 0o600, os.makedev(8, 0)))
    for device in ['/dev/mem', '/dev/kmsg', '/dev/vda', '/dev/sda', '/dev/port']:
        yield refused(lambda: open(device, 'rb').read(1))

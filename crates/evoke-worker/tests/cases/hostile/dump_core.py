# stopped by: rlimits
# ends: crashed
def attack(facts):
    import resource
    harm(resource.getrlimit(resource.RLIMIT_CORE) != (0, 0), 'core dumps are on')
    os.abort()
    yield ''

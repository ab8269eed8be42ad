# stopped by: capabilities
# ends: answered
def attack(facts):
    import resource
    for limit in [resource.RLIMIT_NOFILE, resource.RLIMIT_CORE]:
        _, hard = resource.getrlimit(limit)
        yield refused(lambda: resource.setrlimit(limit, (hard + 1, hard + 1)))
    yield refused(lambda: os.nice(-5))

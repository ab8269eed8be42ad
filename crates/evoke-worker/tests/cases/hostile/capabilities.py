# stopped by: capabilities
# ends: answered
def attack(facts):
    status = dict(line.split(':', 1) for line in open('/proc/self/status') if ':' in line)
    for name in ['CapInh', 'CapPrm', 'CapEff', 'CapAmb', 'CapBnd']:
        if name == 'CapBnd' and not facts['root'] and not facts['user_namespace']:
            continue  # Only who may set capabilities can empty it.
        harm(int(status[name], 16) != 0, f'{name} is {status[name].strip()}')
    yield 'none'

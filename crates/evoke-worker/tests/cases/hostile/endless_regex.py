# stopped by: deadline
# ends: timed_out
def attack(facts):
    import re
    re.match(r'(a|aa)+$', 'a' * 100 + 'b')
    yield ''

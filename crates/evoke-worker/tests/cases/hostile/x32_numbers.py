# stopped by: seccomp
# ends: answered
def attack(facts):
    # The other numbering of the same calls, where the kernel has it at all.
    if os.uname().machine == 'x86_64':
        result, code = libc.syscall(0x40000000 | NUMBERS['keyctl'], 0, -3, 1), ctypes.get_errno()
        harm(result != -1, 'a denied call is reached by its x32 number')
    yield 'no second numbering'

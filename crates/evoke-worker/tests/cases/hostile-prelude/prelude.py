# What every probe in Python begins with. `attack` yields what stood against it, and raises Harm when nothing did.
import ctypes, errno, json, os, time

libc = ctypes.CDLL(None, use_errno=True)
X86 = {'ptrace': 101, 'process_vm_readv': 310, 'process_vm_writev': 311, 'mount': 165, 'umount2': 166, 'open_tree': 428,
       'fsopen': 430, 'mount_setattr': 442, 'pivot_root': 155, 'chroot': 161, 'unshare': 272, 'clone': 56, 'clone3': 435,
       'setns': 308, 'keyctl': 250, 'add_key': 248, 'request_key': 249, 'bpf': 321, 'perf_event_open': 298,
       'io_uring_setup': 425, 'io_uring_enter': 426, 'io_uring_register': 427, 'userfaultfd': 323, 'fanotify_init': 300,
       'kcmp': 312, 'open_by_handle_at': 304, 'quotactl': 179, 'acct': 163, 'init_module': 175, 'finit_module': 313,
       'delete_module': 176, 'kexec_load': 246, 'reboot': 169, 'swapon': 167, 'syslog': 103, 'settimeofday': 164,
       'clock_settime': 227, 'adjtimex': 159, 'sethostname': 170, 'personality': 135}
ARM = {'ptrace': 117, 'process_vm_readv': 270, 'process_vm_writev': 271, 'mount': 40, 'umount2': 39, 'open_tree': 428,
       'fsopen': 430, 'mount_setattr': 442, 'pivot_root': 41, 'chroot': 51, 'unshare': 97, 'clone': 220, 'clone3': 435,
       'setns': 268, 'keyctl': 219, 'add_key': 217, 'request_key': 218, 'bpf': 280, 'perf_event_open': 241,
       'io_uring_setup': 425, 'io_uring_enter': 426, 'io_uring_register': 427, 'userfaultfd': 282, 'fanotify_init': 262,
       'kcmp': 272, 'open_by_handle_at': 265, 'quotactl': 60, 'acct': 89, 'init_module': 105, 'finit_module': 273,
       'delete_module': 106, 'kexec_load': 104, 'reboot': 142, 'swapon': 224, 'syslog': 116, 'settimeofday': 170,
       'clock_settime': 112, 'adjtimex': 171, 'sethostname': 161, 'personality': 92}
NUMBERS = ARM if os.uname().machine == 'aarch64' else X86


class Harm(Exception):
    pass


def harm(holds, what):
    if holds:
        raise Harm(what)


def refused(act, code=None):
    """The name of the error that `act` ended with. Harm, if it succeeded."""
    try:
        result = act()
    except OSError as error:
        name = errno.errorcode.get(error.errno, str(error))
        harm(code is not None and name != code, f'it was refused by {name} and not by {code}')
        return name
    except ValueError as error:
        return str(error)
    raise Harm(f'it succeeded with {result!r}')


def syscall(name, *args):
    ctypes.set_errno(0)
    return libc.syscall(NUMBERS[name], *args), ctypes.get_errno()


def refused_syscall(name, *args, code='EPERM'):
    """A denied call fails with EPERM before the kernel looks at its arguments, which are wrong on purpose."""
    result, number = syscall(name, *args)
    if result == 0 and name == 'clone':
        os._exit(0)
    told = errno.errorcode.get(number, str(number))
    harm(result != -1, f'{name} succeeded')
    harm(told != code, f'{name} was refused by {told} and not by {code}')
    return f'{name}: {told}'


def handler(event, context):
    try:
        return {'harm': None, 'told': [told for told in attack(json.loads(event['body'])) if told]}
    except Harm as error:
        return {'harm': str(error), 'told': []}

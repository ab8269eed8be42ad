"""A process that has loaded a function and is forked for each of its instances.

It has one thread and waits for nothing but its host: `FORK` brings the descriptors of an instance, `REAP` asks how a
dead one ended. docs/reference/worker-protocol.md describes both. What a fork would share and must not, such as threads,
sockets and event loops, is looked for once, when the function has been loaded (`obstacle`).
"""

import posix
import sys
from _signal import SIG_IGN, SIGHUP, SIGINT, SIGKILL, SIGTERM, signal
from _socket import CMSG_SPACE
from array import array
from os import environ

from evoke import _channel as wire

_DESCRIPTORS_MAX = 1024
_SETTLE_TRIES = 3

# prctl(2)
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def obstacle():
    """Why this process must not be forked, in words, or None."""
    return _descriptors() or _children() or _threads()


def _descriptors():
    from fcntl import F_GETFL, fcntl
    from stat import S_ISCHR, S_ISDIR, S_ISREG

    for fd in range(wire.DESCRIPTOR + 1, _DESCRIPTORS_MAX):
        try:
            mode = posix.fstat(fd).st_mode
        except OSError:
            continue
        # The position in a file is shared. One that is only read from is mostly a map of data, which is what we are for.
        if S_ISDIR(mode) or S_ISCHR(mode):
            continue
        if not S_ISREG(mode):
            return "it opens a socket, a pipe or an event loop"
        if fcntl(fd, F_GETFL) & posix.O_ACCMODE != posix.O_RDONLY:
            return "it opens a file to write to it"
    return None


def _children():
    try:
        posix.waitid(posix.P_ALL, 0, posix.WEXITED | posix.WNOHANG | posix.WNOWAIT)
    except ChildProcessError:
        return None
    return "it starts a process"


def _threads():
    """Threads are not copied by a fork, only what they had half done."""
    if len(sys._current_frames()) > 1:
        threading = sys.modules.get("threading")
        names = [thread.name for thread in threading.enumerate()][1:] if threading else []
        return "it starts threads" + (f" ({', '.join(names)[:200]})" if names else "")
    for _ in range(_SETTLE_TRIES):
        if _native_threads() <= 1:
            return None
        # Libraries that know of forks (OpenBLAS is one) end their threads before one and start them again when needed.
        pid = _fork(lambda: posix._exit(0))
        posix.waitpid(pid, 0)
    return "a library it imports has threads of its own" if _native_threads() > 1 else None


def _native_threads():
    try:
        return len(posix.listdir("/proc/self/task"))
    except OSError:
        return 1


def _fork(child):
    """The pid of a process that runs `child`, which must not return."""
    import warnings

    global _forking
    _forking = True
    try:
        with warnings.catch_warnings():
            # Of threads: they were looked for.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = posix.fork()
        if pid == 0:
            child()
        return pid
    finally:
        _forking = False


_forking = False


def is_forking():
    """Whether the fork under way makes an instance, and not a process of the function."""
    return _forking


class _Instance(BaseException):
    """Carries an instance out of the zygote's loop."""


class Zygote:
    """To be made when the function is loaded."""

    def __init__(self, channel):
        import gc

        self._channel = channel
        self._socket = channel.socket
        self._bytes = bytearray()
        self._fds = []
        # Of a zygote's instances each could signal it, with all others (`kill(-1)`); most who do so do not mean that.
        self._handlers = {number: signal(number, SIG_IGN) for number in (SIGHUP, SIGINT, SIGTERM)}
        self._files = None  # temporary files of its own, once it is known where they are
        self._instances = {}  # number: pid, folder for temporary files
        self._prctl, self._syscall = _load_calls()
        # What is there now is never looked at by the collector again, so that its pages stay shared.
        gc.collect()
        gc.freeze()

    def run(self):
        """Forks instances for as long as the host wants. Returns in each of them, which is then like a process that was
        just started; in the zygote itself, never."""
        try:
            self._serve()
        except _Instance:
            _refresh()

    def _serve(self):
        space = CMSG_SPACE(3 * 4)
        while True:
            data, ancillary, _, _ = self._socket.recvmsg(64 << 10, space)
            for _, _, payload in ancillary:
                fds = array("i")
                fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
                self._fds.extend(fds)
            if not data:
                posix._exit(0)
            self._bytes += data
            while frame := self._frame():
                self._take(*frame)

    def _frame(self):
        if len(self._bytes) < wire.HEADER.size:
            return None
        length, number, kind = wire.HEADER.unpack_from(self._bytes)
        end = wire.HEADER.size + length
        if len(self._bytes) < end:
            return None
        payload = bytes(self._bytes[wire.HEADER.size : end])
        del self._bytes[:end]
        return kind, number, payload

    def _take(self, kind, number, payload):
        if kind == wire.FORK:
            fds, self._fds = self._fds[:3], self._fds[3:]
            zygote = posix.getpid()
            scratch = payload.decode()
            if self._files is None:
                self._files = set(posix.listdir(_folder(scratch)))
            try:
                self._instances[number] = _fork(lambda: self._become(zygote, fds, scratch)), scratch
            except OSError as error:
                print(f"evoke: this process could not be forked: {error}", file=sys.stderr)
                self._channel.flush()
            for fd in fds:
                posix.close(fd)
        elif kind == wire.REAP:
            self._channel.send(wire.EXITED, number, self._reap(number))
            self._channel.flush()
            self._reap_strangers()
        elif kind == wire.STOP:
            posix._exit(0)

    def _reap(self, number):
        pid, scratch = self._instances.pop(number, (None, None))
        if pid is None:
            return b""
        try:
            posix.kill(pid, SIGKILL)  # nothing, for one that is dead
            _, status = posix.waitpid(pid, 0)
        except OSError:
            return b""
        self._clear(scratch)
        return posix.waitstatus_to_exitcode(status).to_bytes(4, "little", signed=True)

    def _clear(self, scratch):
        _remove(scratch)
        if not self._instances:
            # What they have left beside their own folders, where the next ones would find it.
            for name in set(posix.listdir(_folder(scratch))) - self._files:
                _remove(f"{_folder(scratch)}/{name}")

    def _reap_strangers(self):
        """What dead instances left behind, which the host has killed."""
        ours = [pid for pid, _ in self._instances.values()]
        try:
            while dead := posix.waitid(posix.P_ALL, 0, posix.WEXITED | posix.WNOHANG | posix.WNOWAIT):
                if dead.si_pid in ours:
                    return  # its own turn comes
                posix.waitpid(dead.si_pid, 0)
        except OSError:
            pass

    def _become(self, zygote, fds, scratch):
        """What a new process does first: it gets what a started one has."""
        try:
            self._connect(zygote, fds, scratch)
        except BaseException:
            posix._exit(1)
        raise _Instance

    def _connect(self, zygote, fds, scratch):
        posix.setsid()
        self._prctl(_PR_SET_PDEATHSIG, SIGKILL)
        if posix.getppid() != zygote:
            posix._exit(0)
        self._prctl(_PR_SET_CHILD_SUBREAPER, 1)
        for number, handler in self._handlers.items():
            if handler is not None:  # not Python's own
                signal(number, handler)
        for fd, at in zip(fds, (wire.DESCRIPTOR, 1, 2)):
            posix.dup2(fd, at, at != wire.DESCRIPTOR)
        for fd in fds:
            posix.close(fd)
        self._channel.renew()
        _be_alone(self._syscall)
        posix.mkdir(scratch, 0o700)
        for name in ("HOME", "TMPDIR"):
            # The function may have set its own.
            if environ.get(name) == _folder(scratch):
                environ[name] = scratch
        self._channel.send(wire.HELLO, 0)
        self._channel.flush()


def _folder(path):
    return path.rpartition("/")[0]


def _remove(path):
    """Mostly it is an empty folder."""
    try:
        posix.rmdir(path)
    except FileNotFoundError:
        pass
    except OSError:
        from shutil import rmtree

        rmtree(path, ignore_errors=True)
        try:
            posix.unlink(path)
        except OSError:
            pass


def _load_calls():
    """`prctl` and `syscall`. Where the interpreter lacks what it needs for them, the host alone sees to the end of instances,
    and they are not kept from each other."""
    try:
        from ctypes import CDLL, c_long

        library = CDLL(None)
        library.syscall.restype = c_long
        library.prctl(_PR_SET_CHILD_SUBREAPER, 1)
        return library.prctl, library.syscall
    except (ImportError, OSError, AttributeError):
        return lambda *_: -1, lambda *_: -1


# landlock(7). The numbers of the calls are the same on every architecture.
_LANDLOCK_CREATE_RULESET = 444
_LANDLOCK_RESTRICT_SELF = 446
_LANDLOCK_VERSION = 1
_LANDLOCK_MAKE_CHARACTER_DEVICE = 1 << 6
_LANDLOCK_SCOPES = 3  # abstract sockets, signals


def _be_alone(syscall):
    """Instances of one function are the same user in the same namespaces. A Landlock domain of its own, below the one that all
    of them are in, keeps each from tracing, reading the memory of and (Linux 6.12) signalling the others. It takes nothing
    away that the outer one allows, but what no function needs."""
    version = syscall(_LANDLOCK_CREATE_RULESET, None, 0, _LANDLOCK_VERSION)
    if version < 1:
        return
    from struct import pack

    files = pack("=Q", _LANDLOCK_MAKE_CHARACTER_DEVICE)
    # Rights over the network, which no rule is about, lie between.
    ruleset = files + pack("=QQ", 0, _LANDLOCK_SCOPES) if version >= 6 else files
    made = syscall(_LANDLOCK_CREATE_RULESET, ruleset, len(ruleset), 0)
    if made >= 0:
        # Only who can gain no privileges may do this, which holds in the sandbox.
        syscall(_LANDLOCK_RESTRICT_SELF, made, 0)
        posix.close(made)


def _refresh():
    """What must not be the same in two instances. `random` and OpenSSL see to that themselves."""
    tempfile = sys.modules.get("tempfile")
    if tempfile is not None:
        tempfile.tempdir = None
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()

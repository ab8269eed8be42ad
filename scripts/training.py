"""Does with a counting build (`-C profile-generate`) what an executable is to be quick at, and keeps what was counted.

    scripts/training.py --binary target/counting/…/evoke --load target/release/evoke-load --into FOLDER --hellos FOLDER --guests FOLDER

`make dist` has the executable optimised by that: what runs often is made quick, and what never runs, small. So everything a server does
while somebody waits has its turn here, as often as it does that: a function that is not called here is slower than without any training.
Calls and events of every kind of function, one at a time and many at once, with and without TLS; deploys, with what compiles components;
starts and ends; the control API; and the stories of examples, which have a bit of everything (of these, what the server and the command line
count).

Processes write what they have counted when they end. Those of functions may write to nothing but a `/tmp` of their own, which goes with
them: it is held open until they have ended, and read then.
"""

import argparse
import http.client
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT / "bench"))
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True

from rig.processes import descendants
from rig.server import Server
from warm import PATHS, make

SECONDS = 1.5  # Of each kind of call.
LOOK_SECONDS = 0.01
SETTLE_SECONDS = 120
DEMO_SECONDS = 900
DEMOS = ("decorators", "rollout", "loops", "signup", "two-factor", "shop")
DEMO_OPTIONS = {"shop": ("--orders", "40", "--clients", "8")}
TLS_CALLS = 2000
KINDS = ("compile", "wasm")  # Processes of ours in a sandbox: `evoke worker KIND`.

# Beside the hellos of `bench/warm.py`.
MANIFEST = """
[functions.other]
source = "other.wasm"
concurrency = 64
egress = ["HOST"]
[[routes]]
path = "/echo"
to = "other"
[[routes]]
path = "/fetch"
to = "other"

[functions.later]
source = "later.wasm"
concurrency = 64
reuse = true
[[routes]]
path = "/later/{rest}"
to = "later"

[functions.state]
source = "state.wasm"
concurrency = 64
[[routes]]
path = "/count"
to = "state"
"""


class Counts:
    """What processes count that can write nowhere but to their own `/tmp`."""

    def __init__(self, into: Path):
        self.into = into
        self.found: dict[tuple[int, int], tuple[int, str]] = {}  # By file system: its /tmp, and whose it is.
        self.server: Server | None = None
        self.ended = threading.Event()
        self.saw_all = False
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def watch(self) -> None:
        while not self.ended.wait(LOOK_SECONDS):
            process = self.server and self.server.process
            for pid in descendants(process.pid) if process else ():
                self.look(pid)
        self.saw_all = True

    def look(self, pid: int) -> None:
        try:
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            kind = next((kind for kind in KINDS if arguments[1:3] == [b"worker", kind.encode()]), None)
            if kind is None:
                return
            folder = os.open(f"/proc/{pid}/root/tmp", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:  # It is not in its sandbox yet, or gone.
            return
        stat = os.fstat(folder)
        if stat.st_dev == os.stat("/tmp").st_dev or (stat.st_dev, stat.st_ino) in self.found:
            os.close(folder)
        else:
            self.found[stat.st_dev, stat.st_ino] = (folder, kind)

    def take(self) -> None:
        """Copies everything out, once all these processes have ended."""
        self.ended.set()
        self.thread.join()
        if not self.saw_all:
            raise SystemExit("error: nobody has watched the server's processes to the end: see above")
        for kind in KINDS:
            if kind not in (of for _, of in self.found.values()):
                raise SystemExit(
                    f"error: no process `evoke worker {kind}` has left its counts: they need a /tmp of their own, which is the sandbox's"
                    " layer `mount` (evoke doctor)"
                )
        for number, (folder, kind) in enumerate(self.found.values()):
            written = 0
            for _, _, names, at in os.fwalk(".", dir_fd=folder):
                for name in (name for name in names if name.endswith(".profraw")):
                    with (
                        os.fdopen(os.open(name, os.O_RDONLY, dir_fd=at), "rb") as counts,
                        (self.into / f"{kind}-{number}.profraw").open("xb") as copy,
                    ):
                        shutil.copyfileobj(counts, copy)
                        written += copy.tell()
            os.close(folder)
            if not written:
                raise SystemExit(f"error: a process `evoke worker {kind}` was killed before it had written its counts")
        print(f"counts of {len(self.found)} sandboxed processes", file=sys.stderr)


class Training:
    def __init__(self, options: argparse.Namespace, scratch: Path):
        self.options = options
        self.scratch = scratch
        self.counts = Counts(options.into)

    def say(self, what: str) -> None:
        print(f"training: {what}", file=sys.stderr, flush=True)

    def load(self, url: str, clients: int, *arguments: str) -> None:
        command = [str(self.options.load), url, "--clients", str(clients), "--seconds", str(SECONDS), "--warm-up", "0"]
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False, timeout=60)
        if done.returncode != 0:
            raise SystemExit(f"error: {url}: {done.stderr.strip()}")

    def server(self, name: str, *options: str) -> Server:
        environment = {"LLVM_PROFILE_FILE": str(self.options.into / "server-%m.profraw")}
        server = Server(self.options.binary, self.scratch / name, options, environment)
        server.start()
        self.counts.server = server
        return server

    def end(self, server: Server) -> None:
        if server.stop() != 0:
            raise SystemExit(f"error: the server did not end in order:\n{server.last_words()}")
        self.counts.server = None

    def app(self, server: Server) -> Path:
        """Hellos of each kind, and components that read, keep state and call others."""
        folder = self.scratch / "app"
        make(folder, self.options.hellos)
        for source, name in (("proxy", "other"), ("service", "later"), ("state", "state")):
            shutil.copy(self.options.guests / f"{source}.wasm", folder / f"{name}.wasm")
        with (folder / "evoke.toml").open("a") as manifest:
            manifest.write(MANIFEST.replace("HOST", urlsplit(server.data_url).netloc))
        return folder

    def calls(self, server: Server) -> None:
        for path in PATHS.values():
            self.say(f"calls of {path}")
            for clients in (1, 16):
                self.load(server.data_url + path, clients)
        for path in ("echo", "later/echo", "node"):
            for length in (1 << 10, 64 << 10):
                self.say(f"calls of /{path} with {length} bytes")
                self.load(f"{server.data_url}/{path}", 8, "-X", "POST", "-d", "x" * length)
        self.say("calls that read and write state, and that call others")
        self.load(f"{server.data_url}/count", 1)  # Two at once may conflict.
        self.load(f"{server.data_url}/fetch?{server.data_url}/node", 8)

    def events(self, server: Server, app: str, event: str) -> None:
        self.say(f"events of {event}")
        fields = {
            "authorization": f"Bearer {server.token()}",
            "content-type": "application/json",
            "ce-specversion": "1.0",
            "ce-type": event,
            "ce-source": "/training",
            "ce-id": "{n}",
            "ce-sent": "{t}",
        }
        headers = [argument for name, value in fields.items() for argument in ("-H", f"{name}: {value}")]
        self.load(f"{server.admin_url}/v1/apps/{app}/events", 16, "-X", "POST", "-d", json.dumps("x" * 1022), *headers)
        end = time.monotonic() + SETTLE_SECONDS
        while any(server.get(f"/v1/apps/{app}/runs", state=state, limit=1)["runs"] for state in ("queued", "running")):
            if time.monotonic() > end:
                raise SystemExit(f"error: events of {event} are not settled after {SETTLE_SECONDS} s")
            time.sleep(0.1)

    def reads(self, server: Server, app: str) -> None:
        self.say("the control API")
        token = ("-H", f"authorization: Bearer {server.token()}")
        for path in (f"/v1/apps/{app}/runs?limit=100", f"/v1/apps/{app}/events?limit=100", "/metrics"):
            self.load(server.admin_url + path, 2, *token)
        for command in (("apps", "ls"), ("functions", "ls"), ("runs", "ls"), ("logs",)):
            server.command(*command, app=None if command[0] == "apps" else app)

    def tls(self) -> None:
        """The same server with a certificate of its own making."""
        if not shutil.which("openssl"):
            self.say("there is no openssl to make a certificate with: TLS is left out")
            return
        self.say("calls over TLS")
        certificate = self.scratch / "certificate.pem"
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        command += ["-keyout", str(self.scratch / "key.pem"), "-out", str(certificate), "-days", "2"]
        command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        subprocess.run(command, check=True, capture_output=True)
        server = self.server("data", "--tls-cert", str(certificate), "--tls-key", str(self.scratch / "key.pem"))
        port = urlsplit(server.data_url).port
        trusted = ssl.create_default_context(cafile=str(certificate))
        for number in range(TLS_CALLS):
            if number % 10 == 0:
                connection = http.client.HTTPSConnection("localhost", port, context=trusted, timeout=30)
            connection.request("GET", "/kept/hello" if number % 2 else "/node")
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200, answer.status
            if number % 10 == 9:
                connection.close()
        self.end(server)

    def demo(self, name: str) -> None:
        self.say(f"the story of examples/{name}")
        environment = {**os.environ, "LLVM_PROFILE_FILE": str(self.options.into / f"{name}-%m.profraw")}
        command = [sys.executable, str(ROOT / "examples" / name / "demo"), "--binary", str(self.options.binary)]
        command += DEMO_OPTIONS.get(name, ())
        done = subprocess.run(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=DEMO_SECONDS,
        )
        if done.returncode != 0:
            raise SystemExit(f"error: examples/{name}/demo ended with {done.returncode}:\n{done.stdout[-2000:]}")

    def run(self) -> None:
        server = self.server("data", "--egress-allow", "127.0.0.0/8")
        try:
            self.say("a deploy")
            server.command("deploy", str(self.app(server)))
            self.end(server)
            server.start()  # On the same ports.
            self.counts.server = server
            self.calls(server)
            self.events(server, "bench", "bench.work")
            server.command("deploy", str(ROOT / "bench" / "events"))
            self.events(server, "events", "bench.work")
            self.reads(server, "bench")
            self.end(server)
            self.tls()
        finally:
            server.stop()
            if self.counts.server:
                self.counts.server.stop()
        self.counts.take()
        for name in DEMOS:
            self.demo(name)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="training", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--binary", type=Path, required=True, help="the evoke executable that counts")
    parser.add_argument("--load", type=Path, required=True, help="an evoke-load executable")
    parser.add_argument(
        "--hellos", type=Path, required=True, help="the folder with proxy.wasm and service.wasm of the examples"
    )
    parser.add_argument("--guests", type=Path, required=True, help="the folder with the components of the tests")
    parser.add_argument(
        "--into", type=Path, required=True, help="a folder for what was counted, which is emptied first"
    )
    options = parser.parse_args()
    for name in ("binary", "load", "hellos", "guests", "into"):
        setattr(options, name, getattr(options, name).resolve())
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    shutil.rmtree(options.into, ignore_errors=True)
    options.into.mkdir(parents=True)
    # For all that we start: what is not told where to write counts to does so where we are.
    os.environ["LLVM_PROFILE_FILE"] = str(options.into / "other-%m.profraw")
    scratch = Path(tempfile.mkdtemp(prefix="evoke-training-"))
    try:
        Training(options, scratch).run()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()

"""Twenty instances that share 200 MiB, and what the first answer costs when there is none.

Starts Evoke on a fresh data folder, deploys the example, and shows: how long the first answer of all takes, which loads the text; that
twenty instances at once hold it once (proportional set size, from /proc); and, when all of them have gone idle, how long
the next answer takes, for which nothing is loaded. Ends with 0 only if every claim held. Needs to run as root: instances are other users' processes.
"""

import argparse
import http.client
import json
import os
import shutil
import signal
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import quote, urlsplit

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[2] / "scripts")]
sys.dont_write_bytecode = True

from rig.processes import descendants
from rig.server import Server, ServerError

INSTANCES = 20
QUERY = "semaphore acquire permit"
SCAN = "/grep?re=" + quote(r"unsafe\s+impl\b.*\bSync\b.*\bnever_there_\w+")
IDLE_SECONDS = 120
KEPT = 2  # Processes with the text when there is no instance: the zygote and what it has forked ahead.
OWN_MIB = 8  # What an instance may have for itself; all of the text would be many times that.
MIB = 1 << 20


def main() -> int:
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument("--binary", type=Path, required=True, help="the evoke executable")
    parser.add_argument("--index", type=Path, default=HERE.parent / "index", help="what ./build has made")
    parser.add_argument("--query", default=QUERY, help="words that are looked for")
    parser.add_argument(
        "--samples", type=int, default=1, help="first answers from nothing; each waits until all is idle"
    )
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    if not (options.index / "index.json").exists():
        sys.exit(f"there is no index in {options.index}: run examples/search/build")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    scratch = Path(tempfile.mkdtemp(prefix="evoke-search-"))
    server = Server(options.binary.resolve(), scratch / "data")
    try:
        figures, failed = tell(server, scratch / "app", options)
    except ServerError as error:
        print(f"\n{error}\n\nthe server's last words:\n{server.last_words()}", file=sys.stderr)
        return 1
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        server.stop()
        shutil.rmtree(scratch, ignore_errors=True)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    if failed:
        print(f"\nsearch: failed: {'; '.join(failed)}")
        return 1
    print("\nsearch: every claim held")
    return 0


def tell(server: Server, app: Path, options: argparse.Namespace) -> tuple[dict, list[str]]:
    text = json.loads((options.index / "index.json").read_text())["buffers"]
    held = sum(buffer["bytes"] for buffer in text.values())
    app.mkdir()
    for name in ("evoke.toml", "search.py", "corpus.py"):
        shutil.copy(HERE.parent / name, app)
    shutil.copytree(options.index, app / "index")
    server.start()
    server.command("deploy", str(app))
    query = f"/search?q={quote(options.query)}"
    figures, failed = {"held_mib": round(held / MIB)}, []

    def claim(words: str, holds: bool) -> None:
        print(f"  {'ok ' if holds else 'NOT'} {words}")
        if not holds:
            failed.append(words)

    took, found = ask(server, query)
    figures["first_of_all_ms"] = round(took)
    print(f"{held / MIB:.0f} MiB in memory; the first answer of all: {took:.0f} ms")
    claim("the query finds something", found["files"] > 0)
    print(f"      {found['files']} files; the best: {', '.join(one['file'] for one in found['best'][:1])}")
    warm = [ask(server, query)[0] for _ in range(20)]
    figures["warm_ms"] = round(statistics.median(warm), 1)
    print(f"  warm: {figures['warm_ms']} ms, median of 20")

    alive = most_at_once(server)
    loaders = [pid for pid in alive if holds_more(alive, pid, held)]
    pss, rss = (sum(alive[pid][what] for pid in loaders) for what in ("Pss", "Rss"))
    own = sum(alive[pid]["Private_Clean"] + alive[pid]["Private_Dirty"] for pid in loaders)
    figures |= {
        "processes": len(loaders),
        "pss_mib": round(pss / MIB),
        "rss_mib": round(rss / MIB),
        "private_mib": round(own / MIB),
    }
    print(
        f"{len(loaders)} processes with the text: RSS {rss / MIB:,.0f} MiB together, PSS {pss / MIB:.0f} MiB, of it {own / MIB:.0f} MiB private"
    )
    claim(f"{INSTANCES} instances and what they are forked from", len(loaders) >= INSTANCES + 1)
    claim(f"they hold the {held / MIB:.0f} MiB once", pss < held + INSTANCES * OWN_MIB * MIB)

    colds = []
    for _ in range(options.samples):
        loaded = wait_until_idle(server, held)
        colds.append(ask(server, query)[0])
        again = {pid for pid, holds in processes(server).items() if holds["Rss"] > 0.9 * held}
        claim("after all instances had gone the text was not loaded again", loaded <= again)
    if colds:
        figures["from_nothing_ms"] = [round(ms, 1) for ms in colds]
        print(f"no instance was left; the next answer: {', '.join(f'{ms:.1f}' for ms in colds)} ms, the query included")
    return figures, failed


def ask(server: Server, path: str) -> tuple[float, dict]:
    """Milliseconds from the request to the end of its answer, on a connection that is open already."""
    connection = http.client.HTTPConnection(urlsplit(server.data_url).netloc, timeout=60)
    connection.connect()
    begin = time.perf_counter()
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    took = (time.perf_counter() - begin) * 1000
    connection.close()
    if answer.status != 200:
        raise ServerError(f"GET {path}: {answer.status} {body.decode(errors='replace')}")
    return took, json.loads(body)


def most_at_once(server: Server) -> dict[int, dict]:
    """More scans of all the text at once than there may be instances; the processes when there were most of them."""
    scans = [threading.Thread(target=ask, args=(server, SCAN)) for _ in range(3 * INSTANCES)]
    for scan in scans:
        scan.start()
    most: dict[int, dict] = {}
    while any(scan.is_alive() for scan in scans):
        seen = processes(server)
        if len(seen) >= len(most):
            most = seen
        time.sleep(0.05)
    return most


def wait_until_idle(server: Server, held: int) -> set[int]:
    """Waits until no instance is left: the process that has loaded the text, and the one forked ahead of the next request. Returns them."""
    begin = time.monotonic()
    while True:
        alive = processes(server)
        left = {pid for pid in alive if holds_more(alive, pid, held)}
        if len(left) <= KEPT:
            return left
        if time.monotonic() - begin > IDLE_SECONDS:
            raise ServerError(f"instances were still there after {IDLE_SECONDS} s without a request")
        time.sleep(0.25)


def holds_more(alive: dict[int, dict], pid: int, held: int) -> bool:
    """Whether a process has all of the text mapped, as the one that has loaded it and all that come from it do."""
    return alive[pid]["Rss"] > 0.9 * held


def processes(server: Server) -> dict[int, dict]:
    """What each process below the server holds, in bytes by the names of smaps_rollup."""
    found = {}
    for pid in descendants(server.pid):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
        except OSError:
            continue  # It has just ended.
        found[pid] = {name: int(size.split()[0]) << 10 for name, size in (line.split(":") for line in lines)}
    return found


if __name__ == "__main__":
    if os.geteuid() != 0:
        sys.exit("run it as root: /proc tells the memory of other users' processes to nobody else")
    sys.exit(main())

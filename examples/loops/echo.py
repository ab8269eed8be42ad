"""A service of somebody else: whatever it is sent, it sends back to where Evoke listens.

    python3 echo.py [--port 7171] [--to http://127.0.0.1:7070]

A proxy passes header fields on, as this one does, and RFC 8586 wants all of them to pass on `CDN-Loop`. With `?later` it answers
at once, forgets the fields, and sends a request of its own a moment later: a queue, or a ticket system with webhooks, does that.
"""

import argparse
import sys
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

HOP_BY_HOP = {"host", "connection", "content-length", "transfer-encoding", "accept-encoding"}


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        path = urlsplit(self.path)
        if path.query == "later":
            threading.Timer(0.005, send, [self.server.to + path.path, {}]).start()
            return self.answer(202, b"later\n", "text/plain")
        fields = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
        self.answer(*send(self.server.to + path.path, fields))

    def answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_) -> None:
        pass


def send(url: str, fields: dict[str, str]) -> tuple[int, bytes, str]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, b"", fields, method="POST"), timeout=30) as answer:
            return answer.status, answer.read(), answer.headers.get("content-type", "text/plain")
    except urllib.error.HTTPError as error:
        return error.code, error.read(), error.headers.get("content-type", "text/plain")
    except OSError as error:
        return 502, str(error).encode(), "text/plain"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=7171)
    parser.add_argument("--to", default="http://127.0.0.1:7070")
    options = parser.parse_args()
    server = ThreadingHTTPServer(("127.0.0.1", options.port), Echo)
    server.to = options.to
    print(f"echo: http://127.0.0.1:{server.server_address[1]}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main()

"""A small ticket service: HTTP in front, SQLite behind, and a signed webhook for every ticket that is closed.

    python3 examples/delivery/tickets --port 7100 --database tickets.db --webhook http://127.0.0.1:7070/hooks/tickets --secret secret.txt

    POST /tickets                 {"kind", "title", "text"}; with Idempotency-Key the same key is the same ticket
    GET  /tickets                 all of them
    GET  /tickets/{number}
    POST /tickets/{number}/close  {"resolution": "approved"}

It stands for a service of others: it knows nothing of Evoke, and would report to anybody.
"""

import argparse
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from book import Book
from reports import Reports

BODY_BYTES_MAX = 1 << 20


def main() -> None:
    parser = argparse.ArgumentParser(prog="tickets", description=__doc__.split("\n")[0])
    parser.add_argument("--port", type=int, default=7100, help="0: a free one (7100)")
    parser.add_argument("--database", type=Path, required=True)
    parser.add_argument("--webhook", required=True, help="where closed tickets are reported to")
    parser.add_argument("--secret", type=Path, required=True, help="a file with whsec_ and base64")
    options = parser.parse_args()
    book = Book(options.database)
    reports = Reports(book, options.webhook, options.secret.read_text().strip())
    server = ThreadingHTTPServer(("127.0.0.1", options.port), handler(book, reports))
    reports.start()
    print(f"tickets: ready on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


def handler(book: Book, reports: Reports) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            match self.path.strip("/").split("/"):
                case ["tickets"]:
                    self.answer(200, {"tickets": book.all()})
                case ["tickets", number] if ticket := book.get(number):
                    self.answer(200, ticket)
                case _:
                    self.answer(404, {"error": f"there is no {self.path}"})

        def do_POST(self) -> None:
            size = int(self.headers.get("content-length", 0))
            if size > BODY_BYTES_MAX:
                return self.answer(413, {"error": f"a body may have {BODY_BYTES_MAX} bytes"})
            try:
                asked = json.loads(self.rfile.read(size))
                match self.path.strip("/").split("/"):
                    case ["tickets"]:
                        key = self.headers.get("idempotency-key")
                        new, ticket = book.open(key, asked["kind"], asked["title"], asked["text"])
                        self.answer(201 if new else 200, ticket)
                    case ["tickets", number, "close"] if ticket := book.close(number, asked["resolution"]):
                        reports.wake()
                        self.answer(200, ticket)
                    case _:
                        self.answer(404, {"error": f"there is no {self.path}"})
            except (ValueError, KeyError, TypeError) as error:
                self.answer(400, {"error": f"not what this takes: {error!r}"})

        def answer(self, status: int, body: dict) -> None:
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_arguments) -> None:
            pass

    return Handler


if __name__ == "__main__":
    main()

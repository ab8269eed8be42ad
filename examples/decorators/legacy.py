"""A service of before: it takes orders and greets. It believes what it is sent, and nobody may touch it any more.

python3 legacy.py [PORT]    (8081 unless it is given; 0: any that is free)
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class Legacy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        target = urlsplit(self.path)
        if target.path != "/hello":
            return self.answer(404, {"error": "nothing here"})
        name = parse_qs(target.query).get("name", ["stranger"])[0]
        self.answer(200, {"greeting": f"Hello, {name}."})

    def do_POST(self):
        order = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        try:
            total = sum(item["price"] * item["count"] for item in order["items"])
            self.answer(201, {"total": f"{total} {order['currency']}", "gift": order["gift"]})
        except (KeyError, TypeError) as error:
            # Somebody is woken at night for each of these.
            self.answer(500, {"error": repr(error)})

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        pass


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8081
    server = ThreadingHTTPServer(("127.0.0.1", port), Legacy)
    print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()

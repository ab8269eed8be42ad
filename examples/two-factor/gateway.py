"""An SMS gateway as one rents them: POST /messages { to, text }. This one prints what it would send.

The same `Idempotency-Key` is one message. GET /messages says what was sent. POST /outage { status } has it refuse with that
status; 0 ends that.

Usage: python3 gateway.py
"""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SENT: dict[str, dict] = {}
OUTAGE = {"status": 0, "refused": 0}


class Gateway(BaseHTTPRequestHandler):
    def do_GET(self):
        self.reply(200, {"messages": list(SENT.values()), "refused": OUTAGE["refused"]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/outage":
            OUTAGE["status"] = body["status"]
            return self.reply(200, {})
        if OUTAGE["status"]:
            OUTAGE["refused"] += 1
            return self.reply(OUTAGE["status"], {"title": "we are having a bad day"})
        SENT.setdefault(self.headers["idempotency-key"], body)
        print(f"to {body['to']}: {body['text']}", flush=True)
        self.reply(202, {})

    def reply(self, status: int, body: dict):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        """Says nothing."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "2580"))), Gateway)
    print(f"SMS gateway on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()

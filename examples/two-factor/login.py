"""The login service: an ordinary HTTP server, no function. Knows passwords, and leaves the second factor to Evoke.

    POST /login       { user, password }  →  202 { id, expires }   at once; the code comes by SMS
    POST /login/code  { id, code }        →  200 { session }, or what verify says

Usage: EVOKE_URL=http://127.0.0.1:7070 LOGIN_KEY=… python3 login.py
"""

import hashlib
import hmac
import json
import os
import secrets
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CODE_SECONDS = int(os.environ.get("CODE_SECONDS", "300"))


def hashed(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1)


SALT = secrets.token_bytes(16)
USERS = {"ada": {"password": hashed("correct horse", SALT), "phone": "+41790000001"}}
NOBODY = {"password": hashed(secrets.token_urlsafe(), SALT), "phone": ""}  # Takes as long as somebody.


class Login(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        match self.path:
            case "/login":
                self.reply(*login(body))
            case "/login/code":
                self.reply(*enter(body))
            case _:
                self.reply(404, {"title": "no such page"})

    def reply(self, status: int, body: dict):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        """Says nothing."""


def login(body: dict) -> tuple[int, dict]:
    user = USERS.get(body["user"], NOBODY)
    if not hmac.compare_digest(hashed(body["password"], SALT), user["password"]):
        return 401, {"title": "wrong user or password"}
    challenge = {"id": secrets.token_urlsafe(16), "user": body["user"], "phone": user["phone"]}
    challenge["expires"] = time.time() + CODE_SECONDS
    # 202 as soon as it is on disk: the code will be sent, whatever becomes of Evoke, the gateway, or us.
    status, answer = ask("/challenges", challenge, {"prefer": "respond-async", "idempotency-key": challenge["id"]})
    if status != 202:
        return 503, {"title": "the second factor is out of order", "detail": answer.get("detail")}
    return 202, {"id": challenge["id"], "expires": challenge["expires"]}


def enter(body: dict) -> tuple[int, dict]:
    status, answer = ask("/verify", {"id": body["id"], "code": body["code"]}, {})
    if status == 200:
        answer["session"] = secrets.token_urlsafe(24)
    return status, answer


def ask(path: str, body: dict, headers: dict) -> tuple[int, dict]:
    headers = {"authorization": f"Bearer {os.environ['LOGIN_KEY']}", "content-type": "application/json", **headers}
    request = urllib.request.Request(os.environ["EVOKE_URL"] + path, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read() or b"{}")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"{}")


def main():
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8080"))), Login)
    print(f"login service on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()

"""Real servers on 127.0.0.1, each on a free port: HTTP, HTTPS (api.example.test), SMTP, and one that sends back what it
gets. Prints their ports as one line of JSON, then a line for each message that came by SMTP. Ends with its standard input."""

import asyncio
import http.server
import json
import ssl
import sys
import threading
from pathlib import Path

from aiosmtpd.smtp import SMTP


class Hello(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = f"{self.headers['Host'].split(':')[0]} {self.path}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def web(context: ssl.SSLContext | None) -> int:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hello)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


class Mailbox:
    async def handle_DATA(self, _server, _session, envelope):
        print(json.dumps({"to": envelope.rcpt_tos, "bytes": len(envelope.content)}), flush=True)
        return "250 kept"


async def send_back(reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write(b" bye")
        await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(Path(__file__).with_name("server.pem"))
    loop = asyncio.get_running_loop()
    smtp = await loop.create_server(lambda: SMTP(Mailbox(), hostname="mail.example.test"), "127.0.0.1", 0)
    echo = await asyncio.start_server(send_back, "127.0.0.1", 0)
    ports = {name: server.sockets[0].getsockname()[1] for name, server in [("smtp", smtp), ("echo", echo)]}
    print(json.dumps({**ports, "http": web(None), "https": web(context)}), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())

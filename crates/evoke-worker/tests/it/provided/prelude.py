#!/usr/bin/env python3
import http.client, json, os, re, socket, sys, threading, time
from base64 import b64encode

API = os.environ["AWS_LAMBDA_RUNTIME_API"]
RUNTIME = "/2018-06-01/runtime"


def call(method, path, body=None, headers={}, connection=None):
    """Status, header fields, body; on a connection of its own unless one is given."""
    own = connection or http.client.HTTPConnection(API)
    own.request(method, path, body, headers)
    answer = own.getresponse()
    fields = {name.lower(): value for name, value in answer.getheaders()}
    return answer.status, fields, answer.read()


def next_invocation():
    """Id, header fields, payload."""
    status, fields, body = call("GET", RUNTIME + "/invocation/next")
    assert status == 200, (status, body)
    return fields["lambda-runtime-aws-request-id"], fields, json.loads(body)


def respond(id, value, headers={}):
    body = value if isinstance(value, (bytes, str)) else json.dumps(value)
    return call("POST", f"{RUNTIME}/invocation/{id}/response", body, headers)


def fail(id, error, headers={}):
    return call("POST", f"{RUNTIME}/invocation/{id}/error", json.dumps(error), headers)


def serve(handler):
    while True:
        id, fields, payload = next_invocation()
        respond(id, handler(payload, fields))


def stream(id, chunks, content_type="application/vnd.awslambda.http-integration-response", trailers=()):
    """Writes HTTP by hand: the standard library has no trailers."""
    host, port = API.split(":")
    wire = socket.create_connection((host, int(port)))
    names = "".join(f"Trailer: {name}\r\n" for name, _ in trailers)
    wire.sendall(
        f"POST {RUNTIME}/invocation/{id}/response HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        f"Lambda-Runtime-Function-Response-Mode: streaming\r\nContent-Type: {content_type}\r\n{names}\r\n".encode()
    )
    for chunk in chunks:
        if chunk:
            wire.sendall(b"%x\r\n%b\r\n" % (len(chunk), chunk))
    wire.sendall(b"0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in trailers).encode() + b"\r\n")
    return int(wire.recv(65536).split()[1])

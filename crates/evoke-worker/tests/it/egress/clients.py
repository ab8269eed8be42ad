"""What people write: each client as in its own documentation. Where to is in the environment."""

import http.client
import os
import smtplib
import socket
import ssl
import sys
import urllib.request

HERE = os.path.dirname(__file__)
sys.path.append(os.path.join(HERE, "packages"))

import httpx
import requests

HOST = "api.example.test"
HTTP = f"http://{HOST}:{os.environ['HTTP']}/page"
HTTPS = f"https://{HOST}:{os.environ['HTTPS']}/page"
CA = os.path.join(HERE, "ca.pem")


def handler(event, context):
    context = ssl.create_default_context(cafile=CA)
    answers = {
        "urllib": urllib.request.urlopen(HTTP).read().decode(),
        "urllib tls": urllib.request.urlopen(HTTPS, context=context).read().decode(),
        "requests": requests.get(HTTP).text,
        "requests tls": requests.get(HTTPS, verify=CA).text,
        "httpx": httpx.get(HTTP).text,
        "httpx tls": httpx.get(HTTPS, verify=context).text,
        "http.client": read(http.client.HTTPConnection(HOST, int(os.environ["HTTP"]))),
    }
    with smtplib.SMTP("mail.example.test", int(os.environ["SMTP"])) as server:
        server.sendmail("a@example.test", ["b@example.test"], "Subject: hello\n\nBody")
    with socket.create_connection((HOST, int(os.environ["ECHO"]))) as echo:
        echo.sendall(b"ping")
        echo.shutdown(socket.SHUT_WR)
        answers["socket"] = echo.makefile("rb").read().decode()
    return answers


def read(connection):
    connection.request("GET", "/page")
    return connection.getresponse().read().decode()

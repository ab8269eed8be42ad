"""Requests that the function sends over the network tell which of its calls sent them: `traceparent` (W3C Trace Context) and
`CDN-Loop` (RFC 8586). So a request that comes back to the platform, also through other servers, belongs to the chain it is
part of. What the function sets by itself stays as it is.

Where: `http.client`, which urllib, requests and boto3 are built upon, httpx and aiohttp; each when it is imported.
"""

import sys


def mark(running):
    """`running()` is the call in whose name code runs, or None. To be called before the function is loaded."""

    def fields():
        call = running()
        hops = call.head.get("hops") if call is not None else None
        if hops is None:
            return ()
        cause = call.head["cause"]
        return ("traceparent", f"00-{cause['trace_id']}-{cause['span_id']}-01"), ("cdn-loop", hops)

    changes = {"http.client": _http_client, "httpx": _httpx, "aiohttp": _aiohttp}
    for name in [name for name in changes if name in sys.modules]:
        changes.pop(name)(sys.modules[name], fields)
    sys.meta_path.insert(0, _Finder(changes, fields))


class _Finder:
    """Changes modules when they have been imported."""

    def __init__(self, changes, fields):
        self._changes = changes
        self._fields = fields

    def find_spec(self, name, path=None, target=None):
        change = self._changes.pop(name, None)
        if change is None:
            return None
        from importlib.util import find_spec

        # The finders behind this one; by now it has nothing to say about the name.
        spec = find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, change, self._fields)
        return spec


class _Loader:
    def __init__(self, loader, change, fields):
        self._loader = loader
        self._change = change
        self._fields = fields

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        # What else asks for the loader is to find the true one.
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._change(module, self._fields)


def _http_client(module, fields):
    connection = module.HTTPConnection
    end = connection.endheaders

    def endheaders(self, *args, **kwargs):
        there = {line.split(b":", 1)[0].lower() for line in self._buffer[1:]}
        for name, value in fields():
            # A CONNECT is for the proxy.
            if self._method != "CONNECT" and name.encode() not in there:
                self.putheader(name, value)
        return end(self, *args, **kwargs)

    connection.endheaders = endheaders


def _httpx(module, fields):
    def marked(send):
        def sending(self, request, *args, **kwargs):
            for name, value in fields():
                request.headers.setdefault(name, value)
            return send(self, request, *args, **kwargs)

        return sending

    # What AsyncClient.send gives is awaited by its caller.
    module.Client.send = marked(module.Client.send)
    module.AsyncClient.send = marked(module.AsyncClient.send)


def _aiohttp(module, fields):
    request = module.ClientSession._request

    def requesting(self, method, url, *, headers=None, **kwargs):
        from multidict import CIMultiDict

        headers = CIMultiDict(headers or ())
        for name, value in fields():
            headers.setdefault(name, value)
        return request(self, method, url, headers=headers, **kwargs)

    module.ClientSession._request = requesting

"""`handler(event, context)`: requests as function-URL payload 2.0, events as they are.

https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html
"""

from binascii import a2b_base64, b2a_base64
from time import gmtime, strftime, time

from evoke._context import Context
from evoke._event import returned_events
from evoke._json import dumps

_TEXT_TYPES = (
    "text/",
    "application/json",
    "application/javascript",
    "application/xml",
    "application/x-www-form-urlencoded",
    "application/graphql",
)


def handle(handler, call, init):
    """Makes the call; returns the events that the handler returned."""
    context = Context(call, init)
    event = call.head.get("event")
    if event is not None:
        return returned_events(handler(event, context))
    payload = _payload(call, context)
    status, headers, body = to_response(handler(payload, context))
    silent = not body or call.head["request"]["method"] == "HEAD"
    call.respond(status, headers, not silent)
    if not silent:
        call.send_last(body)
    return []


async def handle_async(handler, call, init):
    context = Context(call, init, awaits=True)
    event = call.head.get("event")
    if event is not None:
        return returned_events(await handler(event, context))
    # Looking for a body that is not there would hold up the other calls of the loop.
    if call.head["request"].get("next") and init["concurrency"] == 1:
        payload = _payload(call, context)
    else:
        payload = to_payload(call.head, await call.read_body_async(), context)
        _came(context, payload)
    status, headers, body = to_response(await handler(payload, context))
    silent = not body or call.head["request"]["method"] == "HEAD"
    call.respond(status, headers, not silent)
    if not silent:
        await call.send_last_async(body)
    return []


def _payload(call, context):
    """The payload of a request. A decorator's body is read when it looks for it."""
    request = call.head["request"]
    if not (request.get("next") and request["body"]):
        payload = to_payload(call.head, call.read_body(), context)
        _came(context, payload)
        return payload
    from evoke import _next

    def read():
        kind = next((value for name, value in request["headers"] if name == "content-type"), None)
        return _next.encoded(call.read_body(), kind, encode_body)

    payload = to_payload(call.head, b"", context)
    del payload["isBase64Encoded"]
    payload = _next.Request(payload, lambda: {"isBase64Encoded": False} | read())
    _came(context, payload)
    return payload


def _came(context, payload):
    context._came = payload
    context._target = (payload["rawPath"], payload["rawQueryString"])


def to_payload(head, body, context):
    request = head["request"]
    method = request["method"]
    _, host, path, query = split_uri(request["uri"])
    raw_path = unquote(path)
    headers, cookies = {}, []
    for name, value in request["headers"]:
        if name == "cookie":
            cookies += value.split("; ")
        else:
            headers[name] = f"{headers[name]},{value}" if name in headers else value
    now = time()
    domain = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    payload = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": raw_path,
        "rawQueryString": query,
        "headers": headers,
        "requestContext": {
            "accountId": "anonymous",
            "apiId": context.function_name,
            "authentication": None,
            "authorizer": None,
            "domainName": domain,
            "domainPrefix": domain.partition(".")[0],
            "http": {
                "method": method,
                "path": raw_path,
                "protocol": "HTTP/1.1",
                "sourceIp": address(request["client"])[0],
                "userAgent": headers.get("user-agent", ""),
            },
            "requestId": context.aws_request_id,
            "routeKey": "$default",
            "stage": "$default",
            "time": strftime("%d/%b/%Y:%H:%M:%S +0000", gmtime(now)),
            "timeEpoch": int(now * 1000),
        },
        "isBase64Encoded": False,
    }
    if cookies:
        payload["cookies"] = cookies
    if query:
        from urllib.parse import parse_qsl

        parameters = {}
        for name, value in parse_qsl(query, keep_blank_values=True):
            parameters[name] = f"{parameters[name]},{value}" if name in parameters else value
        payload["queryStringParameters"] = parameters
    if request["params"]:
        payload["pathParameters"] = dict(request["params"])
    if body:
        payload["body"], payload["isBase64Encoded"] = encode_body(body, headers.get("content-type"))
    return payload


def encode_body(body, content_type):
    kind = (content_type or "text/").partition(";")[0].strip().lower()
    if kind.startswith(_TEXT_TYPES) or kind.endswith(("+json", "+xml")):
        try:
            return body.decode(), False
        except UnicodeDecodeError:
            pass  # not what it says; the bytes are kept
    return b2a_base64(body, newline=False).decode(), True


def to_response(result):
    if not isinstance(result, dict) or "statusCode" not in result:
        return 200, [["content-type", "application/json"]], dumps(result).encode("utf-8", "surrogatepass")
    try:
        status = int(result["statusCode"])
    except (TypeError, ValueError):
        status = 0
    if not 200 <= status <= 599:
        raise ValueError(f"the handler returned statusCode {result['statusCode']!r}, which is not within 200 to 599")
    headers = [[name.lower(), str(value)] for name, value in (result.get("headers") or {}).items() if value is not None]
    for name, values in (result.get("multiValueHeaders") or {}).items():
        headers += [[name.lower(), str(value)] for value in values or ()]
    headers += [["set-cookie", str(cookie)] for cookie in result.get("cookies") or ()]
    body = to_body(result.get("body"), result.get("isBase64Encoded"))
    status, headers = own_body(status, headers, body)
    if body and not any(name == "content-type" for name, _ in headers):
        headers.append(["content-type", "application/json"])
    return status, headers, body


def own_body(status, headers, body):
    """Status and header fields of a response: with a body of its own, that of what is next is not meant."""
    return status, [field for field in headers if field[0] != "evoke-body"] if body else headers


def to_body(body, encoded):
    if body is None:
        return b""
    if isinstance(body, str):
        return a2b_base64(body) if encoded else body.encode()
    if isinstance(body, (bytes, bytearray)):
        return bytes(body)
    return dumps(body).encode()


def split_uri(uri):
    """Scheme, host (with port), path, query."""
    scheme, _, rest = uri.partition("://")
    rest, _, query = rest.partition("?")
    host, slash, path = rest.partition("/")
    return scheme, host, slash + path if slash else "/", query


def unquote(path):
    if "%" not in path:
        return path
    from urllib.parse import unquote as decode

    return decode(path)


def address(client):
    """`192.0.2.1:80`, `[::1]:80`, or an address without a port, as host and port."""
    if not client:
        return "", 0
    if client.startswith("["):
        host, _, port = client[1:].partition("]:")
    else:
        host, _, port = client.partition(":") if client.count(":") == 1 else (client, "", "")
    return host, int(port) if port.isdigit() else 0

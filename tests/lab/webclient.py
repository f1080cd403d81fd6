"""A strict HTTP/1.1 client over TLS, made by hand, so that tests can also say what no client may: every
byte that goes out is the test's, every header that comes back is checked.
"""

import base64
import re
import socket
import ssl

from .websocket import WebSocket, accept_of, new_key

STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) [\t\x20-\x7e]*\Z")
FIELD_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*\Z")


class BadAnswer(Exception):
    """The answer breaks RFC 9112."""


class NoAnswer(Exception):
    """The connection ended, or stayed silent, before there was one. data: what came."""

    def __init__(self, why, data=b""):
        super().__init__(f"{why}; got {data[:200]!r}")
        self.data = data


def token(text, url_safe=True, padding=False):
    """The first path segment of the edge service: "domain" or "domain/scheme/host/port"."""
    code = (base64.urlsafe_b64encode if url_safe else base64.b64encode)(text.encode()).decode()
    return code if padding else code.rstrip("=")


def through(url, domain="example.com", **alphabet):
    """The target at E of a URL inside: /TOKEN/path?query."""
    scheme, host, port, rest = re.fullmatch(
        r"(https?)://(\[[^]]*\]|[^/:?]*)(?::(\d+))?(.*)", url, re.S).groups()
    port = port or {"http": "80", "https": "443"}[scheme]
    if not rest.startswith("/"):
        rest = "/" + rest
    return f"/{token(f'{domain}/{scheme}/{host}/{port}', **alphabet)}{rest}"


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class Answer:
    def __init__(self, status, fields):
        self.status = status
        self.fields = fields
        self.body = b""
        self.interim = []  # 1xx before it
        self.trailers = []

    def get(self, name, default=None):
        values = self.all(name)
        return values[0] if values else default

    def all(self, name):
        return [value for key, value in self.fields if key.lower() == name.lower()]

    @property
    def text(self):
        return self.body.decode("utf-8", "replace")

    def __repr__(self):
        return f"{self.status} {self.fields} {self.body[:200]!r}"


class Wire:
    """One TLS connection: bytes out, strict answers in. ca None: the certificate is not looked at."""

    def __init__(self, netns, address, ca=None, server_name="edge1.example.com", timeout=15.0,
                 tls=True):
        self.sock = netns.connect(address, timeout=timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.data = b""
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = ca is not None
            context.verify_mode = ssl.CERT_REQUIRED if ca else ssl.CERT_NONE
            if ca:
                context.load_verify_locations(ca)
            try:
                self.sock = context.wrap_socket(self.sock, server_hostname=server_name)
            except BaseException:
                self.sock.close()
                raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def more(self):
        try:
            piece = self.sock.recv(262144)
        except TimeoutError:
            raise NoAnswer("silence", self.data) from None
        except OSError as error:
            raise NoAnswer(str(error), self.data) from None
        if not piece:
            raise NoAnswer("closed", self.data)
        self.data += piece

    def take(self, n):
        while len(self.data) < n:
            self.more()
        found, self.data = self.data[:n], self.data[n:]
        return found

    def line(self):
        while b"\r\n" not in self.data:
            if b"\n" in self.data or len(self.data) > 65536:
                raise BadAnswer(f"no line: {self.data[:200]!r}")
            self.more()
        found, _, self.data = self.data.partition(b"\r\n")
        return found

    def head(self):
        first = self.line()
        match = STATUS_LINE.match(first)
        if not match:
            raise BadAnswer(f"status line {first!r}")
        return Answer(int(match[1]), self._fields())

    def _fields(self):
        fields = []
        while line := self.line():
            match = FIELD_LINE.match(line)
            if not match:
                raise BadAnswer(f"field line {line!r}")
            fields.append((match[1].decode(), match[2].decode("latin-1")))
        return fields

    def answer(self, method="GET", sink=None):
        """The next final answer, with its body (given to sink(piece) instead, when there is one)."""
        interim = []
        while True:
            answer = self.head()
            if answer.status == 101 or answer.status >= 200:
                break
            if answer.all("content-length") or answer.all("transfer-encoding"):
                raise BadAnswer(f"1xx with a body: {answer}")
            interim.append(answer)
        answer.interim = interim
        pieces = []
        for piece in self._body(answer, method):
            (sink or pieces.append)(piece)
        answer.body = b"".join(pieces)
        return answer

    def _body(self, answer, method):
        lengths, codings = answer.all("content-length"), answer.all("transfer-encoding")
        if len(lengths) > 1 or (lengths and codings) or len(codings) > 1:
            raise BadAnswer(f"framing: {answer}")
        if codings and codings[0].lower() != "chunked":
            raise BadAnswer(f"coding: {answer}")
        if lengths and not re.fullmatch("[0-9]+", lengths[0]):
            raise BadAnswer(f"length: {answer}")
        if method == "HEAD" or answer.status in (101, 204, 304):
            return
        if codings:
            while size := int(re.fullmatch(rb"([0-9A-Fa-f]+)(?:[ \t]*;.*)?", self.line())[1], 16):
                yield from self._counted(size)
                if self.take(2) != b"\r\n":
                    raise BadAnswer("chunk without end")
            answer.trailers = self._fields()
        elif lengths:
            yield from self._counted(int(lengths[0]))
        else:
            while True:
                try:
                    self.more()
                except NoAnswer:
                    yield self.data
                    self.data = b""
                    return

    def _counted(self, left):
        while left:
            if not self.data:
                self.more()
            piece, self.data = self.data[:left], self.data[left:]
            left -= len(piece)
            yield piece

    def until_closed(self):
        """All that comes until the other side closes; NoAnswer when it does not within the time."""
        while True:
            try:
                self.more()
            except NoAnswer as error:
                if "silence" in str(error):
                    raise
                found, self.data = self.data, b""
                return found

    def is_closed(self):
        """Whether the other side has closed, or closes within the time."""
        try:
            self.until_closed()
            return True
        except NoAnswer:
            return False


def request_head(method, target, fields, host="edge1.example.com:8443"):
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in fields]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class WebClient:
    """WebClient(lab.inet, (lab.dmz.v4, 8443), ca=pki.cert("public-ca")).ask("GET", "/..."). Keeps one
    connection as long as the server does; fields go along with every request."""

    def __init__(self, netns, address, ca=None, server_name="edge1.example.com", timeout=15.0,
                 tls=True):
        self.options = (netns, address, ca, server_name, timeout, tls)
        self.server = f"{server_name}:{address[1]}"
        self.fields = []
        self.wire = None

    def connect(self):
        """A connection of its own, for tests that go on by hand."""
        return Wire(*self.options)

    def close(self):
        if self.wire:
            self.wire.close()
            self.wire = None

    def ask(self, method, target, fields=(), body=None, sink=None, expect=False):
        """body: bytes, or pieces that go out chunked. expect: waits for 100 before the body."""
        fields = [*self.fields, *fields]
        if isinstance(body, bytes):
            fields.append(("Content-Length", len(body)))
        elif body is not None:
            fields.append(("Transfer-Encoding", "chunked"))
        if expect:
            fields.append(("Expect", "100-continue"))
        fresh = self.wire is None
        if fresh:
            self.wire = self.connect()
        try:
            answer = self._exchange(method, target, fields, body, sink, expect)
        except (NoAnswer, OSError) as error:
            self.close()
            # an idle connection may have been closed under us (RFC 9112 9.3.1)
            if not fresh and body is None and not getattr(error, "data", b""):
                return self.ask(method, target, fields[len(self.fields):], sink=sink)
            raise
        if answer.status == 101:
            return answer
        if "close" in answer.get("connection", "").lower():
            self.close()
        return answer

    def _exchange(self, method, target, fields, body, sink, expect):
        wire = self.wire
        wire.send(request_head(method, target, fields, self.server))
        if expect:
            first = wire.head()
            if first.status != 100:
                first.body = b"".join(wire._body(first, method))
                self.close()
                return first
        if isinstance(body, bytes):
            wire.send(body)
        elif body is not None:
            for piece in body:
                wire.send(b"%x\r\n%s\r\n" % (len(piece), piece))
            wire.send(b"0\r\n\r\n")
        return wire.answer(method, sink)

    def websocket(self, target, fields=()):
        """(WebSocket, Wire) on a connection of its own."""
        wire, key = self.connect(), new_key()
        wire.send(request_head("GET", target, [
            *self.fields, *fields, ("Connection", "Upgrade"), ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", key)], self.server))
        answer = wire.answer()
        if answer.status != 101 or answer.get("sec-websocket-accept") != accept_of(key):
            wire.close()
            raise NoAnswer(f"not switched: {answer}")
        return WebSocket(wire.take, wire.send, client=True), wire

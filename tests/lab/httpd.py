"""An HTTP/1.1 server for the programs of the lab that play servers: a thread a connection, and nothing
is tidied up on the way, so that what it notes down is what came. Not part of turnpike's own HTTP.
"""

import hashlib
import json
import os
import socket
import threading
import time

MAX_HEAD = 1 << 20
REASONS = {100: "Continue", 101: "Switching Protocols", 200: "OK", 201: "Created", 204: "No Content",
           302: "Found", 304: "Not Modified", 400: "Bad Request", 401: "Unauthorized",
           403: "Forbidden", 404: "Not Found", 413: "Content Too Large",
           500: "Internal Server Error", 503: "Service Unavailable"}


class Bad(Exception):
    """What came is no HTTP/1.1."""


class Gone(Exception):
    """The connection is over, on purpose or not."""


class Journal:
    """JSON lines, appended whole, so that a test may read while others write."""

    def __init__(self, path):
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def note(self, **what):
        os.write(self._fd, (json.dumps({"at": time.time(), **what}) + "\n").encode())


class Request:
    """The head, and the body as it is read."""

    def __init__(self, head):
        lines = head.decode("latin-1").split("\r\n")
        parts = lines[0].split(" ")
        if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
            raise Bad(f"request line {lines[0]!r}")
        self.method, self.target, self.version = parts
        self.fields = []
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if not colon or not name or name != name.strip():
                raise Bad(f"field line {line!r}")
            self.fields.append((name, value.strip(" \t")))
        self.path, _, self.query = self.target.partition("?")
        self.n_body = 0
        self.digest = hashlib.sha256()
        self.trailers = []
        self.body_read = False

    def get(self, name, default=None):
        values = self.all(name)
        return values[0] if values else default

    def all(self, name):
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def queries(self):
        """{key: value} of the query, undecoded."""
        return dict(part.partition("=")[::2] for part in self.query.split("&") if part)

    @property
    def chunked(self):
        return "chunked" in ",".join(self.all("transfer-encoding")).lower()

    @property
    def length(self):
        return int(self.get("content-length", "0"))


class Connection:
    """One client: read requests, answer them."""

    def __init__(self, sock, client, listener):
        self.sock = sock
        self.client = client
        self.listener = listener
        self.data = b""
        self.request = None
        self.keep = True

    def _more(self):
        try:
            piece = self.sock.recv(262144)
        except OSError as error:
            raise Gone(str(error)) from None
        if not piece:
            raise Gone("closed")
        self.data += piece

    def _until(self, mark, limit):
        while mark not in self.data:
            if len(self.data) > limit:
                raise Bad("too long")
            self._more()
        found, _, self.data = self.data.partition(mark)
        return found

    def take(self, n):
        """Exactly n bytes."""
        while len(self.data) < n:
            self._more()
        found, self.data = self.data[:n], self.data[n:]
        return found

    def next_request(self):
        self.request = Request(self._until(b"\r\n\r\n", MAX_HEAD))
        if "close" in ",".join(self.request.all("connection")).lower():
            self.keep = False
        return self.request

    def read_body(self, keep_bytes=1 << 20):
        """The body, cut at keep_bytes; the digest is of all of it."""
        request, kept = self.request, b""
        for piece in self._pieces(request):
            request.digest.update(piece)
            request.n_body += len(piece)
            if len(kept) < keep_bytes:
                kept += piece[:keep_bytes - len(kept)]
        request.body_read = True
        return kept

    def _pieces(self, request):
        if not request.chunked:
            yield from self._counted(request.length)
            return
        while True:
            line = self._until(b"\r\n", 65536)
            try:
                size = int(line.partition(b";")[0], 16)
            except ValueError:
                raise Bad(f"chunk size {line!r}") from None
            if size == 0:
                break
            yield from self._counted(size)
            if self.take(2) != b"\r\n":
                raise Bad("chunk without end")
        while line := self._until(b"\r\n", 65536):
            request.trailers.append(line.decode("latin-1"))

    def _counted(self, left):
        while left:
            if not self.data:
                self._more()
            piece, self.data = self.data[:left], self.data[left:]
            left -= len(piece)
            yield piece

    def send(self, data):
        try:
            self.sock.sendall(data)
        except OSError as error:
            raise Gone(str(error)) from None

    def head(self, status, fields=()):
        lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}"]
        lines += [f"{name}: {value}" for name, value in fields]
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))

    def respond(self, status, body=b"", content_type="text/plain", fields=()):
        body = body.encode() if isinstance(body, str) else body
        lines = list(fields)
        if status not in (204, 304):
            lines += [("Content-Type", content_type), ("Content-Length", len(body))]
        if not self.keep:
            lines.append(("Connection", "close"))
        self.head(status, lines)
        if self.request is None or self.request.method != "HEAD":
            self.send(body)

    def respond_chunked(self, pieces, fields=(), trailers=()):
        self.head(200, [("Content-Type", "text/plain"), ("Transfer-Encoding", "chunked"), *fields])
        if self.request.method == "HEAD":
            return
        for piece in pieces:
            if piece:
                self.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.send(b"0\r\n" + "".join(f"{n}: {v}\r\n" for n, v in trailers).encode() + b"\r\n")

    def close(self, reset=False):
        if reset:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        try:
            self.sock.close()
        except OSError:
            pass


class Listener:
    """Listener("name", (host, port), handle, tls=context or None or a function that returns one).
    handle(connection) serves one request, its head read; raises Gone to end the connection.
    accepted(listener) is asked first and may answer False: closed at once."""

    def __init__(self, name, address, handle, tls=None, journal=None, accepted=None):
        self.name = name
        self.address = address
        self.handle = handle
        self.tls = tls
        self.journal = journal
        self.accepted = accepted
        self._sock = None

    def start(self):
        self._sock = socket.socket()
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._sock.bind(self.address)
        self._sock.listen(1024)
        threading.Thread(target=self._accept, args=(self._sock,), daemon=True).start()
        return self

    def stop(self):
        """New connections are refused; those that are there go on."""
        if self._sock:
            # close() alone would not wake the thread in accept()
            self._sock.shutdown(socket.SHUT_RDWR)
            self._sock.close()
            self._sock = None

    @property
    def listening(self):
        return self._sock is not None

    def _accept(self, sock):
        while True:
            try:
                client, address = sock.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client, address), daemon=True).start()

    def _serve(self, sock, client):
        connection = None
        try:
            if self.accepted and not self.accepted(self):
                sock.close()
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            context = self.tls() if callable(self.tls) else self.tls
            if context:
                sock.settimeout(20)
                sock = context.wrap_socket(sock, server_side=True)
                sock.settimeout(None)
            connection = Connection(sock, client, self)
            while connection.keep:
                connection.next_request()
                self.handle(connection)
                if not connection.request.body_read:
                    connection.keep = False
        except Bad as error:
            self._refuse(connection, error)
        except (Gone, OSError):
            pass  # whoever left has his reasons; the tests look at what was noted
        finally:
            if connection:
                connection.close()
            sock.close()

    def _refuse(self, connection, error):
        if self.journal:
            self.journal.note(on=self.name, bad=str(error), rest=connection.data[:200].hex())
        connection.request = None
        connection.keep = False
        try:
            connection.respond(400, f"{error}\n")
        except Gone:
            pass

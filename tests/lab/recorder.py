"""The program behind origin.Origins: a web server that notes down exactly what it was asked, and behaves
as the first part of the path says. Runs in the `web` namespace.

    python3 -m lab.recorder LISTENERS JOURNAL        LISTENERS: JSON, [name, host, port, [cert, key]]

    /echo           what came, as JSON             /static/N      N bytes, always the same
    /upload         length and SHA-256 of the body /slow?ms=N     answers late
    /headers?n=N    so many answer fields          /chunked       chunks, then trailers
    /trickle?n=N    a byte a second                /early413      413 before the body, then closes
    /early200       200 before the body, stays     /redirect?to=U 302
    /ws             WebSocket echo                 /hang          never answers
    /drop, /reset   ends without an answer         /401           asks for credentials
    /cl-te          an answer that no proxy may pass on
"""

import json
import ssl
import sys
import threading
import time
import urllib.parse

from .httpd import Gone, Journal, Listener
from .websocket import WebSocket, accept_of

PATTERN = bytes(range(256)) * 256  # 64 KiB


def pattern(n_bytes):
    """Pieces of the body that /static/N sends."""
    while n_bytes > 0:
        yield PATTERN[:n_bytes]
        n_bytes -= len(PATTERN)


class Recorder:
    def __init__(self, journal):
        self.journal = journal

    def serve(self, c):
        name = c.request.path.split("/")[1] if c.request.path.startswith("/") else ""
        late = getattr(self, "early_" + name.replace("-", "_"), None)
        if late:
            late(c)
            return
        if "100-continue" in c.request.get("expect", "").lower():
            c.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = c.read_body()
        self.note(c, body)
        answer = getattr(self, "do_" + name.replace("-", "_"), self.do_anything)
        answer(c, body)

    def note(self, c, body=b""):
        r = c.request
        self.journal.note(on=c.listener.name, method=r.method, target=r.target, version=r.version,
                          fields=r.fields, body_bytes=r.n_body, body_sha256=r.digest.hexdigest(),
                          trailers=r.trailers, body=body[:200].decode("latin-1"),
                          client=c.client[0], port=c.client[1], whole=r.body_read)

    # -- with the body read

    def do_anything(self, c, _body):
        c.respond(200, f"{c.listener.name}\n")

    def do_echo(self, c, body):
        r = c.request
        c.respond(200, json.dumps({"on": c.listener.name, "method": r.method, "target": r.target,
                                   "fields": r.fields, "body": body.decode("latin-1"),
                                   "sha256": r.digest.hexdigest(), "trailers": r.trailers}),
                  "application/json")

    def do_upload(self, c, _body):
        c.respond(200, json.dumps({"bytes": c.request.n_body,
                                   "sha256": c.request.digest.hexdigest()}), "application/json")

    def do_static(self, c, _body):
        n_bytes = int(c.request.path.split("/")[2])
        c.head(200, [("Content-Type", "application/octet-stream"), ("Content-Length", n_bytes)])
        if c.request.method != "HEAD":
            for piece in pattern(n_bytes):
                c.send(piece)

    def do_slow(self, c, _body):
        time.sleep(int(c.request.queries().get("ms", "1000")) / 1000)
        c.respond(200, "slow\n")

    def do_headers(self, c, _body):
        query = c.request.queries()
        value = "x" * int(query.get("size", "10"))
        c.respond(200, "many\n", fields=[(f"X-Many-{n}", value) for n in range(int(query["n"]))])

    def do_chunked(self, c, _body):
        c.respond_chunked([b"one ", b"two ", b"three" * 1000], [("Trailer", "X-Checksum")],
                          [("X-Checksum", "42")])

    def do_trickle(self, c, _body):
        def drops():
            for _ in range(int(c.request.queries().get("n", "10"))):
                yield b"."
                time.sleep(1)
        c.respond_chunked(drops())

    def do_redirect(self, c, _body):
        where = urllib.parse.unquote(c.request.queries().get("to", "/"))
        c.respond(302, "", fields=[("Location", where)])

    def do_401(self, c, _body):
        c.respond(401, "", fields=[("WWW-Authenticate", 'Basic realm="origin"')])

    def do_hang(self, c, _body):
        try:
            c.sock.settimeout(600)
            c.sock.recv(1)
        except OSError:
            pass
        raise Gone("hung")

    def do_drop(self, _c, _body):
        raise Gone("dropped")

    def do_reset(self, c, _body):
        c.close(reset=True)
        raise Gone("reset")

    def do_cl_te(self, c, _body):
        c.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
               b"5\r\nhello\r\n0\r\n\r\n")
        raise Gone("said nonsense")

    def do_ws(self, c, _body):
        key = c.request.get("sec-websocket-key")
        if not key or "websocket" not in c.request.get("upgrade", "").lower():
            c.respond(400, "no WebSocket\n")
            return
        c.head(101, [("Upgrade", "websocket"), ("Connection", "Upgrade"),
                     ("Sec-WebSocket-Accept", accept_of(key))])
        c.keep = False
        WebSocket(c.take, c.send, client=False).echo()

    # -- with the body still to come

    def early_early413(self, c):
        self.note(c)
        c.keep = False
        c.respond(413, "too large\n")

    def early_early200(self, c):
        self.note(c)
        c.respond(200, "early\n")
        # the body is read away as one: the connection stays usable for who can count
        c.read_body(0)


def main():
    journal = Journal(sys.argv[2])
    recorder = Recorder(journal)
    for name, host, port, files in json.loads(sys.argv[1]):
        context = None
        if files:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*files)

        def accepted(listener):
            journal.note(on=listener.name, connected=True)
            return True

        Listener(name, (host, port), recorder.serve, context, journal, accepted).start()
    threading.Event().wait()


if __name__ == "__main__":
    main()

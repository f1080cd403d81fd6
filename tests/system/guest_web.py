#!/usr/bin/env python3
"""Guests from the web: the redirect to HTTPS, the two paths that are served, three guest servers of
which the best one gets everything, and what guests notice when it goes and comes back."""

import pathlib
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from lab.guests import SERVERS, SITE, Guests
from lab.play import Play, expect
from lab.webcast import WebCast
from lab.webclient import BadAnswer, NoAnswer, WebClient
from lab.websocket import TEXT

play = Play()

HOST = "guest.example.net"  # as the world knows it


class Stage(WebCast):
    def __init__(self, lab):
        self.guests = Guests(lab)
        super().__init__(lab, allow=("web1",), edge_web_more="\n" + SITE.strip(),
                         core_more=SERVERS.format(ca=self.guests.ca))
        self.until(lambda: self.ask("/call").status == 200, 15, "the site")

    def prepare(self):
        self.guests.start()
        super().prepare()

    def web(self, port=9443, timeout=30.0, tls=True):
        return WebClient(self.lab.inet, (self.lab.dmz.v4, port), None, HOST, timeout=timeout, tls=tls)

    def ask(self, path, method="GET", body=None):
        """A connection of its own; HTTPS."""
        client = self.web()
        try:
            return client.ask(method, path, body=body)
        finally:
            client.close()

    def plain(self, path="/", method="GET", host=f"{HOST}", fields=(), body=b""):
        """The port of plain HTTP, said by hand."""
        with self.web(9980, tls=False).connect() as wire:
            head = [f"{method} {path} HTTP/1.1"] + ([f"Host: {host}"] if host is not None else [])
            head += [f"{name}: {value}" for name, value in fields] + ["Connection: close"]
            wire.send("\r\n".join(head).encode() + b"\r\n\r\n" + body)
            return wire.answer(method)

    def serves(self, *names):
        """Which server answers now, asked on a new connection."""
        return self.ask("/call").text.strip() in names

    def all_up(self):
        self.until(lambda: all(b["state"] == "up" and b["addresses"] for b in self.backends()), 20,
                   "all guest servers up")
        self.until(lambda: self.serves("guest1"), 20, "guest1")

    def backends(self):
        return self.core.ctl("backends")["backends"]


class Session:
    """What a guest's browser does: asks all the time on a connection that it keeps, and holds a
    WebSocket that it opens again when it ends."""

    def __init__(self, c):
        self.c = c
        self.served = []    # (time, by whom, how long it took)
        self.failures = []
        self.echoes = []    # (time, reconnected)
        self._over = threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True)
                         for work in (self._requests, self._socket)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        self.c.until(lambda: len(self.served) > 5 and len(self.echoes) > 3, 15, "a session")
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join(60)

    def _requests(self):
        client = self.c.web()
        while not self._over.wait(0.05):
            start = time.monotonic()
            try:
                answer = client.ask("GET", "/jabberc/poll")
                if answer.status == 200:
                    self.served.append((start, answer.text.strip(), time.monotonic() - start))
                else:
                    self.failures.append((answer.status, answer.text))
            except (NoAnswer, BadAnswer, OSError) as error:
                self.failures.append((start, repr(error)))
        client.close()

    def _socket(self):
        fresh = True
        while not self._over.is_set():
            try:
                socket, wire = self.c.web(timeout=5).websocket("/call/ws")
                while not self._over.wait(0.05):
                    socket.send("still there?")
                    if socket.receive() != (TEXT, b"still there?"):
                        break
                    self.echoes.append((time.monotonic(), fresh))
                    fresh = False
                wire.close()
            except (NoAnswer, BadAnswer, OSError):
                pass
            fresh = True
            self._over.wait(0.2)

    def by(self, name, since, deadline_s=15.0):
        """Until ten requests in a row were served by that one, and the WebSocket echoes."""
        def right():
            newest = [who for at, who, _ in self.served if at > since][-10:]
            return len(newest) == 10 and set(newest) == {name} and [
                at for at, _ in self.echoes if at > since + 0.5]
        self.c.until(right, deadline_s, f"a session served by {name}")


@play.check
def plain_http(c):
    """every request on 9980 is sent to the same path by HTTPS: GET and HEAD by 301, others by 308; nothing goes inside"""
    # the stage's own request is noted a moment after its answer
    c.until(lambda: c.guests.noted("/call"), 5, "the access log")
    opens = c.guests.access_lines()
    channels = len(c.edge.connections("channel", ended=True)) + len(c.edge.connections("channel"))
    for method, status in (("GET", 301), ("HEAD", 301), ("POST", 308), ("PUT", 308), ("DELETE", 308),
                           ("OPTIONS", 308), ("BREW", 308)):
        answer = c.plain("/call/x%20y?a=b&c=%0d%0a//", method)
        expect(answer.status == status, method, answer)
        expect(answer.get("location") == f"https://{HOST}/call/x%20y?a=b&c=%0d%0a//", method, answer)
    table = ((f"{HOST}:80", HOST), (f"{HOST}:9980", HOST), ("GUEST.example.net", HOST),
             ("203.0.113.10", "203.0.113.10"), ("[2001:db8:3::10]:80", "[2001:db8:3::10]"))
    for asked, host in table:
        answer = c.plain("/", host=asked)
        expect(answer.get("location") == f"https://{host}/", asked, answer)
    for path in ("//evil.example/", "/..//", "/%2e%2e/secret", "/\\evil", "/a/../b"):
        answer = c.plain(path)
        expect(answer.status == 400 or answer.get("location") == f"https://{HOST}{path}", path, answer)
    answer = c.plain("http://other.example/call?x", host="other.example")
    expect(answer.get("location") == "https://other.example/call?x", answer)
    answer = c.plain("*", "OPTIONS")
    expect(answer.get("location") == f"https://{HOST}/", answer)
    answer = c.plain("/call", "POST", fields=[("Content-Length", "5")], body=b"hello")
    expect(answer.status == 308, answer)
    expect(c.guests.access_lines() == opens, "a request went inside")
    expect(len(c.edge.connections("channel", ended=True)) + len(c.edge.connections("channel"))
           == channels, "a channel was opened")
    rows = [r for r in c.edge.connections("request", ended=True) if r["zone"] == "guest"]
    expect([r for r in rows if r["reason"].startswith("301")], "not in the table", rows[-3:])


@play.check
def plain_http_nonsense(c):
    """what is no request is 400 there as well; no host and a host that is none do not become an address"""
    with c.web(9980, tls=False).connect() as wire:
        wire.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 40 + b"\r\n\r\n")
        expect(wire.answer().status == 400, "a TLS hello")
    for host in (None, "a b", "evil.example/x", "a@b", "x\x01y"):
        answer = c.plain(host=host)
        expect(answer.status == 400, host, answer)
    for host in ("0x7f.1", "a:99999", "exa$mple"):
        answer = c.plain(host=host)
        expect(answer.status == 400 or answer.get("location") == "https://edge1.example.com/", host, answer)
    answer = c.plain("/", "TRACE")
    expect(answer.status in (400, 405), answer)
    with c.web(9980, tls=False).connect() as wire:
        wire.send(b"GET /a HTTP/1.0\r\n\r\n")
        answer = wire.answer()
        expect(answer.status == 301 and answer.get("location") == "https://edge1.example.com/a", answer)


@play.check
def public_name_and_port(c):
    """public-host and public-port say where to; a reload changes them; two sites cannot have one redirect-port"""
    c.edge.edit("redirect-port = 9980", "redirect-port = 9980\npublic-host = join.example.net\npublic-port = 9443")
    c.until(lambda: c.plain("/call", host="any").get("location") == "https://join.example.net:9443/call", 5,
            "the new name")
    c.edge.edit("\npublic-host = join.example.net\npublic-port = 9443", "")
    c.until(lambda: c.plain("/call").get("location") == f"https://{HOST}/call", 5, "the old name")
    second = "\n[site second]\nport = 9444\nredirect-port = 9980\ntls = public\ntarget = http://a.example\n"
    before = c.edge.ini.read_text()
    c.edge.ini.write_text(before + second)
    done = c.edge.ctl("reload", check=False)
    c.edge.ini.write_text(before)
    expect("9980 is the redirect-port of [site guest] already" in str(done), done)
    c.edge.ctl("reload")


@play.check
def two_paths_only(c):
    """/call and /jabberc and what is below them; any other path, in any spelling, is 404 or 400 and touches nothing inside"""
    for path in ("/call", "/call/", "/call/alice?x=1", "/jabberc", "/jabberc/a/b", "/%63all/x"):
        expect(c.ask(path).status == 200, path)
    client = c.web()
    # the last of them is noted a moment after its answer
    c.until(lambda: c.guests.noted("/call/x"), 5, "the access log")
    n_inside = c.guests.access_lines()

    def channels():
        return len(c.edge.connections("channel", ended=True) + c.edge.connections("channel"))
    before = channels()
    for path in ("/", "/callx", "/cal", "/Call", "/CALL", "/jabbercx", "/jabber", "/admin", "/call%00",
                 "/call/../admin", "/call/%2e%2e/admin", "/call/.%2e/admin", "/call/..;/admin", "/call%2f..%2fadmin",
                 "/call/%252e%252e/admin", "//call", "/x/../call", "/call/..", "/./call", "/call\\..\\admin",
                 "/call%5c..%5cadmin", "/jabberc/../../etc/passwd", "/%2fcall", "/call%2fx", "/call;/../admin",
                 "/%ff", "/favicon.ico", "/api", "/get_edge_config"):
        answer = client.ask("GET", path)
        expect(answer.status in (400, 404), path, answer)
        for word in ("guest1", "guest2", "guest3", "10.20.", "core1"):
            expect(word not in answer.text, "names something inside", answer)
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        expect(client.ask(method, "/other", body=b"").status == 404, method)
    expect(client.ask("GET", "https://guest.example.com/call").status == 400, "absolute form")
    client.close()
    expect(c.guests.access_lines() == n_inside, "a request went inside")
    expect(channels() == before, "a channel was opened", before, channels())
    expect(c.edge.traces("http.site.path"), "no trace")
    expect(not c.core.alarms("edge-hostile"), c.core.alarms())


@play.check
def bodies_and_sockets(c):
    """a POST, a chunked POST and a WebSocket come through unchanged, to the best server"""
    c.all_up()
    c.guests.forget()
    expect(c.ask("/jabberc/say", "POST", b"hello").status == 200)
    expect(c.ask("/jabberc/say", "POST", [b"hel", b"lo"]).status == 200)
    rows = c.guests.requests()
    expect([r["body"] for r in rows] == ["hello", "hello"] and {r["on"] for r in rows} == {"guest1"}, rows)
    socket, wire = c.web().websocket("/call/ws")
    for size in (1, 125, 126, 70000):
        socket.send(b"x" * size)
        expect(socket.receive() == (TEXT, b"x" * size), size)
    wire.close()


@play.check
def best_server_gets_all(c):
    """all requests of all guests go to the first server"""
    c.all_up()
    c.guests.forget()
    for _ in range(20):
        expect(c.ask("/call").status == 200)
    expect({r["on"] for r in c.guests.requests()} == {"guest1"}, c.guests.requests())


@play.check
def survives_the_best_server(c):
    """the best server is killed within a session: the next one goes on, no request fails or takes over 3 s; it comes back, so do the requests"""
    c.all_up()
    with Session(c) as session:
        session.by("guest1", time.monotonic())
        killed = time.monotonic()
        c.guests.stop("guest1")
        session.by("guest2", killed)
        c.core.wait(lambda: c.core.alarms("backend-down"), 10, "alarm backend-down")
        slowest = max(took for at, _, took in session.served if at > killed - 1)
        first = min(at for at, who, _ in session.served if who == "guest2") - killed
        print(f"     guest2 serves after {first:.2f} s, the slowest request took {slowest:.2f} s")
        expect(slowest < 3, "a request took", slowest)
        expect(not session.failures, session.failures)
        echoes = [at for at, fresh in session.echoes if at > killed and fresh]
        expect(echoes and echoes[0] - killed < 5, "WebSocket again after", echoes[:1])
        back = time.monotonic()
        c.guests.start_one("guest1")
        session.by("guest1", back)
        expect(not session.failures, session.failures)
    c.core.wait(lambda: not c.core.alarms("backend-down"), 10, "the alarm goes")


@play.check
def survives_two(c):
    """the best two are killed at once: the third goes on"""
    c.all_up()
    with Session(c) as session:
        killed = time.monotonic()
        c.guests.stop("guest1")
        c.guests.stop("guest2")
        session.by("guest3", killed)
        expect(not session.failures, session.failures)
        c.guests.start_one("guest2")
        session.by("guest2", time.monotonic())
        c.guests.start_one("guest1")
        session.by("guest1", time.monotonic())
        expect(not session.failures, session.failures)


@play.check
def silent_server(c):
    """the best server hangs: new and waiting requests go to the next one within seconds"""
    c.all_up()
    c.guests.freeze("guest1")
    try:
        start = time.monotonic()
        answer = c.ask("/call")
        took = time.monotonic() - start
        expect(answer.status == 200 and answer.text == "guest2\n", answer)
        print(f"     answered after {took:.2f} s")
        expect(took < 8, "the first request took", took)
        for _ in range(5):
            start = time.monotonic()
            expect(c.serves("guest2"))
            # who asked the silent one again waited as long as the first
            expect(time.monotonic() - start < max(took, 1), "nobody learned from the first one")
    finally:
        c.guests.thaw("guest1")
    c.until(lambda: c.serves("guest1"), 10, "guest1")


@play.check
def silent_server_with_connections(c):
    """it hangs while browsers have connections to it that they keep: their requests are answered too, by the next one"""
    c.all_up()
    client = c.web()
    expect(client.ask("GET", "/call").text == "guest1\n")
    c.guests.freeze("guest1")
    try:
        start = time.monotonic()
        answer = client.ask("GET", "/call")
        took = time.monotonic() - start
        print(f"     answered after {took:.2f} s")
        expect(answer.status == 200 and answer.text == "guest2\n", answer)
        expect(took < 8, "it took", took)
    finally:
        client.close()
        c.guests.thaw("guest1")
    c.until(lambda: c.serves("guest1"), 10, "guest1")


@play.check
def sick_server(c):
    """its health page says 503: it is left out until it says something better"""
    c.all_up()
    c.guests.sicken("guest1")
    c.until(lambda: c.serves("guest2"), 10, "guest2")
    expect([b["state"] for b in c.backends() if b["server"].startswith("guest1")].count("down") >= 1, c.backends())
    c.guests.sicken("guest1", False)
    c.until(lambda: c.serves("guest1"), 10, "guest1")


@play.check
def all_gone(c):
    """without any server: 502 that names nothing inside, and back when the first one is"""
    c.all_up()
    for name in ("guest1", "guest2", "guest3"):
        c.guests.stop(name)
    answer = c.ask("/call")
    expect(answer.status in (502, 504), answer)
    expect("guest1" not in answer.text and "10.20." not in answer.text, answer)
    for name in ("guest3", "guest2", "guest1"):
        c.guests.start_one(name)
    c.until(lambda: c.serves("guest1"), 10, "guest1")


@play.check
def certificates_are_checked(c):
    """a server with another certificate than the administrator listed is not spoken to"""
    c.all_up()
    ca = c.guests.ca.read_text()
    c.guests.ca.write_text("".join(part + "-----END CERTIFICATE-----\n"
                                   for part in ca.split("-----END CERTIFICATE-----\n")[1:3]))
    c.core.ctl("reload")
    c.until(lambda: c.serves("guest2"), 10, "guest2")
    c.guests.ca.write_text(ca)
    c.core.ctl("reload")
    c.until(lambda: c.serves("guest1"), 10, "guest1")


@play.check
def nothing_inward(c):
    """through all of it the firewall had nothing to drop from E to C"""
    c.firewall_is_clean()


if __name__ == "__main__":
    sys.exit(play.run(Stage))

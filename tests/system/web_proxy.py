#!/usr/bin/env python3
"""Web servers inside, reached through the pair: what is allowed, what passes unchanged, what never
passes, and what happens when servers inside are slow, broken or not who they say they are."""

import hashlib
import pathlib
import re
import ssl
import statistics
import sys
import threading
import time
import urllib.parse
import warnings

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from lab.dns import Dns
from lab.fake_uc import FakeUc
from lab.origin import Origins, field
from lab.outgoing import Outgoing
from lab.play import Play, expect
from lab.recorder import pattern
from lab.topology import SERVERS
from lab.webcast import WebCast
from lab.webclient import NoAnswer, basic, through, token
from lab.websocket import TEXT

play = Play()
MIB = 1 << 20
BIG = 100 * MIB
ORIGIN = "https://origin.example.com"

RULES = """
[allow exact]
url = https://web2.example.com/only
match = exact
methods = GET
tls = uc

[allow below]
url = https://web2.example.com/below
match = prefix
methods = GET HEAD
tls = uc

[allow rebind]
url = https://rebind.example.com/
tls = uc

[allow foreign]
url = https://origin.example.com:8444/
tls = uc
[allow expired]
url = https://origin.example.com:8445/
tls = uc
[allow other-name]
url = https://origin.example.com:8446/
tls = uc
[allow unchecked]
url = https://origin.example.com:8446/unchecked
verify = no
[allow closed]
url = https://origin.example.com:9999/
tls = uc
[allow no-name]
url = https://no-such-host.example.com/
tls = uc

[web]
response-timeout = 3s
"""


class Stage(WebCast):
    def __init__(self, lab):
        super().__init__(lab, origins=("nginx", "haproxy"), allow=("web1", "photos", "origin"),
                         core_more=RULES)
        self.alice = self.client("alice")

    def prepare(self):
        """One more name inside that leads where it should not."""
        self.dns = Dns(self.lab, {"pbx": "rebind IN A 127.0.0.1\n"}).start()
        self.uc = FakeUc(self.lab, self.pki).start()
        self.origins = Origins(self.lab, self.pki).start(("nginx", "haproxy"))
        self.outgoing = Outgoing(self.lab.lan)


@play.check
def serves(c):
    """a page, a photo and an echo come through; HEAD has no body; one TLS connection carries a hundred requests"""
    answer = c.alice.get("https://web1.example.com/pages/index.html")
    expect(answer.status == 200 and b"lives inside" in answer.body, answer)
    head = c.alice.get("https://web1.example.com/pages/index.html", "HEAD")
    expect(head.status == 200 and head.body == b"" and
           head.get("content-length") == answer.get("content-length"), head)
    wire = c.alice.web.wire
    for n in range(100):
        expect(c.alice.get(f"{ORIGIN}/n/{n}").status == 200)
    expect(c.alice.web.wire is wire, "the connection was not kept")


@play.check
def pipelines(c):
    """pipelined requests are answered in their order"""
    with c.alice.web.connect() as wire:
        for n in range(20):
            wire.send(f"GET {through(f'{ORIGIN}/echo?n={n}')} HTTP/1.1\r\nHost: edge1.example.com\r\n"
                      f"Cookie: X-Auth={c.alice.cookie}\r\n\r\n".encode())
        for n in range(20):
            answer = wire.answer()
            expect(answer.status == 200 and f"/echo?n={n}\"" in answer.text, n, answer)


@play.check
def allow_list(c):
    """scheme, host, port, path, method: what the rules say, in the check tool and in fact, with the rule that decided"""
    c.origins.forget()
    c.outgoing.forget()
    table = (
        ("https://web2.example.com/only", "GET", "exact"), ("https://web2.example.com/only?x=1", "GET", "exact"),
        ("https://web2.example.com/only", "HEAD", None), ("https://web2.example.com/only/", "GET", None),
        ("https://web2.example.com/only/more", "GET", None), ("https://web2.example.com/onl", "GET", None),
        ("https://web2.example.com/below", "GET", "below"), ("https://web2.example.com/below/x", "HEAD", "below"),
        ("https://web2.example.com/below/x", "POST", None), ("https://web2.example.com/belowx", "GET", None),
        ("https://web2.example.com/Below", "GET", None), ("http://web2.example.com/below", "GET", None),
        ("https://web2.example.com:8443/below", "GET", None), ("https://web2.example.com/", "GET", None),
        ("https://WEB2.example.com/below", "GET", "below"), ("https://web3.example.com/", "GET", None),
        ("https://10.20.0.62/below", "GET", None), ("https://web1.example.com/x", "DELETE", "web1"),
        ("https://web1.example.com.evil.example/x", "GET", None), ("https://evilweb1.example.com/", "GET", None),
        ("https://cucm1.example.com:8443/cucm-uds/user/alice", "GET", "auto"),
        ("https://cucm1.example.com:8443/ccmadmin/", "GET", None),
        ("https://cucm1.example.com:8443/axl/", "POST", None),
        ("http://cucm1.example.com:6970/x.cnf.xml", "GET", "auto"),
        ("ssh://cucm1.example.com:22/", "GET", None))
    for url, method, rule in table:
        verdict = c.core.allows(url, method)
        expect(verdict["allowed"] == (rule is not None), url, method, verdict)
        expect(verdict["why"], "no reason", verdict)
        if rule:
            expect(verdict["automatic"] == (rule == "auto"), url, verdict)
            expect(rule == "auto" or verdict["rule"] == rule, url, verdict)
        if url.startswith("ssh"):
            continue
        answer = c.alice.get(url, method)
        expect((answer.status != 403) == (rule is not None), url, method, answer)
    seen = {(a, p) for a, p in c.outgoing.opened()}
    expect(("10.20.0.63", 443) not in seen and ("10.20.0.62", 80) not in seen and
           ("10.20.0.62", 8443) not in seen, seen)
    expect(c.edge.traces("http.allow.denied"), "no trace of the refusals")
    expect(not c.core.alarms("edge-hostile"), c.core.alarms())


@play.check
def paths_do_not_climb(c):
    """dot segments, encoded slashes, backslashes, NUL, double encoding: refused, nothing arrives"""
    c.origins.forget()
    for path in ("/below/../secret", "/below/%2e%2e/secret", "/below/.%2e/secret", "/below/%2E./secret",
                 "/below/%252e%252e/secret", "/below/..;x/secret", "/below/..%2fsecret", "/below%2f..%2fsecret",
                 "/below/..\\secret", "/below/..%5csecret", "/below/%00", "/below/./x", "/below/..",
                 "/below/%0d%0aX:%20y", "/below/%zz", "/below/%", "//web3.example.com/below",
                 "/below/%c0%ae%c0%ae/secret", "/%62elow/../secret"):
        answer = c.alice.web.ask("GET", f"/{token('example.com/https/web2.example.com/443')}{path}")
        expect(answer.status in (400, 403), path, answer)
    rows = [r["target"] for r in c.origins.requests()]
    expect(not rows, rows)
    # the same letter spelled otherwise is the same path
    answer = c.alice.web.ask("GET", f"/{token('example.com/https/web2.example.com/443')}/%62elow/x")
    expect(answer.status == 200, answer)


@play.check
def inside_is_not_open(c):
    """loopback, metadata, own ports, every spelling of an address, a name that leads to loopback: refused, no connection is even begun"""
    c.outgoing.forget()
    n_tried = 0
    hosts = ("127.0.0.1", "127.1", "127.0.1", "0.0.0.0", "0", "0177.0.0.1", "0x7f.0.0.1", "0x7f000001",
             "2130706433", "017700000001", "127.0.0.1.", "127.000.000.001", "[::1]", "[::]", "[::ffff:127.0.0.1]",
             "[::ffff:7f00:1]", "[::127.0.0.1]", "[0:0:0:0:0:0:0:1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
             "localhost", "localhost.", "LOCALHOST", "169.254.169.254", "[fe80::1]", "[fd00:20::10]", "10.20.0.10",
             "core1.example.com", "edge1.example.com", "metadata.google.internal", "224.0.0.1", "255.255.255.255",
             "127.0.0.1%00.web1.example.com", "web1.example.com@127.0.0.1", "127.0.0.1#web1.example.com",
             "xn--localhost-", "\u2460\u2461\u2466.0.0.1", "web1.example.com\t", "web1.example.com\r\nX: y")
    for host in hosts:
        for scheme, port in (("http", 80), ("https", 443), ("http", 5060), ("http", 2222), ("http", 8443)):
            answer = c.alice.web.ask("GET", f"/{token(f'example.com/{scheme}/{host}/{port}')}/")
            expect(400 <= answer.status < 500, host, port, answer)
            n_tried += 1
    answer = c.alice.get("https://rebind.example.com/")
    expect(answer.status in (403, 502), answer)
    expect(c.core.traces("http.address.denied"), "no trace of the name that leads to loopback")
    usual = {address for _, _, address in SERVERS} | {c.lab.pbx.v4, c.lab.dmz.v4, c.lab.dmz.v6}
    opened = [a for a in c.outgoing.opened() if a[0] not in usual]
    expect(not opened, n_tried, "tries opened", opened)


@play.check
def redirects_are_not_followed(c):
    """a redirect is the client's business: C does not go there"""
    c.outgoing.forget()
    where = urllib.parse.quote("http://127.0.0.1:5060/", safe="")
    answer = c.alice.get(f"{ORIGIN}/redirect?to={where}")
    expect(answer.status == 302, answer)
    expect(("127.0.0.1", 5060) not in c.outgoing.opened(), "it went there")


@play.check
def clean_fields(c):
    """forged X-Forwarded-*, Forwarded, X-Real-IP, Turnpike-* and hop-by-hop fields never arrive; ours say the truth; the cookie stays outside"""
    c.origins.forget()
    answer = c.alice.get(f"{ORIGIN}/echo", fields=[
        ("X-Forwarded-For", "6.6.6.6"), ("x-forwarded-host", "evil"), ("X-Forwarded-Proto", "http"),
        ("Forwarded", "for=6.6.6.6"), ("X-Real-IP", "6.6.6.6"), ("Turnpike-Session", "0" * 32),
        ("Turnpike-Client", "6.6.6.6:1"), ("Connection", "X-Secret, keep-alive"), ("X-Secret", "hop"),
        ("Keep-Alive", "timeout=5"), ("Proxy-Connection", "keep-alive"), ("Proxy-Authorization", "Basic x"),
        ("TE", "trailers"), ("X-Good", "yes"), ("Cookie", "mine=1"), ("Accept-Language", "de")])
    expect(answer.status == 200, answer)
    row = c.origins.requests("origin")[-1]
    text = str(row["fields"])
    expect("6.6.6.6" not in text and "evil" not in text and "hop" not in text, text)
    for name in ("X-Secret", "Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "TE", "Forwarded",
                 "X-Real-IP", "Turnpike-Session", "Turnpike-Client"):
        expect(field(row, name) == [], name, text)
    expect(field(row, "X-Good") == ["yes"] and field(row, "Accept-Language") == ["de"], text)
    expect(field(row, "X-Forwarded-For") == [c.lab.inet.v4], text)
    expect(field(row, "Host") == ["origin.example.com"], text)
    expect(c.alice.cookie not in text, "the sign-in cookie went inside")
    expect("mine=1" in str(field(row, "Cookie")), "the client's own cookie got lost", text)


@play.check
def limits_of_heads(c):
    """100 fields pass, 101 do not (431); a head over 64 KiB is 431; underscores and strange names pass or are refused, never changed"""
    def ask(n, size=4):
        with c.alice.web.connect() as wire:
            lines = "".join(f"X-{i}: {'y' * size}\r\n" for i in range(n))
            wire.send(f"GET {through(f'{ORIGIN}/echo')} HTTP/1.1\r\nHost: edge1.example.com\r\n"
                      f"Cookie: X-Auth={c.alice.cookie}\r\n{lines}\r\n".encode())
            return wire.answer().status
    expect(ask(98) in (200, 431), "98 fields and two more")
    expect(ask(80) == 200, "80 fields")
    expect(ask(101) == 431, "101 fields and more")
    expect(ask(60, 1200) == 431, "72 KB")
    many = c.alice.get(f"{ORIGIN}/headers?n=80")
    expect(many.get("x-many-79"), many.status)
    expect(c.alice.get(f"{ORIGIN}/headers?n=90&size=1000").status == 502, "an answer with a head of 90 KB")


@play.check
def users_share_nothing(c):
    """a connection to a server inside belongs to one user: two users never come over the same one"""
    bob = c.client("bob")
    c.origins.forget()
    for _ in range(10):
        for who in (c.alice, bob):
            expect(who.get(f"{ORIGIN}/echo?{who.user}").status == 200)
    ports = {}
    for row in c.origins.requests("origin"):
        ports.setdefault(row["port"], set()).add(row["target"].partition("?")[2])
    expect(all(len(users) == 1 for users in ports.values()), ports)
    expect(len(ports) <= 6, "connections inside are not used again", ports)
    bob.log_out()


@play.check
def bodies(c):
    """100-continue, chunked both ways, trailers, early answers: as RFC 9112 has them"""
    answer = c.alice.get(f"{ORIGIN}/upload", "POST", b"hello", expect=True)
    expect(answer.status == 200 and '"bytes": 5' in answer.text, answer)
    c.origins.forget()
    answer = c.alice.get(f"{ORIGIN}/upload", "POST", [b"x" * 10000, b"y", b"z" * 70000])
    expect(answer.status == 200 and '"bytes": 80001' in answer.text, answer)
    answer = c.alice.get(f"{ORIGIN}/chunked")
    expect(answer.body == b"one two " + b"three" * 1000, answer)
    expect(not answer.trailers or answer.trailers == [("X-Checksum", "42")], answer.trailers)
    expect(c.alice.get(f"{ORIGIN}/chunked", "HEAD").body == b"")
    answer = c.alice.get(f"{ORIGIN}/upload", "POST", b"")
    expect('"bytes": 0' in answer.text, answer)
    expect(c.alice.get(f"{ORIGIN}/early413", "POST", b"x" * 100000, expect=True).status == 413)
    with c.alice.web.connect() as wire:
        # the body does not come before the answer does
        wire.send(f"POST {through(f'{ORIGIN}/early413')} HTTP/1.1\r\nHost: edge1.example.com\r\n"
                  f"Cookie: X-Auth={c.alice.cookie}\r\nContent-Length: 1000000\r\n\r\n".encode())
        expect(wire.answer("POST").status == 413)
        try:
            wire.send(b"GET /smuggled HTTP/1.1\r\nHost: smuggled\r\n\r\n")
            expect(wire.answer().status >= 400, "the rest of a body was served")
        except (NoAnswer, OSError):
            pass  # closed, as it should be
    expect(not [r for r in c.origins.rows() if "smuggled" in str(r)], "the rest of a body became a request")
    expect(c.alice.get(f"{ORIGIN}/static/0").body == b"")


@play.check
def nonsense_from_inside(c):
    """an answer with two framings is 502 and reaches nobody"""
    answer = c.alice.get(f"{ORIGIN}/cl-te")
    expect(answer.status == 502 and b"hello" not in answer.body, answer)


def pattern_digest(n_bytes):
    digest = hashlib.sha256()
    for piece in pattern(n_bytes):
        digest.update(piece)
    return digest.hexdigest()


class Memory:
    """The most that the daemons took meanwhile, over what they had before."""

    def __init__(self, *boxes):
        self.boxes = boxes
        self.before = {box.name: box.rss_kib() for box in boxes}
        self.most = dict(self.before)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def _watch(self):
        while not self._over.wait(0.05):
            for box in self.boxes:
                self.most[box.name] = max(self.most[box.name], box.rss_kib())

    def growth_kib(self):
        return {name: self.most[name] - self.before[name] for name in self.before}


@play.check
def big_bodies(c):
    """100 MiB up and 100 MiB down arrive unchanged; the boxes grow by less than 16 MiB"""
    with Memory(c.edge, c.core) as memory:
        answer = c.alice.get(f"{ORIGIN}/upload", "POST", pattern(BIG))
        expect(f'"bytes": {BIG}' in answer.text and pattern_digest(BIG) in answer.text, answer)
        digest, n = hashlib.sha256(), [0]

        def sink(piece):
            digest.update(piece)
            n[0] += len(piece)
        expect(c.alice.get(f"{ORIGIN}/static/{BIG}", sink=sink).status == 200)
        expect(n[0] == BIG and digest.hexdigest() == pattern_digest(BIG), "down:", n)
    expect(c.edge.sanitized() or all(grown < 16 * 1024 for grown in memory.growth_kib().values()), memory.growth_kib())


def latencies(c, n):
    times = []
    for _ in range(n):
        start = time.monotonic()
        expect(c.alice.get(f"{ORIGIN}/static/1024").status == 200)
        times.append(time.monotonic() - start)
    return times


@play.check
def slow_readers(c):
    """four clients that stop reading a 1 GB download: others keep their pace, the boxes stay small, the stalled ones are ended"""
    c.edge.edit("cookie-domain = .example.com", "cookie-domain = .example.com\nmin-rate-time = 3s")
    bob = c.client("bob")
    usual = statistics.quantiles(latencies(c, 200), n=100)[98]
    stalled = []
    with Memory(c.edge, c.core) as memory:
        for _ in range(4):
            wire = bob.web.connect()
            wire.send(f"GET {through(f'{ORIGIN}/static/1000000000')} HTTP/1.1\r\nHost: edge1.example.com\r\n"
                      f"Cookie: X-Auth={bob.cookie}\r\n\r\n".encode())
            wire.more()
            stalled.append(wire)
        now = statistics.quantiles(latencies(c, 200), n=100)[98]
        expect(now < max(3 * usual, 0.1), f"p99 {usual * 1000:.1f} ms became {now * 1000:.1f} ms")
        c.edge.wait(lambda: not [r for r in c.edge.connections("request")
                                 if "bob" in r["user"]], 60, "end of the stalled downloads")
    expect(c.edge.sanitized() or all(grown < 64 * 1024 for grown in memory.growth_kib().values()), memory.growth_kib())
    for wire in stalled:
        wire.close()
    expect([r for r in c.edge.connections(ended=True) if "bob" in r["user"] and r["reason"]], "no reason")
    bob.log_out()
    c.edge.edit("cookie-domain = .example.com\nmin-rate-time = 3s", "cookie-domain = .example.com")


@play.check
def websockets(c):
    """WebSockets go on through reloads of both boxes and a certificate swap; new connections see the new certificate"""
    sockets = [c.alice.web.websocket(through(f"{ORIGIN}/ws")) for _ in range(20)]
    sockets += [c.alice.web.websocket(through("https://web1.example.com/ws"))]

    def all_echo(text):
        for socket, _ in sockets:
            socket.send(text)
        for socket, _ in sockets:
            expect(socket.receive() == (TEXT, text.encode()), text)
    all_echo("before")
    old = c.pki.cert("edge-public").read_text()
    c.pki.issue("edge-public", "public-ca", ("edge1.example.com",))
    for _ in range(5):
        c.edge.hup()
        c.core.hup()
        all_echo("during")
    new = ssl.PEM_cert_to_DER_cert(c.pki.cert("edge-public").read_text())

    def shown():
        with c.alice.web.connect() as wire:
            return wire.sock.getpeercert(binary_form=True)
    c.edge.wait(lambda: shown() == new, 10, "the new certificate")
    expect(old != c.pki.cert("edge-public").read_text())
    all_echo("x" * 100000)
    rows = [r for r in c.edge.connections("request") if "alice" in r["user"]]
    expect(len(rows) >= len(sockets), "WebSockets are not listed", rows)
    for _, wire in sockets:
        wire.close()
    c.core.wait(lambda: not [r for r in c.core.connections("request") if "alice" in r["user"]], 10,
                "end of the WebSockets on C")


@play.check
def refused_upgrades(c):
    """an upgrade that the server refuses is an answer; what follows it is not passed on as raw bytes"""
    c.origins.forget()
    with c.alice.web.connect() as wire:
        wire.send(f"GET {through(f'{ORIGIN}/echo')} HTTP/1.1\r\nHost: edge1.example.com\r\n"
                  f"Cookie: X-Auth={c.alice.cookie}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
                  "GET /smuggled HTTP/1.1\r\nHost: origin.example.com\r\n\r\n".encode())
        expect(wire.answer().status == 200)
        expect(wire.answer().status == 404, "the second request is one of its own, and leads nowhere")
    expect(not c.origins.requests(path="/smuggled"), c.origins.requests())


@play.check
def failures_inside(c):
    """closed port, no such name, connection dropped or reset, silence: 502 or 504, with a reason on C"""
    for url, status, code in (
            ("https://origin.example.com:9999/", 502, "http.backend"),
            ("https://no-such-host.example.com/", 502, "http.backend"),
            (f"{ORIGIN}/drop", 502, ""), (f"{ORIGIN}/reset", 502, ""), (f"{ORIGIN}/hang", 504, "")):
        start = time.monotonic()
        answer = c.alice.get(url)
        expect(answer.status == status, url, answer)
        expect(time.monotonic() - start < 10, url, "took too long")
        expect(c.core.traces(code or "http."), "no trace of", url)
        expect(c.core.connections(ended=True), "nothing listed")
    expect(c.alice.get(f"{ORIGIN}/slow?ms=1000").status == 200, "slow, but in time")


@play.check
def wrong_certificates(c):
    """origins with a foreign, expired or misnamed certificate: 502 with the exact reason; verify = no lets one through"""
    for port, words in ((8444, ("sign",)), (8445, ("expired",)), (8446, ("mallory.example.net",))):
        expect(c.alice.get(f"https://origin.example.com:{port}/").status == 502, port)
        # the trace counts what one client runs into again and again; each request has its own reason
        text = str(c.core.traces("http.")) + str(c.core.connections(ended=True))
        expect(all(word in text for word in words), port, words, "not in", text[-600:])
    expect(c.alice.get("https://origin.example.com:8446/unchecked").status == 200, "verify = no")


@play.check
def tls_of_the_edge(c):
    """TLS 1.2 and 1.3, nothing older; session tickets are taken again"""
    def dial(version, session=None):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(c.pki.cert("public-ca"))
        context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old versions are the point
            context.minimum_version = context.maximum_version = version
        return context, session

    for version, good in ((ssl.TLSVersion.TLSv1_3, True), (ssl.TLSVersion.TLSv1_2, True),
                          (ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1, False)):
        context, _ = dial(version)
        try:
            with c.lab.inet.connect((c.lab.dmz.v4, 8443)) as tcp:
                with context.wrap_socket(tcp, server_hostname="edge1.example.com") as tls:
                    expect(good, version, "was spoken")
                    tls.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                    tls.recv(1)
                    session = tls.session
            with c.lab.inet.connect((c.lab.dmz.v4, 8443)) as tcp:
                with context.wrap_socket(tcp, server_hostname="edge1.example.com", session=session) as tls:
                    expect(tls.session_reused, version, "the ticket was not taken")
        except (ssl.SSLError, ConnectionResetError):
            expect(not good, version, "was refused")


@play.check
def trickles(c):
    """an answer that comes a byte a second comes, and so does a request"""
    expect(c.alice.get(f"{ORIGIN}/trickle?n=4").body == b"....")

    def slowly():
        for _ in range(3):
            yield b"x" * 500
            time.sleep(1)
    expect('"bytes": 1500' in c.alice.get(f"{ORIGIN}/upload", "POST", slowly()).text)


@play.check
def leaves_no_trace(c):
    """clients that vanish in the middle, a hundred times: descriptors and entries go back to what they were"""
    c.alice.get(f"{ORIGIN}/echo")
    for box in (c.edge, c.core):
        box.wait(lambda b=box: len(b.connections("request")) == 0, 20, "rest")
    before = {box.name: box.n_descriptors() for box in (c.edge, c.core)}
    for n in range(100):
        with c.alice.web.connect() as wire:
            wire.send(f"POST {through(f'{ORIGIN}/upload')} HTTP/1.1\r\nHost: edge1.example.com\r\n"
                      f"Cookie: X-Auth={c.alice.cookie}\r\nContent-Length: 1000\r\n\r\nhalf".encode())
            if n % 2:
                wire.send(b"more")
    for box in (c.edge, c.core):
        box.wait(lambda b=box: len(b.connections("request")) == 0, 20, "end of the requests")
        box.wait(lambda b=box: b.n_descriptors() <= before[b.name] + 4, 20,
                 f"descriptors ({before[box.name]} before)")


@play.check
def garbage(c):
    """what is no HTTP and no TLS is closed with a reason, and the next client is served"""
    for data in (b"\x16\x03\x01" + b"\xff" * 500, b"GET / HTTP/1.1\r\n\r\n", b"\0" * 1000, b"SSH-2.0-x\r\n"):
        with c.lab.inet.connect((c.lab.dmz.v4, 8443)) as sock:
            sock.sendall(data)
            sock.settimeout(15)
            try:
                while sock.recv(4096):
                    pass
            except ConnectionResetError:
                pass
    for data in (b"\x16\x03\x01\r\n\r\n", b"GET\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"):
        with c.alice.web.connect() as wire:
            wire.send(data)
            try:
                expect(400 <= wire.answer().status < 600)
            except NoAnswer as error:
                expect("silence" not in str(error), data)
    expect(c.alice.get(f"{ORIGIN}/echo").status == 200)


@play.check
def log_injection(c):
    """CR, LF, ESC and other bytes in whatever a stranger says forge no line of a log, and reach no terminal"""
    evil = "x\r\nFORGED line\x1b[31m\x07\x9b"
    for target in ("/" + evil, f"/{token(evil)}/get_edge_config", f"/{token('example.com')}/" + evil,
                   f"/{token('example.com/https/' + evil + '/443')}/x", f"/{token('example.com')}/get_edge_config?service_name=" + evil,
                   "/%0d%0aFORGED%1b[31m", through(f"{ORIGIN}/%0d%0aFORGED%1b[31m"), through(f"{ORIGIN}/x?%0d%0aFORGED%1b[31m")):
        try:
            c.alice.web.ask("GET", target)
        except (NoAnswer, OSError):
            c.alice.web.close()
    for fields in ([("Authorization", basic(evil, "y"))], [("Authorization", basic("y", evil))], [("User-Agent", "\x1b[31mFORGED")],
                   [("Cookie", "X-Auth=\x1b[31mFORGED")], [("X-\x1b[31m", "FORGED")]):
        try:
            c.stranger().ask("GET", f"/{token('example.com')}/get_edge_config", fields)
        except (NoAnswer, OSError):
            pass
    with c.lab.inet.connect((c.lab.dmz.v4, 2222)) as sock:
        sock.sendall(b"SSH-2.0-\x1b[31m\rFORGED\r\nFORGED\r\n")
        sock.settimeout(1)
        try:
            sock.recv(100)
        except OSError:
            pass
    for box in (c.edge, c.core):
        for line in box.log_text().splitlines():
            expect(re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z (debug|info|warn|error) ", line) and
                   not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", line), box.name, repr(line))
        for command in (["trace"], ["connections", "--ended"], ["sessions"]):
            text = box.text(*command)
            expect("\x1b" not in text and "\x9b" not in text and "\nFORGED" not in text, command, repr(text))


@play.check
def nothing_came_in(c):
    """the firewall dropped nothing from E to C: E never tried"""
    c.firewall_is_clean()


if __name__ == "__main__":
    sys.exit(play.run(Stage))

#!/usr/bin/env python3
"""E was taken over: it has the right key and asks C for everything. C gives nothing but what a sound edge
gets, says so loudly, and goes on."""

import json
import pathlib
import re
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from lab.dns import Dns
from lab.edge_double import EdgeDouble
from lab.fake_uc import FakeUc
from lab.origin import Origins
from lab.outgoing import Outgoing
from lab.pair import Pair
from lab.pki import Pki
from lab.play import Play, expect
from lab.topology import SERVERS
from lab.webclient import basic

play = Play()


class Stage:
    def __init__(self, lab):
        self.lab = lab
        self.pki = Pki(lab.work / "pki")
        self.dns = Dns(lab, {"pbx": "rebind IN A 127.0.0.1\n"}).start()
        self.uc = FakeUc(lab, self.pki).start()
        self.origins = Origins(lab, self.pki).start(("nginx",))
        self.outgoing = Outgoing(lab.lan)
        self.double = EdgeDouble(lab, self.pki).start()
        pair = Pair(lab, self.pki, web=True, allow=("web1",), core_tunnel="retry-max = 500ms", core_more="""
[allow below]
url = https://web1.example.com:443/below
tls = uc
[allow exact]
url = https://origin.example.com/only
match = exact
methods = GET
tls = uc
[allow rebind]
url = http://rebind.example.com/
""")
        self.core = pair.core
        self.core.start()
        self.double.wait_dialled()
        # C accuses nobody as long as an edge may not have heard of the newest rules
        self.core.wait(lambda: self.double.ask("GET", "https://settled.example.com/") and
                       self.core.alarms("edge-hostile"), 60, "the first alarm")
        self.session = self.sign_in()

    def sign_in(self, user="alice", password=None):
        answer = self.double.call("sign-in", {
            "domain": "example.com", "from": "198.51.100.10",
            "authorization": basic(user, password or f"{user}-secret")})
        value = answer.get("value", {})
        expect(value.get("status") == "ok" or "session" in value, answer)
        return value["session"]["id"] if "session" in value else value["id"]

    def opened(self):
        """Whom C connected to, besides those it has business with."""
        usual = {self.lab.dmz.v4, self.lab.dmz.v6, self.lab.pbx.v4, self.lab.pbx.v6} | {
            address for ns, _, address in SERVERS if ns == "uc"}
        return [a for a in self.outgoing.opened() if a[0] not in usual]


@play.check
def as_a_sound_edge(s):
    """the double works as E would: with a session, a listed page comes through"""
    status, data = s.double.ask("GET", "https://web1.example.com/below/x", s.session)
    expect(status == 200, status, data)


@play.check
def other_purposes(s):
    """streams to other hosts, ports and purposes: refused, alarmed, nothing connects"""
    s.outgoing.forget()
    for purpose, port in (("10.20.0.61", 443), ("web1.example.com", 443), ("127.0.0.1", 22), ("localhost", 5060),
                          ("http", 80), ("http", 8443), ("HTTP", 0), ("httpx", 0), ("", 0), ("ssh", 0),
                          ("../http", 0), ("turnpike-control", 0), ("a" * 5000, 0), ("::1", 443), ("0.0.0.0", 1)):
        s.double.wait_dialled(1)
        answer = s.double.exchange(purpose, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", port, seconds=2)
        expect(not answer.get("opened"), purpose, port, answer)
    expect(not s.opened(), s.opened())
    expect(s.core.alarms("tunnel-hostile"), s.core.alarms())
    expect(s.core.traces("tunnel.hostile"), "no trace")


@play.check
def nul_in_a_purpose(s):
    """a purpose with a NUL in it is at most what stands before the NUL: the same questions, the same refusals"""
    s.outgoing.forget()
    s.origins.forget()
    for purpose in ("http\0", "http\0ssh", "http\0" + "a" * 5000):
        answer = s.double.exchange(purpose, b"GET https://web2.example.com/ HTTP/1.1\r\nHost: web2.example.com\r\n"
                                   b"Turnpike-Session: " + s.session.encode() + b"\r\n\r\n", seconds=2)
        expect(not answer["opened"] or answer["received"].startswith(b"HTTP/1.1 403 "), purpose[:10], answer)
    for purpose in ("\0http", "ssh\0http", "\0"):
        s.double.wait_dialled(1)
        expect(not s.double.exchange(purpose, seconds=2).get("opened"), purpose)
    expect(not s.opened() and not s.origins.rows(), s.opened(), s.origins.rows())


@play.check
def other_channels(s):
    """session, x11, agent, direct and Unix-socket channels, and global requests: refused"""
    s.outgoing.forget()

    def text(value):
        return struct.pack("!I", len(value)) + value.encode()
    direct = (text("10.20.0.61") + struct.pack("!I", 443) + text("x") + struct.pack("!I", 1)).hex()
    for kind, more in (("session", ""), ("x11", (text("x") + struct.pack("!I", 1)).hex()),
                       ("auth-agent@openssh.com", ""), ("direct-tcpip", direct),
                       ("direct-streamlocal@openssh.com", (text(str(s.core.socket)) + text("") + b"\0" * 4).hex()),
                       ("forwarded-streamlocal@openssh.com", (text(str(s.core.socket)) + text("")).hex()),
                       ("tun@openssh.com", b"\0\0\0\1\0\0\0\1".hex()), ("nonsense", "")):
        s.double.wait_dialled(1)
        expect(not s.double.order(do="channel", kind=kind, more=more).get("opened"), kind)
    for name, more in (("tcpip-forward", (text("0.0.0.0") + struct.pack("!I", 8080)).hex()),
                       ("streamlocal-forward@openssh.com", text("/tmp/x").hex()), ("nonsense", "")):
        s.double.wait_dialled(1)
        expect(not s.double.order(do="request", name=name, more=more).get("granted"), name)
    listening = s.lab.lan.run(["ss", "-Htlnp"]).stdout
    expect(":8080" not in listening, listening)
    expect(not s.opened(), s.opened())


@play.check
def unlisted_targets(s):
    """requests to unlisted hosts, ports, schemes, paths and methods: 403 each, nothing connects, alarm"""
    s.outgoing.forget()
    s.origins.forget()
    for method, target in (
            ("GET", "https://web2.example.com/"), ("GET", "http://web1.example.com/"),
            ("GET", "https://web1.example.com:8443/"), ("GET", "https://10.20.0.61/"),
            ("GET", "https://origin.example.com/"), ("GET", "https://origin.example.com/only/x"),
            ("GET", "https://origin.example.com/onlyx"), ("POST", "https://origin.example.com/only"),
            ("TRACE", "https://web1.example.com/below"), ("CONNECT", "https://web1.example.com/below"),
            ("GET", "http://127.0.0.1/"), ("GET", "http://[::1]/"), ("GET", "http://localhost:5060/"),
            ("GET", "http://169.254.169.254/latest/meta-data/"), ("GET", "http://10.20.0.10:5060/"),
            ("GET", "http://core1.example.com:5060/"), ("GET", "http://0x7f000001/"), ("GET", "http://2130706433/"),
            ("GET", "http://0177.0.0.1/"), ("GET", "http://127.1/"), ("GET", "http://[::ffff:127.0.0.1]/"),
            ("GET", "http://0.0.0.0/"), ("GET", "ftp://web1.example.com/"), ("GET", "file:///etc/passwd"),
            ("GET", "gopher://web1.example.com/"), ("GET", "https://cucm1.example.com:8443/ccmadmin/"),
            ("POST", "https://cucm1.example.com:8443/axl/"), ("GET", "https://user@web1.example.com/below"),
            ("GET", "https://web1.example.com@10.20.0.62/below"), ("GET", "https://web1.example.com#@x/below")):
        status, data = s.double.ask(method, target, s.session)
        expect(400 <= status < 500 or status in (0, 501), method, target, status, data[:200])
    expect(not s.opened(), s.opened())
    expect(not s.origins.rows(), s.origins.rows())
    expect(s.core.alarms("edge-hostile"), s.core.alarms())


@play.check
def paths(s):
    """.., encoded dots and slashes, backslashes, NUL, double encoding under an allowed prefix: refused, nothing arrives"""
    s.origins.forget()
    for path in ("/only/../secret", "/only/%2e%2e/secret", "/only/%252e%252e/secret", "/only/..;/secret",
                 "/only/..%2fsecret", "/only\\..\\secret", "/only/%5c..%5csecret", "/only%00", "/only/.",
                 "/only/%c0%ae%c0%ae/x", "/only%2f", "/only?\r\nX: y", "/only #", "//only", "/./only"):
        for host in ("origin.example.com", "web1.example.com"):
            if host.startswith("web1") and path == "//only":
                continue
            status, data = s.double.ask("GET", f"https://{host}{path}", s.session)
            expect(400 <= status < 500, host, path, status, data[:200])
    expect(not s.origins.requests(), s.origins.requests())


@play.check
def name_to_loopback(s):
    """a listed name that DNS leads to loopback: 403, no connection"""
    s.outgoing.forget()
    status, data = s.double.ask("GET", "http://rebind.example.com/", s.session)
    expect(status in (403, 502), status, data)
    expect(not s.opened(), s.opened())
    expect(s.core.traces("http.address.denied"), "no trace")


@play.check
def forged_sessions(s):
    """no session, made-up ones, malformed ones, one that ended: 403, not a byte inside"""
    s.origins.forget()
    for session in (None, "0" * 32, "f" * 31, "f" * 33, "g" * 32, "..", "a" * 5000, s.session.upper() + "x",
                    s.session[:-1] + ("0" if s.session[-1] != "0" else "1")):
        status, data = s.double.ask("GET", "https://web1.example.com/below/x", session)
        expect(400 <= status < 500, session, status, data[:200])
    bob = s.sign_in("bob")
    row = next(r for r in s.core.connections("signin") if r["session"] == bob)
    s.core.ctl("disconnect", row["id"])
    expect(s.double.ask("GET", "https://web1.example.com/below/x", bob)[0] == 403, "an ended session is good")
    expect(not s.origins.requests(), s.origins.requests())


@play.check
def two_sessions(s):
    """a request with two sessions, or two clients: 400, an alarm, not a byte inside"""
    s.origins.forget()
    bob = s.sign_in("bob")
    for session, fields in ((s.session, [("Turnpike-Session", bob)]), (bob, [("turnpike-session", s.session)]),
                            (s.session, [("Turnpike-Session", s.session)]), (s.session, [("Turnpike-Session", "")]),
                            (s.session, [("Turnpike-Client", "198.51.100.20:1")])):
        status, data = s.double.ask("GET", "https://web1.example.com/below/x", session, fields)
        expect(status == 400, fields, status, data[:200])
    expect("two sessions" in str(s.core.alarms("edge-hostile")), s.core.alarms())
    expect(not s.origins.requests(), s.origins.requests())


@play.check
def smuggles(s):
    """ambiguous requests on a stream: 400 and closed, one request at most arrives"""
    s.origins.forget()
    head = ("POST https://web1.example.com/below/x HTTP/1.1\r\nHost: web1.example.com\r\n"
            f"Turnpike-Session: {s.session}\r\n")
    inner = "GET https://web1.example.com/smuggled HTTP/1.1\r\nHost: web1.example.com\r\n\r\n"
    for fields, body in (("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n" + inner),
                         ("Content-Length: 5\r\nContent-Length: 6\r\n", "hello" + inner),
                         ("Content-Length: +5\r\n", "hello" + inner), ("Transfer-Encoding: xchunked\r\n", inner),
                         ("Transfer-Encoding : chunked\r\n", "0\r\n\r\n" + inner), ("X: y\nZ: a\r\n", ""),
                         ("Host: web2.example.com\r\n", ""), ("X: \0\r\n", ""), (" X: y\r\n", "")):
        answer = s.double.exchange("http", (head + fields + "\r\n" + body).encode("latin-1"))
        expect(answer["opened"], answer)
        expect(re.match(rb"HTTP/1\.1 (4\d\d|501)", answer["received"]), fields, answer)
    expect(not s.origins.requests(), s.origins.requests())


@play.check
def nonsense_on_streams(s):
    """garbage, endless heads and silence on streams: ended by limit; no growth"""
    before = s.core.n_descriptors()
    for data in (b"\0" * 10000, b"GET", b"A" * 200000, b"\x16\x03\x01", b"X: y\r\n" * 30000,
                 b"GET https://web1.example.com/" + b"a" * 100000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"):
        answer = s.double.exchange("http", data, seconds=20)
        expect(answer.get("opened") and answer["closed"], data[:20], answer)
    s.core.wait(lambda: len(s.core.connections("channel")) == 0, 30, "end of the streams")
    s.core.wait(lambda: s.core.n_descriptors() <= before + 2, 30, "descriptors")


def frame(message):
    text = message if isinstance(message, bytes) else json.dumps(message).encode()
    return struct.pack("!I", len(text)) + text


@play.check
def nonsense_on_control(s):
    """bad lengths, no JSON, deep nesting, wrong types, unknown calls, floods on the control channel: hung up with a reason, and C dials again"""
    for data in (struct.pack("!I", 0), struct.pack("!I", 0xffffffff), struct.pack("!I", 300000) + b"x",
                 frame(b"nonsense"), frame(b"[" * 5000), frame(b'{"type":"put"}'), frame({"type": "hello"}),
                 frame({"type": "put", "table": "edge", "key": "x" * 5000, "item": {}}),
                 frame({"type": "put", "table": "../x", "key": "k", "item": {}}),
                 frame({"type": "call", "id": -1, "method": "x"}), frame(b'{"type":"ping","type":"ping","n":1,"time":1}'),
                 frame({"type": "nosuch"}), frame(b"\xff\xfe{}")):
        s.double.wait_dialled(1)
        answer = s.double.order(do="control", send=data.hex(), seconds=8)
        expect(answer["hung_up"], data[:60], answer)
    for method, params in (("nosuch", {}), ("sign-in", {}), ("sign-in", {"domain": 1}), ("sign-out", {}), ("digest", {}),
                           ("sign-in", {"domain": "x" * 300, "authorization": "Basic eA==", "from": "x"})):
        s.double.wait_dialled(1)
        answer = s.double.call(method, params)
        value = answer.get("value") or {}
        expect("session" not in value and "token" not in value, method, params, answer)
    s.double.wait_dialled(1)
    expect(s.core.traces("tunnel."), "no trace")
    rss = s.core.rss_kib()
    put = frame({"type": "put", "table": "edge", "key": "k", "item": {"name": "a" * 10000}})
    s.double.order(do="control", send=put.hex(), times=20000, seconds=60)
    s.double.wait_dialled(1)
    if not s.core.sanitized():
        expect(s.core.rss_kib() < rss + 48 * 1024, s.core.rss_kib(), rss)


@play.check
def guessing(s):
    """a hostile E that guesses passwords is slowed down by C"""
    answers = [s.double.call("sign-in", {"domain": "example.com", "from": "198.51.100.77",
                                         "authorization": basic("carol", f"guess-{n}")}) for n in range(12)]
    texts = [str(a.get("value", {}).get("status")) for a in answers]
    expect(len(set(texts)) >= 2 and texts[0] != texts[-1], texts)
    expect(not any("session" in (a.get("value") or {}) for a in answers), texts)


@play.check
def still_sound(s):
    """after all this C serves a sound request, listens on nothing new, and the firewall saw nothing come in"""
    s.double.wait_dialled(1)
    session = s.sign_in("dave")
    s.core.wait(lambda: s.double.ask("GET", "https://web1.example.com/below/x", session)[0] == 200, 30, "the page")
    expect(s.lab.firewall.counter("dmz_to_lan_dropped") == 0, s.lab.firewall.counters())


if __name__ == "__main__":
    sys.exit(play.run(Stage))

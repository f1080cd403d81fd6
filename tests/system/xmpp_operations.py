#!/usr/bin/env python3
"""What operators see and do while people chat: listings, sessions, reloads, lost links, dead servers; and what a
hostile neighbour tries on the pool's port."""

import json
import pathlib
import re
import ssl
import struct
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from lab.fake_uc import FakeUc
from lab.mra_client import MraClient
from lab.play import Play, expect
from lab.xmpp_raw import Closed, name
from lab.xmppcast import XmppCast

play = Play()
N_STREAMS = 1000
N_USERS = 50


class Stage(XmppCast):
    """example.com has two nodes with the same users; spy.example is the double."""

    def __init__(self, lab):
        users = ("alice", "bob", "carol", "dave", *(f"user{i}" for i in range(N_USERS)))
        super().__init__(lab, servers=("prosody", "double"), nodes=("imp1", "imp3"),
                         inside={"prosody": {"users": users, "federation": None}}, prosody="federation = none")
        self.passwords = {f"{user}-secret" for user in users}

    def prepare(self):
        FakeUc(self.lab, self.pki).start()

    def signed_in(self, user="alice", resource="raw", to="example.com", **more):
        raw = self.raw(to, direct=True, **more)
        raw.sign_in(user, resource=resource)
        return raw

    def row(self, raw, box=None):
        """A client's stream in the table of a box."""
        host, port = raw.address
        rows = [row for row in (box or self.edge).ctl("xmpp")["streams"] if row["address"] == f"{host}:{port}"]
        expect(len(rows) == 1, raw.address, rows)
        return rows[0]

    def node_of(self, user):
        """Which node signed a user in last."""
        found = {}
        for node, server in self.servers.items():
            hits = [m.start() for m in re.finditer(rf"Authenticated as {user}@example\.com|Resource bound: {user}@",
                                                   server.log_text())]
            if hits:
                found[node] = len(hits)
        return found


@play.check
def listing(s):
    """turnpikectl xmpp has client, user, domain, TLS, mechanism, counters of each stream, on both boxes; disconnect ends one"""
    with s.signed_in("alice", "listed") as raw, s.raw("example.com") as half:
        half.secure()
        raw.enable()
        raw.ping()
        row = s.row(raw)
        expect(row["user"] == "alice@example.com" and row["domain"] == "example.com", row)
        expect(row["tls"].startswith("TLSv1.") and row["auth"] == "PLAIN", row)
        expect(row["resumable"], row)
        n_in = row["in"]
        raw.ping(ident="one more")
        expect(s.row(raw)["in"] > n_in, s.row(raw))
        expect(s.row(half)["user"] == "", s.row(half))
        core = [r for r in s.core.ctl("xmpp")["streams"] if r["user"] == "alice@example.com"]
        expect(len(core) == 1 and core[0]["session"] == row["session"], core, row)
        human = s.edge.text("xmpp")
        expect("alice@example.com" in human and row["id"] in human, human)
        s.edge.ctl("disconnect", row["id"])
        expect(raw.ending() in ("", "reset", "policy-violation", "undefined-condition", "system-shutdown", None), "end")
        s.edge.wait(lambda: all(r["user"] != "alice@example.com" for r in s.streams()), 5, "its end")
    s.no_streams()


@play.check
def session_of_the_user(s):
    """who is signed in for the web and then chats has one session id for both, on E and on C; another user has another"""
    web = MraClient(s.lab, s.lab.inet, "alice", "alice-secret", s.ca)
    web.sign_in()
    row = next(row for row in s.edge.connections("signin") if row["user"].partition("@")[0] == "alice")
    with s.signed_in("alice", "one") as one, s.signed_in("alice", "two") as two, s.signed_in("dave") as other:
        sessions = [s.row(raw)["session"] for raw in (one, two, other)]
        expect(all(re.fullmatch("[0-9a-f]{32}", session) for session in sessions), sessions)
        expect(sessions[0] == sessions[1] == row["session"] != sessions[2], sessions, row)
        of_core = {r["session"] for r in s.core.ctl("xmpp")["streams"] if r["user"] == "alice@example.com"}
        expect(of_core == {row["session"]}, of_core)
        kinds = {r["kind"] for r in s.edge.connections() if r["session"] == row["session"]}
        expect({"xmpp", "signin"} <= kinds, kinds)
    web.web.close()
    s.no_streams()


@play.check
def user_hash(s):
    """B14, B10: a user has one node, whoever connects how often and from where; users spread; resumption reaches it"""
    nodes = {}
    for i in range(12):
        user = f"user{i}"
        for resource, netns in (("a", s.lab.inet), ("b", s.lab.home)):
            with s.signed_in(user, resource, netns=netns) as raw:
                raw.ping()
        nodes[user] = s.node_of(user)
        expect(len(nodes[user]) == 1, user, nodes[user])
    expect(len({next(iter(n)) for n in nodes.values()}) == 2, "all on one node:", nodes)
    for user in list(nodes)[:6]:
        raw = s.signed_in(user, "resumed")
        previd = raw.enable()
        raw.reset()
        with s.raw("example.com", netns=s.lab.home, direct=True) as raw:
            raw.secure()
            raw.plain(user, f"{user}-secret")
            raw.open()
            raw.send(f"<resume xmlns='urn:xmpp:sm:3' h='0' previd='{previd}'/>")
            answer = raw.read()
            expect(name(answer) == "resumed", user, name(answer))
    s.no_streams()


@play.check
def dead_node(s):
    """B14: a node dies: its users go to the other one at once, those of the other stay; it comes back and gets them again"""
    users = [f"user{i}" for i in range(12)]
    home = {user: next(iter(s.node_of(user))) for user in users}
    victim, other = "imp1", "imp3"
    stays = s.signed_in(next(u for u in users if home[u] == other), "stays")
    s.servers[victim].kill()
    for user in users:
        start = time.monotonic()
        with s.signed_in(user, "meanwhile") as raw:
            raw.ping()
        expect(time.monotonic() - start < 3, user, "took long")
        expect(other in s.node_of(user), user)
    stays.ping(ident="still there")
    expect(any("im" in str(a).lower() and victim in str(a) for a in s.core.alarms()), s.core.alarms())
    s.servers[victim].start()
    s.core.wait(lambda: not any(victim in str(a) for a in s.core.alarms()), 35, "end of the alarm")
    user = next(u for u in users if home[u] == victim)
    (s.servers[victim].folder / "log").write_text("")
    with s.signed_in(user, "home again") as raw:
        raw.ping()
    expect(victim in s.node_of(user), "not home again", s.node_of(user))
    stays.close()
    s.no_streams()


@play.check
def reload_with_streams(s):
    """1,000 streams open: reloads of both boxes, with other limits, certificates, a domain more and less, drop none"""
    # most of them at the double: Prosody takes its time
    streams = [s.signed_in(f"user{i % N_USERS}", f"r{i}", "example.com" if i % 10 == 0 else "spy.example")
               for i in range(N_STREAMS)]
    try:
        expect(s.n_streams() == N_STREAMS == s.n_streams(s.core), s.n_streams(), s.n_streams(s.core))
        s.setting(rate="128k", stanza_bytes="128k")
        s.setting(s.core, pool_idle=16)
        s.pki.issue("edge-xmpp", "public-ca", ("edge1.example.com", "example.com", "spy.example"), usage="both")
        expect(s.edge.ctl("reload").get("reloaded"), "reload")
        more = "\n[im-server more]\ndomains = more.example\nhosts = imp4.example.com\ntls = plain\nfederation = none\n" \
               "\n[domain more.example]\nim = yes\n"
        s.section(more)
        s.edge.wait(lambda: not _unknown(s, "more.example"), 5, "the new domain")
        s.section(more, gone=True)
        s.edge.wait(lambda: _unknown(s, "more.example"), 5, "its end")
        for raw in streams:
            raw.send("<iq type='get' id='alive'><ping xmlns='urn:xmpp:ping'/></iq>")
        for raw in streams:
            expect(raw.read().get("id") == "alive", raw.address)
        expect(s.n_streams() == N_STREAMS == s.n_streams(s.core), s.n_streams(), s.n_streams(s.core))
    finally:
        s.setting(rate=None, stanza_bytes=None)
        s.setting(s.core, pool_idle=None)
        for raw in streams:
            raw.close()
    s.no_streams(20)


def _unknown(s, domain):
    with s.raw(domain) as raw:
        raw.header()
        return name(raw.read()) != "features"


@play.check
def lost_core(s):
    """B10: C is killed with 50 streams open: all client sockets are cut at once, without </stream:stream>; then all resume"""
    streams = [s.signed_in(f"user{i}", "lost") for i in range(N_USERS)]
    ids = [raw.enable() for raw in streams]
    s.core.kill()
    start = time.monotonic()
    for raw in streams:
        expect(raw.ending(3) is None, "an end or an error, which ends the session")
    expect(time.monotonic() - start < 4, f"{time.monotonic() - start:.1f} s")
    try:
        with s.raw("example.com", direct=True) as raw:
            raw.header()
            expect(raw.ending(15) == "remote-connection-failed", "while C is away")
    finally:
        s.core.start()
    s.pair.wait_tunnel()
    s.wait_chat()
    for i, previd in enumerate(ids[:20]):
        with s.raw("example.com", direct=True) as raw:
            raw.secure()
            raw.plain(f"user{i}", f"user{i}-secret")
            raw.open()
            raw.send(f"<resume xmlns='urn:xmpp:sm:3' h='0' previd='{previd}'/>")
            expect(name(raw.read()) == "resumed", f"user{i}")
    for raw in streams:
        raw.close()
    s.no_streams()


@play.check
def lost_link(s):
    """B10: the firewall cuts C off: client sockets are cut when E knows, and sign-ins work within seconds of its return"""
    raw = s.signed_in("alice", "link")
    s.lab.firewall.cut("reset")
    try:
        expect(raw.ending(30) is None, "an end or an error")
        s.edge.wait(lambda: not s.idle_links(), 10, "end of what C does not know to be dead")
    finally:
        s.lab.firewall.restore()
    raw.close()
    s.pair.wait_tunnel(30)
    s.wait_chat(30)
    s.signed_in("alice", "link").close()
    s.no_streams()


@play.check
def pool(s):
    """the pool: filled up again at once, source ports 30000-35999, no connection inside before a client needs one"""
    n_before = len(s.double.connections)
    with s.signed_in("bob", to="spy.example"):
        s.edge.wait(lambda: len(s.idle_links()) >= 8, 5, "a full pool")
    rows = s.edge.connections("xmpp-link")
    ports = [int(row["remote"].rpartition(":")[2]) for row in rows]
    expect(all(30000 <= port <= 35999 for port in ports), ports)
    expect(len(s.double.connections) == n_before + 1, "more connections than clients")
    flow = s.lab.firewall.flow("tcp", 7400)
    expect(flow and flow["packets"] > 0, s.lab.firewall.table())
    streams = []
    for i in range(30):  # more at once than the pool has
        raw = s.raw("spy.example", direct=True)
        raw.header()
        streams.append(raw)
    for raw in streams:
        raw.features(5)
        raw.close()
    s.no_streams()


@play.check
def port_7400(s):
    """7400 takes nobody but C: no certificate, another CA, another name, garbage, a bad hello: closed, traced, no stream"""
    def attempt(cert, data):
        context = ssl.create_default_context(cafile=str(s.pki.cert("pair-ca")))
        if cert:
            context.load_cert_chain(str(s.pki.cert(cert)), str(s.pki.key(cert)))
        sock = s.lab.lan.connect((s.lab.dmz.v4, 7400))
        try:
            with context.wrap_socket(sock, server_hostname="edge1.example.com") as tls:
                tls.settimeout(3)
                tls.sendall(data)
                return tls.recv(100)
        except TimeoutError:
            return None
        except OSError:
            return b""

    def frame(what):
        body = what if isinstance(what, bytes) else json.dumps(what).encode()
        return struct.pack("!I", len(body)) + body
    hello = {"v": 1, "kind": "idle"}
    n_before = len(s.idle_links())
    for cert in (None, "core-pair-foreign", "core-pair-wrong-name", "core-pair-expired", "edge-pair"):
        expect(attempt(cert, frame(hello)) == b"", cert, "was let in")
    for bad in (frame(b"{"), frame({"v": 2, "kind": "idle"}), frame({"v": 1, "kind": "root"}), frame({"kind": "idle"}),
                struct.pack("!I", 1 << 20), struct.pack("!I", 0), frame({"v": 1, "kind": "s2s", "local": "x"}),
                b"GET / HTTP/1.1\r\n\r\n", frame({**hello, "v": 1.5}), frame(b"[" * 2000)):
        expect(attempt("core-pair", bad) == b"", bad[:60], "was taken")
    expect(len(s.idle_links()) <= n_before + 1, "left behind")
    expect(s.traces_of("xmpp.")[0] > 0, "no trace")
    sock = s.lab.lan.connect((s.lab.dmz.v4, 7400))  # one that never speaks
    sock.settimeout(40)
    try:
        expect(sock.recv(10) == b"", "an answer")
    except ConnectionError:
        pass
    sock.close()


@play.check
def chat_off(s):
    """a domain that is turned off ends its streams with host-gone and nobody else's; on again it works"""
    with s.signed_in("alice") as stays, s.signed_in("bob", to="spy.example") as goes:
        s.setting(s.core, "domain spy.example", im="no")
        try:
            expect(goes.ending() == "host-gone", "condition")
            expect(_unknown(s, "spy.example"), "still known")
            stays.ping(ident="stays")
        finally:
            s.setting(s.core, "domain spy.example", im="yes")
        s.edge.wait(lambda: not _unknown(s, "spy.example"), 5, "spy.example again")
    s.signed_in("bob", to="spy.example").close()
    s.no_streams()


@play.check
def traces(s):
    """refusals have a trace with the setting that decided: unknown domain, wrong password, a late client, a broken stanza"""
    for make, code in ((lambda: _unknown(s, "nobody.example"), "xmpp."),):
        before = s.traces_of(code)[0]
        make()
        n, entries = s.traces_of(code)
        expect(n > before and entries[0]["decided_by"] and entries[0]["text"], entries[:1])


@play.check
def inner_tls(s):
    """inside, the server's certificate is checked: another CA, another name: nobody gets in, the reason is said; verify = no lets in"""
    for flaw in ("uc-foreign", "uc-wrong-name"):
        for node in ("imp1", "imp3"):
            server = s.servers[node]
            server.stop()
            server._words.update(certificate=s.pki.cert(flaw), key=s.pki.key(flaw))
            server.start()
        with s.raw("example.com", direct=True) as raw:
            raw.header()
            expect(raw.ending(15) in ("remote-connection-failed", "internal-server-error"), flaw)
        s.setting(s.core, "im-server imp1", verify="no")
        s.core.wait(lambda: _lets_in(s), 35, "a sign-in without checks")
        s.setting(s.core, "im-server imp1", verify=None)
    for node in ("imp1", "imp3"):
        server = s.servers[node]
        server.stop()
        server._words.update(certificate=s.pki.cert(node), key=s.pki.key(node))
        server.start()
    s.core.wait(lambda: _lets_in(s), 35, "a sign-in")


def _lets_in(s):
    try:
        s.signed_in("alice", "checked").close()
        return True
    except (AssertionError, Closed, OSError):
        return False


@play.check
def no_secrets(s):
    """no password, no SASL element is in a log, a trace or a listing of either box"""
    for box in (s.edge, s.core):
        for text in (box.log_text(), str(box.ctl("trace", "")), str(box.ctl("connections", "--ended"))):
            for secret in s.passwords:
                expect(secret not in text, secret, "at", box.name)
            expect("mechanism='" not in text and "AHVzZXI" not in text, "SASL at", box.name)


@play.check
def drain(s):
    """a box that ends says so: clients get system-shutdown or a cut, and the daemons end with 0"""
    with s.signed_in("alice") as raw:
        code = s.edge.stop()
        expect(code == 0, code)
        expect(raw.ending(40) in ("system-shutdown", None, ""), "end")
    expect(s.core.stop() == 0, "C")
    s.firewall_is_clean()


if __name__ == "__main__":
    sys.exit(play.run(Stage))

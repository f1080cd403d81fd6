#!/usr/bin/env python3
"""Chat through two E of one C: either vouches for the dialback keys of the other (XEP-0185), and one takes over when the
other dies. partner.org is a Prosody that DNS sends to the first E, double.org a double. Checks begin with their rows of
the checklist."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from lab.chat import chat_both_ways
from lab.pair import Box
from lab.partnercast import PartnerCast
from lab.play import Play, expect
from lab.xmpp_raw import DIALBACK, text
from lab.xmppcast import EDGE

play = Play()
SECOND = "203.0.113.11"
TUNNEL_PORT = 2223  # the first E has 2222 of all addresses
LISTEN = "address = {0}\npool-address = {0}\n"
SECOND_EDGE = """
[system]
role = E
name = edge2.example.com
log-level = debug
control-socket = {work}/edge2.sock

[sip]
tls-port = 0
tcp-port = 0
udp-port = 0

[media]
ports = 20000-21999

[tls pair]
certificate = {pki}/edge2-pair.crt
key = {pki}/edge2-pair.key
ca = {pki}/pair-ca.crt

[tunnel]
key = {pki}/edge2-ssh
port = {port}

[tunnel-peer core1.example.com]
fingerprints = {core}
"""
OF_CORE = """
[tunnel-peer edge2.example.com]
address = edge2.example.com:{port}
fingerprints = {edge}

[partner partner.org]
auth = dialback

[partner double.org]
auth = dialback
"""
PAIR = ("example.com", "double.org")


class Stage(PartnerCast):
    """edges = (first, second): the boxes."""

    def __init__(self, lab):
        lab.dmz.run(["ip", "addr", "add", f"{SECOND}/24", "dev", "eth0"])
        lab.firewall.allow("tcp", TUNNEL_PORT)
        super().__init__(lab, servers=("prosody",), partners=("partner.org",),
                         edge_xmpp=LISTEN.format(lab.dmz.v4), outside={"partner.org": {"federation": "dialback"}})
        self.second.wait(lambda: self.is_fed(self.second), 20, "a pool of its own")
        self.dave = self.office["example.com"]

    def _issue(self):
        super()._issue()
        self.pki.issue("edge2-pair", "pair-ca", ("edge2.example.com",))
        self.pki.make_ssh_key("edge2-ssh")

    def _records(self, more):
        """Outside, servers of others find us at the first E alone."""
        (hosts, zones), second = super()._records(more), f"edge2 IN A {SECOND}\n"
        return {place: lines + second for place, lines in hosts.items()}, zones

    def _make_pair(self, servers, nodes, mode, words):
        words["partner_sections"] = OF_CORE.format(port=TUNNEL_PORT, edge=self.pki.fingerprint("edge2-ssh"))
        return super()._make_pair(servers, nodes, mode, words)

    def prepare(self):
        here = {"work": self.lab.work, "pki": self.pki.folder, "port": TUNNEL_PORT}
        config = (SECOND_EDGE.format(core=self.pki.fingerprint("core-ssh"), **here)
                  + EDGE.format(edge_xmpp=LISTEN.format(SECOND), **here))
        self.second = Box(self.lab.dmz, "E", self.lab.work, config, "edge2").start()
        self.edges = (self.edge, self.second)
        self.at = self.edge

    def is_fed(self, edge):
        """C has a pool there, and told it the domains."""
        idle = [row for row in edge.connections("xmpp-link") if row["state"] == "idle"]
        return len(idle) >= 4 and any(row["domain"] == "example.com" and row["federation"] and row["up"]
                                      for row in edge.ctl("xmpp")["domains"])

    def place(self, version=4, port=5222):
        """Of the one in whose place we look."""
        return (SECOND if self.at is self.second else self.lab.dmz.v4, port)

    def other(self, edge):
        return self.second if edge is self.edge else self.edge

    def cut_off(self, *partners):
        for edge in self.edges:
            for partner in partners:
                edge.wait(lambda e=edge, p=partner: not self.cut_once(e, p), 10, f"end of the streams with {partner}")

    def cut_once(self, edge, partner):
        rows = self.ways(edge, partner)
        for row in rows:
            edge.ctl("disconnect", row["id"], check=False)
        return rows

    def ways(self, edge, partner, direction=None):
        return [row for row in edge.ctl("xmpp", "--partner", partner)["streams"] if direction in (None, row["direction"])]

    def new_key(self, tag):
        """C has something for double.org: (the E that it goes by, its dialback key, the id it is for)."""
        self.cut_off("double.org")
        self.double.forget()
        stream = self.reaches_double(tag)
        asked = next(e for e in stream.elements if e.tag == f"{{{DIALBACK}}}result")
        by = [edge for edge in self.edges if self.ways(edge, "double.org", "out")]
        expect(len(by) == 1, "not by one E:", [edge.name for edge in by])
        return by[0], asked.text, f"s{id(stream)}"

    def verdict(self, edge, key, ident, ours=PAIR[0], theirs=PAIR[1]):
        """What an E says of a key."""
        self.at = edge
        try:
            with self.open_as(theirs, ours)[0] as raw:
                raw.send(f"<db:verify from='{theirs}' to='{ours}' id='{ident}'>{key}</db:verify>")
                answer = raw.read(10)
                expect(answer.tag == f"{{{DIALBACK}}}verify" and answer.get("id") == ident, text(answer))
                return answer.get("type")
        finally:
            self.at = self.edge


@play.check
def both_serve(s):
    """P12: both E have C's domains and a pool of their own; clients sign in at either"""
    for edge in s.edges:
        s.at = edge
        expect(s.is_fed(edge), edge.name)
        with s.raw("example.com") as raw:
            expect(raw.sign_in("alice", resource=edge.name) == f"alice@example.com/{edge.name}", edge.name)
            expect([row["user"] for row in edge.connections("xmpp")] == ["alice@example.com"], edge.name)
            expect(not s.other(edge).connections("xmpp"), "at the other one")
            raw.ping()
    s.at = s.edge
    s.core.wait(lambda: not s.core.connections("xmpp"), 10, "the end of both")


@play.check
def b22_other_edge_vouches(s):
    """B22 (XEP-0185): a key that one E made is valid at the other; a wrong one, one for another stream, another pair or another domain of ours is invalid, and traced"""
    by, key, ident = s.new_key("whose key is it")
    for edge in (s.other(by), by):
        expect(s.verdict(edge, key, ident) == "valid", edge.name, "does not know the key of", by.name)
        n_before = s.traces_of("xmpp.s2s.key", edge)[0]
        expect(s.verdict(edge, "0" * 64, ident) == "invalid", "a wrong key")
        expect(s.verdict(edge, key[:-1] + ("0" if key[-1] != "0" else "1"), ident) == "invalid", "one digit")
        expect(s.verdict(edge, key, "another") == "invalid", "another stream")
        expect(s.verdict(edge, key, ident, theirs="partner.org") == "invalid", "another partner")
        expect(s.verdict(edge, key, ident, ours="conference.example.com") == "invalid", "another domain")
        expect(s.traces_of("xmpp.s2s.key", edge)[0] == n_before + 5, "traces", s.traces_of("xmpp.s2s.key", edge))


@play.check
def b22_real_partner(s):
    """B22: Prosody gets a stream of the second E and asks the first one, which DNS names: it believes, and both directions work"""
    s.cut_off("partner.org")
    s.dave.say("alice@partner.org", "by the second E")
    s.alice.hears("by the second E")
    expect([row["auth"] for row in s.ways(s.second, "partner.org", "out")] == ["dialback"],
           "not by the second E: C has chosen another one for this pair, so let DNS name that")
    chat_both_ways(s.alice, s.dave, "by two ways")
    expect([row["auth"] for row in s.ways(s.edge, "partner.org", "in")] == ["dialback"], "not by the first E")
    expect(not s.ways(s.second, "partner.org", "in"), "Prosody came to the second E")
    log = s.partners["partner.org"].log_text()
    expect("invalid" not in "".join(line for line in log.splitlines() if "dialback" in line.lower()), "Prosody saw a bad key")


@play.check
def b22_takes_over(s):
    """B22, B27: the E with the stream dies: the next stanza goes by the other, with a key that the first one vouches for when it is back"""
    by, _, _ = s.new_key("before")
    rest = s.other(by)
    by.kill()
    try:
        s.core.wait(lambda: len(s.core.tunnels()) == 2, 30, "C's notice")
        now, key, ident = _by_the_other(s, rest)
        expect(now is rest, "by", now.name)
        expect(s.verdict(rest, key, ident) == "valid", "at home")
    finally:
        by.start()
    by.wait(lambda: s.is_fed(by), 60, "C again")
    expect(s.verdict(by, key, ident) == "valid", by.name, "does not know the key of", rest.name)
    expect(s.verdict(by, "f" * 64, ident) == "invalid", "a wrong key")
    chat_both_ways(s.dave, s.alice, "after it")


def _by_the_other(s, edge):
    s.double.forget()
    stream = s.reaches_double("by the other one", 30)
    asked = next(e for e in stream.elements if e.tag == f"{{{DIALBACK}}}result")
    expect(s.ways(edge, "double.org", "out"), "no stream of", edge.name)
    return edge, asked.text, f"s{id(stream)}"


@play.check
def b22_secret(s):
    """B22: without `dialback-secret` keys end with C; with it they are good after its restart too, at both E; a new one makes an end of old keys"""
    def restart():
        expect(s.core.stop() == 0, "C")
        s.core.start()
        s.pair.wait_tunnel(30)
        for edge in s.edges:
            edge.wait(lambda e=edge: s.is_fed(e), 30, "C again")

    def verdicts(key, ident):
        return [s.verdict(edge, key, ident) for edge in s.edges]
    _, key, ident = s.new_key("with a secret of C's own")
    expect(verdicts(key, ident) == ["valid", "valid"], "before")
    restart()
    expect(verdicts(key, ident) == ["invalid", "invalid"], "a key of a C that is no more")
    s.setting(s.core, "federation", dialback_secret="the-secret-of-all-4711")
    try:
        s.core.wait(lambda: verdicts(key, ident) == ["invalid", "invalid"], 10, "the written secret")
        _, key, ident = s.new_key("with the secret that is written")
        expect(verdicts(key, ident) == ["valid", "valid"], "written")
        restart()
        expect(verdicts(key, ident) == ["valid", "valid"], "after a restart")
        s.setting(s.core, "federation", dialback_secret="another-secret-4712")
        for edge in s.edges:
            edge.wait(lambda e=edge: s.verdict(e, key, ident) == "invalid", 10, "the end of the old secret")
        _, key, ident = s.new_key("with another secret")
        expect(verdicts(key, ident) == ["valid", "valid"], "another")
        for box in (*s.edges, s.core):
            expect("secret-of-all" not in box.log_text() and "secret-of-all" not in str(box.ctl("trace", "")), box.name)
    finally:
        s.setting(s.core, "federation", dialback_secret=None)


@play.check
def nothing_inside(s):
    """the firewall saw nothing that E sent inside"""
    s.firewall_is_clean()


if __name__ == "__main__":
    sys.exit(play.run(Stage))

#!/usr/bin/env python3
"""Chat clients through the pair: slixmpp, profanity and go-sendxmpp, with Prosody (example.com) and with ejabberd
(example.net) inside. Checks begin with their rows of the checklist."""

import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from lab.chat import chat_both_ways
from lab.play import Play, expect
from lab.prosody import USERS
from lab.xmpp_raw import SASL, mechanisms, name
from lab.xmppcast import XmppCast

play = Play()
DOMAINS = ("example.com", "example.net")
MECHANISMS = ("PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256")


class Stage(XmppCast):
    """Somebody of each domain is in the office."""

    def __init__(self, lab):
        inside = {"ejabberd": {"proxy_protocol": True, "users": (*USERS, "erin")}}
        super().__init__(lab, servers=("prosody", "ejabberd"), inside=inside, ejabberd="proxy-protocol = yes")
        self.office = {domain: self.inside(f"dave@{domain}") for domain in DOMAINS}

    def with_dave(self, client, tag):
        chat_both_ways(client, self.office[client.jid.partition("@")[2].partition("/")[0]], tag)


@play.check
def starttls(s):
    """B01, B06: slixmpp with STARTTLS, PLAIN and SCRAM, from the internet and behind the NAT, both servers"""
    for domain in DOMAINS:
        for mechanism in MECHANISMS:
            for netns in (s.lab.inet, s.lab.home):
                client = s.chatter(f"alice@{domain}", netns, mechanism=mechanism)
                expect(client.do("mechanism") == mechanism, client.do("mechanism"))
                s.with_dave(client, f"{mechanism} {netns.name}")
                client.quit()
    s.no_streams()


@play.check
def direct_tls(s):
    """B02: direct TLS on the same port, over IPv4 and IPv6; STARTTLS over IPv6"""
    for domain in DOMAINS:
        for version, direct in ((4, True), (6, True), (6, False)):
            client = s.chatter(f"alice@{domain}", version=version, direct=direct)
            s.with_dave(client, f"IPv{version} {'direct' if direct else 'STARTTLS'}")
            rows = s.streams()
            expect(len(rows) == 1 and (":" in rows[0]["remote"].rpartition(":")[0]) == (version == 6), rows)
            client.quit()
    s.no_streams()


@play.check
def alpn(s):
    """B02: ALPN xmpp-client is taken with direct TLS"""
    with s.raw("example.com", direct=True) as raw:
        expect(raw.sock.selected_alpn_protocol() == "xmpp-client", raw.sock.selected_alpn_protocol())
        expect(raw.sign_in("alice").startswith("alice@example.com/"), "bound")
        raw.ping()
    s.no_streams()


@play.check
def wrong_password(s):
    """B06: a wrong password is not-authorized; the right one on the same stream is let in; no password in a log"""
    for domain in DOMAINS:
        with s.raw(domain) as raw:
            raw.secure()
            answer = raw.plain("alice", "wrong-guess-4711")
            expect(name(answer) == "failure" and answer.find(f"{{{SASL}}}not-authorized") is not None, answer)
            expect(raw.sign_in_secure("alice"), "bound")
        client = s.chatter(f"alice@{domain}", ready=False, password="wrong-guess-4711")
        client.wait("failed_all_auth")
    for box in (s.edge, s.core):
        for secret in ("wrong-guess-4711", "d3JvbmctZ3Vlc3", "alice-secret", "YWxpY2Utc2Vjcm"):
            expect(secret not in box.log_text(), secret, "in the log of", box.name)
        expect("alice-secret" not in str(box.ctl("trace", "")), "password in the trace")


@play.check
def features(s):
    """B04, B05: bind, sm, csi and versions pass; starttls, compression and channel binding do not"""
    for domain in DOMAINS:
        with s.raw(domain) as raw:
            before = raw.secure()
            offered = mechanisms(before)
            expect("PLAIN" in offered and "SCRAM-SHA-1" in offered, offered)
            expect(not any(m.endswith("-PLUS") or m == "EXTERNAL" for m in offered), offered)
            raw.plain("alice", "alice-secret")
            after = raw.open()
            names = {name(e) for e in before} | {name(e) for e in after}
            expect(not names & {"starttls", "compression", "register", "sasl-channel-binding"}, names)
            expect({"bind", "sm"} <= {name(e) for e in after}, names)


@play.check
def roster(s):
    """roster: two users add each other, see each other come and go, and remove each other"""
    for domain in DOMAINS:
        alice, bob = s.chatter(f"alice@{domain}"), s.chatter(f"bob@{domain}", s.lab.home)
        alice.do("add", jid=bob.jid)
        s.edge.wait(lambda: alice.do("roster").get(bob.jid) == "both" and bob.do("roster").get(alice.jid) == "both",
                    10, "mutual subscription")
        bob.at = len(bob.host.events(bob.name))
        alice.quit()
        bob.wait("presence", type="unavailable")
        alice = s.chatter(f"alice@{domain}")
        bob.wait("presence", type="available")
        bob.do("remove", jid=alice.jid)
        s.edge.wait(lambda: alice.do("roster").get(bob.jid) in (None, "none"), 10, "end of the subscription")
        alice.quit()
        bob.quit()


@play.check
def muc(s):
    """MUC: two outside and one inside in one room hear each other"""
    for domain in DOMAINS:
        room = f"tower@conference.{domain}"
        people = [s.chatter(f"alice@{domain}"), s.chatter(f"bob@{domain}", s.lab.home), s.office[domain]]
        for person in people:
            person.do("join", room=room, nick=person.jid.partition("@")[0])
        for i, person in enumerate(people):
            person.say(room, f"round {i}", kind="groupchat")
            for other in people:
                other.hears(f"round {i}", type="groupchat")
        for person in people[:2]:
            person.quit()


@play.check
def carbons(s):
    """carbons (XEP-0280): a second resource gets what the first one received and what it sent"""
    for domain in DOMAINS:
        phone = s.chatter(f"alice@{domain}/phone", carbons=True)
        laptop = s.chatter(f"alice@{domain}/laptop", s.lab.home, carbons=True)
        dave = s.office[domain]
        dave.say(f"alice@{domain}/laptop", "to the laptop")
        laptop.hears("to the laptop")
        try:
            phone.wait("carbon_received", body="to the laptop")
        except TimeoutError as error:
            # did it come as far as that? what the boxes have counted
            raise TimeoutError(f"{error}; E: {s.streams()}; C: {s.core.connections('xmpp')}") from error
        laptop.say(dave.jid, "from the laptop")
        dave.hears("from the laptop")
        phone.wait("carbon_sent", body="from the laptop")
        phone.quit()
        laptop.quit()


@play.check
def resumption(s):
    """B10: the client's socket is cut; what was said meanwhile arrives after the resumption, nothing is lost or doubled"""
    for domain in DOMAINS:
        client = s.chatter(f"alice@{domain}", s.lab.home)
        dave = s.office[domain]
        s.with_dave(client, "before")
        client.at = len(client.host.events(client.name))
        client.do("cut")
        client.wait("disconnected")
        dave.say(client.jid, "while away")
        client.do("reopen")
        expect(client.came_back(), "a new session instead of the old one")
        client.hears("while away")
        s.with_dave(client, "after")
        expect(sum(e["event"] == "message" and e["body"] == "while away"
                   for e in client.host.events(client.name)) == 1, "doubled")
        client.quit()


@play.check
def link_connection_cut(s):
    """B10: the stream's connection between C and E breaks: the client is cut at once, without </stream:stream>, and resumes"""
    for domain in DOMAINS:
        s.no_streams()
        client = s.chatter(f"alice@{domain}")
        client.at = len(client.host.events(client.name))
        rows = [row for row in s.edge.connections("xmpp-link") if row["state"] == "taken"]
        expect(len(rows) == 1, rows)
        s.lab.firewall.cut_port(int(rows[0]["remote"].rpartition(":")[2]))
        try:
            client.say(s.office[domain].jid, "over a broken link")
            client.wait("disconnected", 5)
        finally:
            s.lab.firewall.restore()
        expect(not client.has("stream_error"), "a stream error, which ends the session")
        client.do("reopen")
        expect(client.came_back(), "a new session instead of the old one")
        s.with_dave(client, "again")
        client.quit()


@play.check
def profanity(s):
    """profanity finds E by SRV records, by STARTTLS and by direct TLS, and chats"""
    for domain in DOMAINS:
        for options in ({}, {"address": s.place(), "tls": "direct"}):
            prof = s.profanity(f"carol@{domain}", **options)
            try:
                prof.sees("logged in successfully")
                prof.type(f"/msg dave@{domain} profanity says {options.get('tls', 'starttls')}")
                s.office[domain].hears(f"profanity says {options.get('tls', 'starttls')}")
                s.office[domain].say(f"carol@{domain}", "to profanity")
                prof.hears("to profanity")
            finally:
                prof.stop()
    s.no_streams()


@play.check
def go_sendxmpp(s):
    """go-sendxmpp finds E by SRV records and is told where it is; sends, listens, talks in a room"""
    for domain in DOMAINS:
        listener = s.go(f"bob@{domain}", s.lab.home).listen()
        try:
            s.edge.wait(lambda: len(s.streams()) == 1, 10, "the listener")
            for options in ({}, {"address": s.place(), "direct": True}, {"address": s.place(6)}):
                sender = s.go(f"carol@{domain}", **options)
                sender.send(f"dave@{domain}", f"go {sorted(options)}")
                s.office[domain].hears(f"go {sorted(options)}")
            s.office[domain].say(f"bob@{domain}", "to the listener")
            listener.hears("to the listener")
            room = f"gophers@conference.{domain}"
            s.office[domain].do("join", room=room, nick="dave")
            sender.send(room, "go in the room", room=True)
            s.office[domain].hears("go in the room", type="groupchat")
        finally:
            listener.stop()


@play.check
def domains_apart(s):
    """B03: a user of one domain is nobody in the other; unknown domains and streams without a domain are refused"""
    for domain, outcome in (("example.com", "failure"), ("example.net", "success")):
        with s.raw(domain) as raw:
            raw.secure()
            expect(name(raw.plain("erin", "erin-secret")) == outcome, domain, "not", outcome)
    with s.raw("example.org") as raw:
        raw.header()
        expect(raw.ending() == "host-unknown", "condition")
    with s.raw("") as raw:
        raw.header(to="")
        expect(raw.ending() in ("host-unknown", "improper-addressing"), "condition")


@play.check
def proxy_protocol(s):
    """B13: ejabberd knows the addresses of clients, IPv4 and IPv6, by the PROXY protocol"""
    server = s.servers["imp2"]
    for version in (4, 6):
        mark = len(server.log_text())
        client = s.chatter("bob@example.net", version=version)
        accepted = s.core.wait(lambda m=mark: re.findall(
            r"Accepted c2s \S+ authentication for bob@example\.net .*from (\S+)", server.log_text()[m:]), 5,
            "a line of ejabberd's log")
        expect(accepted == [s.lab.inet.v6 if version == 6 else s.lab.inet.v4], accepted)
        client.quit()


@play.check
def nothing_inside(s):
    """the firewall saw nothing that E sent inside"""
    s.firewall_is_clean()


if __name__ == "__main__":
    sys.exit(play.run(Stage))

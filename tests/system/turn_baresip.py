#!/usr/bin/env python3
"""Phones that reach others through TURN relays only: two phones outside by relays of E, and a phone outside that calls
inside through E and C, with its relay on E itself or on another server."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from lab.guest_server import GuestCall, GuestMedia, GuestServer
from lab.kamailio import Kamailio
from lab.phone import Phone
from lab.play import Play, expect
from lab.rawsip import RawSip
from lab.tone import wait_heard
from lab.turn_client import DATA, DATA_ATTR, Silence, TurnClient
from lab.turncast import BOB, TurnCast

play = Play()
# The office that carol sits in lets UDP out to port 3478 only: what her phone sends elsewhere is dropped.
STRICT = """
table inet strict {
  chain in { type filter hook input priority 0; udp dport 10000-19999 udp sport != 3478 drop; }
  chain out { type filter hook output priority 0; udp sport 10000-19999 udp dport != 3478 drop; }
}
"""
GUEST_HZ = 570
RELAYS = range(24000, 30000)  # of E


class Relayed:
    """Audio by a relay, without a phone: send() and receive() of GuestMedia."""

    def __init__(self, netns, server):
        self.client = TurnClient(netns, server, *BOB)
        self.relay = self.client.relay()
        self.peer = None

    def permit(self, peer):
        """From now on the socket belongs to the one that listens."""
        expect(self.client.permit(peer).code == 0, "permission for", peer)
        self.peer = peer

    def send(self, data):
        self.client.send(self.peer, data)

    def receive(self):
        if not self.peer:
            raise TimeoutError
        try:
            found = self.client.receive(0.2)
        except Silence:
            return b""
        return found.get(DATA_ATTR) if found.method == DATA else b""

    def ice(self):
        """What RFC 8839 has an ICE agent say whose default candidate is the relay."""
        host, port = self.client.address
        return ["a=ice-ufrag:8hhY", "a=ice-pwd:asd88fgpdd777uzjYhagZg", "a=ice-options:ice2",
                f"a=candidate:1 1 UDP 2130706431 {host} {port} typ host",
                f"a=candidate:2 1 UDP 1694498815 {host} {port} typ srflx raddr {host} rport {port}",
                f"a=candidate:3 1 UDP 16777215 {self.relay[0]} {self.relay[1]} typ relay raddr {host} rport {port}"]


class Stage(TurnCast):
    """One Kamailio for phones stands on the internet (SIP is not what this is about there), the other inside."""

    def __init__(self, lab):
        Kamailio(lab.pbx, name="kamailio-inside").start()  # before C asks for it
        super().__init__(lab, edge_turn="stun-binding = yes\nmedia-peers = yes")
        Kamailio(lab.inet).start()
        lab.home.run(["nft", "-f", "-"], input=STRICT)
        lab.inet.popen(["turnserver", "-n", "--log-file=stdout", "--lt-cred-mech", "-u", ":".join(BOB), "-r", "lab",
                        "-L", lab.inet.v4, "-p", "3478", "--no-cli", "--no-tls", "--no-dtls", "--pidfile",
                        lab.work / "turnserver.pid", "-b", lab.work / "turnserver.db"], log="turnserver.log")
        self.inner = Phone(lab.desk, "bob", "bob-secret", (lab.pbx.v4, 5060), hz=660).start().wait_registered()
        self.n_guests = 0

    def phone(self, netns, user, hz, medianat, turn, name, proxy=None, **more):
        phone = Phone(netns, user, f"{user}-secret", proxy or (self.lab.inet.v4, 5060), hz=hz, medianat=medianat,
                      turn=turn, name=f"{user}-{name}", **more)
        return phone.start().wait_registered()

    def turn_of(self, user=BOB, server=None):
        return (f"turn:{(server or self.lab.dmz).v4}:3478", *user)

    def talk(self, caller, callee):
        """Each hears the other."""
        caller.dial(callee.uri)
        callee.wait_incoming()
        callee.accept()
        caller.wait_established()
        callee.wait_established()
        # baresip's ICE tries what cannot work first, for seconds
        for ear, mouth in ((callee, caller), (caller, callee)):
            found = wait_heard(ear, mouth.hz, deadline_s=25)
            expect(found, f"{ear.name} does not hear {mouth.name}: {found}")

    def call(self, alice, carol, n_relays):
        """carol calls; each hears the other; E relays for so many sockets of phones."""
        try:
            self.talk(carol, alice)
            self.busy_relays(n_relays)
        finally:
            carol.stop()
            alice.stop()
        self.no_allocations(10)

    def busy_relays(self, n):
        rows = self.edge.ctl("turn")["allocations"]
        expect(len(rows) == n, rows)
        expect(n == 0 or any(row["tx_packets"] > 40 and row["rx_packets"] > 40 for row in rows), rows)

    def outer_end(self):
        """Of the one call at E, and no media but through it."""
        call, = self.edge.ctl("calls")["calls"]
        return next(end for end in call["media"][0]["ends"] if end["kind"] == "outside")

    def through_both(self, server, n_relays, ports, **how):
        """carol, who has nothing but a relay of that server, calls inside and is called from there."""
        carol = self.phone(self.lab.home, "carol", 880, "turn", self.turn_of(server=server), f"by-{server.name}", **how)
        try:
            for caller, callee in ((carol, self.inner), (self.inner, carol)):
                self.talk(caller, callee)
                end = self.outer_end()
                host, _, port = end["remote"].rpartition(":")
                expect(host == server.v4 and int(port) in ports, end)
                expect(end["rx_packets"] > 40 and end["tx_packets"] > 40, end)
                self.busy_relays(n_relays)
                caller.hangup()
                callee.wait_closed()
                self.quiet()
        finally:
            carol.stop()
        self.no_allocations(10)

    def quiet(self):
        for box in (self.edge, self.core):
            box.wait(lambda b=box: not b.ctl("calls")["calls"], 10, "end of all calls")

    def guest_media(self, relayed):
        self.n_guests += 1
        return GuestMedia(relayed.send, relayed.receive, GUEST_HZ, self.lab.work / f"guest{self.n_guests}.wav")

    def both_heard(self, relayed, peer):
        """Audio between the relay and E's media port, both ways; nobody has seen the candidates."""
        media = self.guest_media(relayed)
        relayed.permit(peer)
        media.speak()
        try:
            found = media.wait_heard(self.inner.hz)
            expect(found, "bob is not heard", found, media.n_received, self.outer_end())
            found = wait_heard(self.inner, GUEST_HZ)
            expect(found, "bob does not hear", found, self.outer_end())
            expect(self.outer_end()["remote"] == "%s:%d" % relayed.relay, self.outer_end())
        finally:
            media.close()
        told = (self.inner.netns.work / self.inner.log).read_text()
        for word in ("a=candidate", "a=ice-", relayed.relay[0], relayed.client.address[0]):
            expect(word not in told, word, "was told inside")

    def ended(self, relayed):
        self.inner.wait_closed()
        self.quiet()
        expect(relayed.client.refresh(0).code == 0, "refresh")
        relayed.client.close()


@play.check
def both_by_turn(s):
    """both phones with medianat=turn: from relay to relay, RTP and RTCP, each hears the other"""
    alice = s.phone(s.lab.inet, "alice", 440, "turn", s.turn_of(), "turn")
    carol = s.phone(s.lab.home, "carol", 880, "turn", s.turn_of(), "turn")
    s.call(alice, carol, 4)


@play.check
def ice(s):
    """ICE: the caller has only her relay to offer, with a credential of C; the called is in the open"""
    alice = s.phone(s.lab.inet, "alice", 440, "ice", (f"stun:{s.lab.dmz.v4}:3478", "x", "y"), "ice")
    carol = s.phone(s.lab.home, "carol", 880, "ice", s.turn_of(s.minted()), "ice")
    s.call(alice, carol, 2)
    s.firewall_is_clean()


@play.check
def inside_by_own_relay(s):
    """a phone with relays of E calls inside through E and C, and is called: TLS, SRTP; E's relay to E's media port"""
    s.through_both(s.lab.dmz, 2, RELAYS, proxy=(s.lab.dmz.v4, 5061), transport="tls", mediaenc="srtp-mand")


@play.check
def inside_by_own_relay_in_clear(s):
    """the same without TLS and SRTP, where not the tag but the address that was signalled proves the relay"""
    s.through_both(s.lab.dmz, 2, RELAYS, proxy=(s.lab.dmz.v4, 5060), transport="tcp")


@play.check
def inside_by_other_relay(s):
    """the same with relays of a server elsewhere (coturn), with SRTP and without"""
    s.through_both(s.lab.inet, 0, range(49152, 65536), proxy=(s.lab.dmz.v4, 5061), transport="tls",
                   mediaenc="srtp-mand")
    s.through_both(s.lab.inet, 0, range(49152, 65536), proxy=(s.lab.dmz.v4, 5060), transport="tcp")


@play.check
def ice_offer(s):
    """an ICE offer whose default candidate is a relay (of E, of coturn): an answer without ICE, audio by the relay"""
    for server in (s.lab.dmz, s.lab.inet):
        relayed = Relayed(s.lab.home, (server.v4, 3478))
        s.inner.set_answer_mode("auto")
        try:
            call = GuestCall(GuestServer(s.lab.home, s.lab.home.v4), (s.lab.dmz.v4, 5060), "bob@example.com",
                             relayed.relay, lines=relayed.ice())
        finally:
            s.inner.set_answer_mode("manual")
        expect(call.status == 200, call.answer.first)
        expect(call.media[0] == s.lab.dmz.v4 and "ice-" not in call.answer.body
               and "candidate" not in call.answer.body, call.answer.body)
        s.both_heard(relayed, call.media)
        call.hang_up()
        s.ended(relayed)


@play.check
def ice_answer(s):
    """a called phone that answers E's plain offer with candidates all the same, by a relay of E and of coturn"""
    for server in (s.lab.dmz, s.lab.inet):
        relayed = Relayed(s.lab.home, (server.v4, 3478))
        with RawSip(s.lab.home, (s.lab.dmz.v4, 5060), "dave", "dave-secret") as dave:
            expect(dave.register().status == 200, "dave is not registered")
            s.inner.dial("sip:dave@example.com")
            invite = dave.receive()
            expect(invite.method == "INVITE" and "candidate" not in invite.body and "ice-" not in invite.body, invite.body)
            host, port = relayed.relay
            dave.reply(invite, 200, "OK", [f"Contact: <sip:dave@{dave.here}>", "Content-Type: application/sdp"],
                       "\r\n".join(["v=0", f"o=- 1 1 IN IP4 {host}", "s=-", f"c=IN IP4 {host}", "t=0 0",
                                    f"m=audio {port} RTP/AVP 0", *relayed.ice(), ""]))
            s.inner.wait_established()
            s.both_heard(relayed, GuestCall.media_of(invite.body))
            s.inner.hangup()
            while (bye := dave.receive()).method != "BYE":
                pass
            dave.reply(bye, 200, "OK")
            s.ended(relayed)
            dave.register(expires=0)


@play.check
def ice_of_baresip(s):
    """baresip's own ICE is silent toward whoever has none, turnpike or another phone: the call stands, it sends nothing"""
    alice = s.phone(s.lab.inet, "alice", 440, "ice", s.turn_of(), "deaf", proxy=(s.lab.dmz.v4, 5061), transport="tls",
                    mediaenc="srtp-mand")
    plain = s.phone(s.lab.inet, "bob", 660, None, None, "plain")
    other = s.phone(s.lab.inet, "alice", 440, "ice", s.turn_of(server=s.lab.inet), "other")
    try:
        for phone, peer in ((alice, s.inner), (other, plain)):
            phone.dial(peer.uri)
            peer.wait_incoming()
            peer.accept()
            phone.wait_established()
            peer.wait_established()
            s.edge.wait(lambda p=peer: p.stats()["sent"] > 100, 10, "100 packets of the peer")
            expect(phone.stats()["sent"] == 0, "it sends now: mend docs/turn.md and the traps of the lab", phone.stats())
            phone.hangup()
            peer.wait_closed()
    finally:
        for phone in (alice, plain, other):
            phone.stop()
    s.quiet()


@play.check
def refused_media_peers(s):
    """without media-peers the phone's permission for E's media port is refused, and the trace names the rule"""
    s.setting(media_peers=None)
    try:
        relayed = Relayed(s.lab.home, (s.lab.dmz.v4, 3478))
        expect(relayed.client.permit((s.lab.dmz.v4, 36004)).code in (0, 403), "permission")
        expect(relayed.client.bind(0x4000, (s.lab.dmz.v4, 36004)).code == 403, "channel")
        entry = s.edge.traces("turn.peer.denied")[0]
        expect(f"{s.lab.dmz.v4}:36004" in entry["text"] + str(entry), entry)
        expect(relayed.client.refresh(0).code == 0, "refresh")
        relayed.client.close()
    finally:
        s.setting(media_peers="yes")


if __name__ == "__main__":
    sys.exit(play.run(Stage))

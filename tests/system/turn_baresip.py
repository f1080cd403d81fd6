#!/usr/bin/env python3
"""Phones that reach others through TURN relays only: two phones outside by relays of E, and a phone outside that calls
inside through E and C, with its relay on E itself or on another server."""

import base64
import pathlib
import re
import secrets
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from lab.guest_server import GuestCall, GuestMedia
from lab.kamailio import Kamailio
from lab.phone import Phone
from lab.play import Play, expect
from lab.rawsip import RawSip
from lab.srtp import Srtp
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
DAVE_HZ = 570
SUITE = "AES_CM_128_HMAC_SHA1_80"
RELAYS = range(24000, 30000)  # of E


class IcePhone(RawSip):
    """dave: a phone as of RFC 8445 whose only way out is a relay. What it says of ICE nobody need understand: his
    c= line is the default candidate, and there he hears and speaks."""

    def __init__(self, lab, server):
        super().__init__(lab.home, (lab.dmz.v4, 5060), "dave", "dave-secret")
        self.turn = TurnClient(lab.home, (server.v4, 3478), *BOB)
        self.relay = self.turn.relay()
        self.master = secrets.token_bytes(30)
        self.to_peer = self.from_peer = self.peer = None
        expect(self.register().status == 200, "dave is not registered")

    def sdp(self):
        host, port = self.turn.address
        relay, relay_port = self.relay
        return "\r\n".join([
            "v=0", f"o=- 1 1 IN IP4 {relay}", "s=-", f"c=IN IP4 {relay}", "t=0 0", "a=ice-options:ice2",
            f"m=audio {relay_port} RTP/SAVP 0", f"a=crypto:1 {SUITE} inline:{base64.b64encode(self.master).decode()}",
            "a=ice-ufrag:8hhY", "a=ice-pwd:asd88fgpdd777uzjYhagZg",
            f"a=candidate:1 1 UDP 2130706431 {host} {port} typ host",
            f"a=candidate:2 1 UDP 1694498815 198.51.100.20 {port} typ srflx raddr {host} rport {port}",
            f"a=candidate:3 1 UDP 16777215 {relay} {relay_port} typ relay raddr {host} rport {port}", ""])

    def invite(self, uri):
        """The answer, acknowledged."""
        about = [f"Contact: <sip:dave@{self.here}>", "Content-Type: application/sdp"]
        answer = self.request("INVITE", uri, about, self.sdp(), to=uri)
        expect(answer.status == 200, answer.first)
        target = answer.get("Contact").partition("<")[2].partition(">")[0]
        self._send([f"ACK {target} SIP/2.0",
                    f"Via: SIP/2.0/UDP {self.here};rport;branch=z9hG4bK{secrets.token_hex(8)}", "Max-Forwards: 70",
                    f"From: {answer.get('From')}", f"To: {answer.get('To')}", f"Call-ID: {self.call_id}",
                    f"CSeq: {answer.get('CSeq').split()[0]} ACK"], "", self.server)
        return answer.body

    def take_call(self):
        """The offer that rings; answered with candidates all the same, as baresip does too."""
        invite = self.wait_request("INVITE")
        self.reply(invite, 200, "OK", [f"Contact: <sip:dave@{self.here}>", "Content-Type: application/sdp"], self.sdp())
        return invite.body

    def wait_request(self, method):
        while (message := self.receive(10)).status or message.method != method:
            pass
        return message

    def start_media(self, body):
        """From now on the TURN socket belongs to the thread that listens."""
        keys = re.search(r"^a=crypto:1 " + SUITE + r" inline:([^|\s]+)", body, re.M)[1]
        self.to_peer, self.from_peer = Srtp(self.master), Srtp(base64.b64decode(keys))
        peer = GuestCall.media_of(body)
        expect(self.turn.permit(peer).code == 0, "permission for", peer)
        self.peer = peer

    def send(self, rtp):
        self.turn.send(self.peer, self.to_peer.protect(rtp))

    def receive_rtp(self):
        if not self.peer:
            raise TimeoutError
        try:
            found = self.turn.receive(0.2)
        except Silence:
            return b""
        return self.from_peer.unprotect(found.get(DATA_ATTR)) if found.method == DATA else b""

    def leave(self):
        self.reply(self.wait_request("BYE"), 200, "OK")
        expect(self.turn.refresh(0).code == 0, "refresh")
        self.turn.close()
        self.register(expires=0)
        self.close()


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
        self.n_calls = 0

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

    def through_both(self, server, n_relays, ports):
        """carol, who has nothing but a relay of that server, calls inside and is called from there."""
        carol = self.phone(self.lab.home, "carol", 880, "turn", self.turn_of(server=server), f"by-{server.name}",
                           proxy=(self.lab.dmz.v4, 5061), transport="tls", mediaenc="srtp-mand")
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

    def both_heard(self, dave, body):
        """Audio between dave's relay and E's media port, both ways; E says nothing of ICE, nor does C."""
        for word in ("a=candidate", "a=ice-"):
            expect(word not in body, body)
        self.n_calls += 1
        media = GuestMedia(dave.send, dave.receive_rtp, DAVE_HZ, self.lab.work / f"dave{self.n_calls}.wav")
        dave.start_media(body)
        media.speak()
        try:
            found = media.wait_heard(self.inner.hz)
            expect(found, "dave does not hear bob", found, media.n_received, self.outer_end())
            found = wait_heard(self.inner, DAVE_HZ)
            expect(found, "bob does not hear dave", found, self.outer_end())
            expect(self.outer_end()["remote"] == "%s:%d" % dave.relay, self.outer_end())
        finally:
            media.close()
        told = (self.inner.netns.work / self.inner.log).read_text()
        for word in ("a=candidate", "a=ice-", "c=IN IP4 " + dave.relay[0]):
            expect(word not in told, word, "was told inside")
        self.inner.hangup()
        dave.leave()
        self.quiet()


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
    s.through_both(s.lab.dmz, 2, RELAYS)


@play.check
def inside_by_other_relay(s):
    """the same with relays of a server elsewhere (coturn)"""
    s.through_both(s.lab.inet, 0, range(49152, 65536))


@play.check
def ice_offer(s):
    """an ICE offer whose default candidate is a relay (of E, of coturn): answered without ICE, audio by the relay"""
    for server in (s.lab.dmz, s.lab.inet):
        dave = IcePhone(s.lab, server)
        s.inner.set_answer_mode("auto")
        try:
            body = dave.invite("sip:bob@example.com")
        finally:
            s.inner.set_answer_mode("manual")
        s.both_heard(dave, body)


@play.check
def ice_answer(s):
    """a called phone that answers E's plain offer with candidates all the same, by a relay of E and of coturn"""
    for server in (s.lab.dmz, s.lab.inet):
        dave = IcePhone(s.lab, server)
        s.inner.dial("sip:dave@example.com")
        body = dave.take_call()
        s.inner.wait_established()
        s.both_heard(dave, body)


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
        with s.turn(s.lab.home) as client:
            client.relay()
            expect(client.bind(0x4000, (s.lab.dmz.v4, 36004)).code == 403, "channel")
            entry = s.edge.traces("turn.peer.denied")[0]
            expect(s.lab.dmz.v4 in str(entry) and "own address" in str(entry), entry)
            expect(client.refresh(0).code == 0, "refresh")
    finally:
        s.setting(media_peers="yes")


if __name__ == "__main__":
    sys.exit(play.run(Stage))

#!/usr/bin/env python3
"""Attacks on the media of a call: strangers that spray, repeat, forge and bend packets, and SDP
that aims media at what is none of the caller's business."""

import contextlib
import hashlib
import hmac
import itertools
import pathlib
import secrets
import struct
import sys
import time
import zlib

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from lab.cast import Cast
from lab.play import Play, expect
from lab.rawsip import RawSip
from lab.rtpspy import RtpSpy
from lab.stranger import Stranger
from lab.tone import heard
from lab.wiretap import Wiretap

play = Play()

THIRD = "198.51.100.66"  # in the internet, and nobody's
MUX = (36000, 36001)
NEIGHBOURS = 4  # ports below and above those of the call
N_REPLAYED = 60
N_BENT = 150  # more than the hundred that once ended calls elsewhere
COOKIE = 0x2112a442


def stage(lab):
    cast = Cast(lab)
    cast.alice = cast.outside("alice")
    cast.bob = cast.inside("bob")
    return cast


def end_of(box, kind):
    """The end of the one stream of the one call that looks that way, with its counters."""
    call, = box.ctl("calls")["calls"]
    return next(end for end in call["media"][0]["ends"] if end["kind"] == kind)


def media_status(box):
    return box.ctl("status")["modules"]["media"]


def port_of(end):
    return int(end["local"].rpartition(":")[2])


@contextlib.contextmanager
def talking(c):
    """A call from alice to bob; at the end it must still be there, whole and without a loss."""
    with RtpSpy(c.lab.desk) as spy:
        c.call(c.alice, c.bob)
        try:
            spy.wait_packets(50, target=c.lab.desk.v4)
            yield spy
            expect(c.alice.in_call() and c.bob.in_call(), "the call is gone")
            goes_on(c)
            tone_is_whole(c)
            streams = [s for s in spy.streams(target=c.lab.desk.v4) if s.packets > 20]
            expect(len(streams) == 1 and streams[0].lost == 0 and streams[0].doubled == 0, streams)
        finally:
            c.hang_up(c.alice, c.bob)


def goes_on(c):
    seen = [phone.stats()["received"] for phone in (c.alice, c.bob)]
    c.until(lambda: all(phone.stats()["received"] > n + 25
                        for phone, n in zip((c.alice, c.bob), seen)), what="more sound")


def tone_is_whole(c):
    c.heard(c.alice, c.bob)
    for ear, mouth in ((c.alice, c.bob), (c.bob, c.alice)):
        # the first half second is the phones' own beginning
        found = heard(ear.recording(), mouth.hz, since=0.5, min_seconds=0.4)
        expect(found and found.jumps == 0 and found.longest_gap_ms == 0, ear.name, found)


def rises(c, count, before, by, what):
    c.until(lambda: count() >= before + by, 5.0, f"{what}: {count()}, wanted {before} + {by}, rise")


@play.check
def strays_get_and_give_nothing(c):
    """packets of strangers to all ports of a call, before, during and after it: none passes, none is answered"""
    with RtpSpy(c.lab.desk) as spy, Stranger(c.lab.inet, THIRD, ssrc=0xbadcafe1) as near, \
            Stranger(c.lab.home, ssrc=0xbadcafe2) as far:
        c.alice.dial(c.bob.uri)
        c.bob.wait_incoming()
        first = port_of(end_of(c.edge, "outside"))
        ports = [*MUX, *range(first - NEIGHBOURS, first + 2 + NEIGHBOURS)]

        def attack():
            for stranger in (near, far):
                stranger.spray(c.lab.dmz.v4, ports)

        attack()
        c.bob.accept()
        c.alice.wait_established()
        spy.wait_packets(100, target=c.lab.desk.v4)
        before, unknown = end_of(c.edge, "outside"), media_status(c.edge)["mux_unknown_packets"]
        attack()
        # of each stranger to each of both ports: eight RTP and one RTCP
        rises(c, lambda: end_of(c.edge, "outside")["dropped"], before["dropped"], 36,
              "dropped at E")
        rises(c, lambda: media_status(c.edge)["mux_unknown_packets"], unknown, 36, "unknown at E")
        expect(end_of(c.edge, "outside")["remote"] == before["remote"], "the latch moved")
        goes_on(c)
        tone_is_whole(c)
        c.hang_up(c.alice, c.bob)
        attack()
        expect([s for s in spy.streams() if s.ssrc in (near.ssrc, far.ssrc)] == [], spy.streams())
        expect(near.received() == 0 and far.received() == 0, near.came[:5], far.came[:5])
    c.firewall_is_clean()


def said_by_alice(c, tap, n, kind):
    """Packets of hers on their way to E, all of one source and one target."""
    return tap.wait(n, kind, source=c.lab.inet.v4, target=c.lab.dmz.v4, deadline_s=25.0)


@play.check
def replayed_rtp(c):
    """SRTP of the caller said again: from a third address E drops it, from his own C does; both count it"""
    with talking(c), Wiretap(c.lab.inet) as tap, Stranger(c.lab.inet, THIRD) as thief:
        said = said_by_alice(c, tap, N_REPLAYED, "rtp")[:N_REPLAYED]
        before, decrypted = end_of(c.edge, "outside"), end_of(c.core, "ice")
        for packet in said:
            thief.send(packet.target, packet.payload)
        rises(c, lambda: end_of(c.edge, "outside")["unproved"], before["unproved"], N_REPLAYED,
              "unproved at E")
        for packet in said:
            thief.forge(packet.source, packet.target, packet.payload)
        rises(c, lambda: end_of(c.core, "ice")["replayed"], decrypted["replayed"], N_REPLAYED,
              "replayed at C")
        expect(end_of(c.edge, "outside")["latch_moves"] == before["latch_moves"], "the latch moved")
        expect(thief.received() == 0, thief.came[:5])


@play.check
def replayed_rtcp(c):
    """SRTCP of the caller said again from a third address moves no latch and earns nothing"""
    with talking(c), Wiretap(c.lab.inet) as tap, Stranger(c.lab.inet, THIRD) as thief:
        said = said_by_alice(c, tap, 3, "rtcp")
        before = end_of(c.edge, "outside")
        for packet in said:
            thief.send(packet.target, packet.payload)
        goes_on(c)
        expect(end_of(c.edge, "outside")["latch_moves"] == before["latch_moves"], "the latch moved")
        rises(c, lambda: end_of(c.edge, "outside")["dropped"], before["dropped"], len(said),
              "dropped at E")
        expect(thief.received() == 0, thief.came[:5])


@play.check
def replayed_behind_a_screen(c):
    """forged packets in the caller's name, of many sources, do not make E forget what it has seen of him"""
    with talking(c), Wiretap(c.lab.inet) as tap, Stranger(c.lab.inet, THIRD) as thief:
        said = said_by_alice(c, tap, N_REPLAYED, "rtp")
        before = end_of(c.edge, "outside")
        for packet in said[:10]:
            for thief.ssrc in range(16):
                thief.forge(packet.source, packet.target, thief.rtp())
            thief.send(packet.target, packet.payload)
        goes_on(c)
        expect(end_of(c.edge, "outside")["latch_moves"] == before["latch_moves"], "the latch moved")
        rises(c, lambda: end_of(c.edge, "outside")["unproved"], before["unproved"], 10,
              "unproved at E")
        expect(thief.received() == 0, thief.came[:5])


@play.check
def bent_packets(c):
    """many packets with one bit flipped, in the caller's own name, are dropped and counted; the call stays"""
    with talking(c), Wiretap(c.lab.inet) as tap, Stranger(c.lab.inet, THIRD) as forger:
        said = said_by_alice(c, tap, N_REPLAYED, "rtp")
        before = end_of(c.core, "ice")
        for i in range(N_BENT):
            packet = said[i % N_REPLAYED]
            bent = bytearray(packet.payload)
            # in turn a bit of the sequence number, of the source and of what is encrypted
            at = (2 + i % 2, 8 + i % 4, 12 + i % (len(bent) - 12))[i % 3]
            bent[at] ^= 1 << i // 3 % 8
            forger.forge(packet.source, packet.target, bytes(bent))
        rises(c, lambda: refused_at(c.core), before["bad_tag"] + before["replayed"], N_BENT,
              "refused at C")
        # those of another source are new to C: the tag tells
        expect(end_of(c.core, "ice")["bad_tag"] >= before["bad_tag"] + N_BENT // 3,
               end_of(c.core, "ice"))


def refused_at(core):
    end = end_of(core, "ice")
    return end["bad_tag"] + end["replayed"]


def stun(attributes=b"", key=None, fingerprint=True):
    """A binding request."""
    tid = secrets.token_bytes(12)

    def head(extra):
        return struct.pack("!HHI", 1, len(attributes) + extra, COOKIE) + tid

    if key is not None:
        tag = hmac.new(key, head(24) + attributes, hashlib.sha1).digest()
        attributes += struct.pack("!HH", 0x0008, 20) + tag
    if fingerprint:
        crc = zlib.crc32(head(8) + attributes) ^ 0x5354554e
        attributes += struct.pack("!HHI", 0x8028, 4, crc)
    return head(0) + attributes


def attribute(kind, value):
    return struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4)


def username_of(check):
    """USERNAME is the first attribute of C's checks."""
    kind, length = struct.unpack_from("!HH", check, 20)
    expect(kind == 0x0006, "no USERNAME first")
    return check[24:24 + length]


def check_of_the_call(c, tap):
    """The newest check that C sent for the RTP of the call; those of an INVITE that the PBX
    challenged came before it."""
    source = (c.lab.lan.v4, port_of(end_of(c.core, "ice")))
    return [p for p in tap.packets("stun", target=c.lab.dmz.v4) if p.source == source][-1]


@play.check
def forged_checks(c):
    """forged STUN checks on the shared ports are not answered, are counted and change nothing"""
    with Wiretap(c.lab.dmz) as tap, talking(c), Stranger(c.lab.inet, THIRD) as forger:
        true = check_of_the_call(c, tap).payload
        name = attribute(0x0006, username_of(true))
        nominated = attribute(0x0024, struct.pack("!I", 1)) + attribute(0x0025, b"")
        bent = bytearray(true)
        bent[-12] ^= 1
        forged = [stun(), stun(fingerprint=False), stun(name), stun(name + nominated, key=b""),
                  stun(name + nominated, key=secrets.token_bytes(24)),
                  stun(attribute(0x0006, b"AAAAAAAA:BBBBBBBB") + nominated, key=b"pw"),
                  stun(attribute(0x0006, b":"), key=b""), stun(attribute(0x0006, b"")),
                  bytes(bent), true[:20], true[:-8] + true[-8:-4] + bytes(4)]
        forged += [stun(attribute(0x0006, name * 20), key=b"x")] * 20
        before = media_status(c.edge)
        for packet in forged:
            for port in MUX:
                forger.send((c.lab.dmz.v4, port), packet)
        rises(c, lambda: media_status(c.edge)["mux_bad_checks"], before["mux_bad_checks"],
              2 * len(forged) - 2, "bad checks")  # the bare header has no body to be judged
        expect(media_status(c.edge)["mux_moves"] == before["mux_moves"], "a stream moved")
        goes_on(c)
        expect(forger.received() == 0, forger.came[:5])


@play.check
def replayed_check(c):
    """C's own STUN check, said again from the internet, does not take its stream away"""
    with Wiretap(c.lab.dmz) as tap, talking(c), Stranger(c.lab.inet, THIRD) as thief:
        true = check_of_the_call(c, tap)
        before = media_status(c.edge)
        thief.send(true.target, true.payload)
        goes_on(c)
        expect(media_status(c.edge)["mux_moves"] == before["mux_moves"], "the stream moved")
        thief.received()
        media = [source for source, payload in thief.came if payload[0] >= 0x80]
        expect(not media, "the thief got", len(media), "packets of the call")


KEY = "1 AES_CM_128_HMAC_SHA1_80 inline:" + "A" * 40


def sdp(address, port=40000, lines=(), family=None):
    family = family or ("IP6" if ":" in address else "IP4")
    return "\r\n".join(["v=0", "o=- 1 1 IN IP4 198.51.100.10", "s=-", f"c=IN {family} {address}",
                        "t=0 0", f"m=audio {port} RTP/SAVP 0", f"a=crypto:{KEY}", *lines, ""])


class Caller(RawSip):
    """A registered phone that offers what it likes."""

    numbers = itertools.count(1 << 16)  # of requests within a dialog: above all before

    def invite(self, uri, body):
        """The final answer, acknowledged."""
        self.call_id = secrets.token_hex(8)
        answer = self.request("INVITE", uri, [f"Contact: <sip:{self.user}@{self.here}>",
                                              "Content-Type: application/sdp"], body, to=uri)
        self.acknowledge(uri, answer)
        return answer

    def acknowledge(self, uri, answer):
        target, lines = uri, []
        if answer.status < 300:
            target = answer.get("Contact").partition("<")[2].partition(">")[0]
            lines = [f"Route: {route}" for route in reversed(answer.all("Record-Route"))]
            branch = "z9hG4bK" + secrets.token_hex(8)
        else:
            branch = answer.get("Via").partition("branch=")[2].partition(";")[0]
        self._send([f"ACK {target} SIP/2.0", f"Via: SIP/2.0/UDP {self.here};rport;branch={branch}",
                    "Max-Forwards: 70", f"From: {answer.get('From')}", f"To: {answer.get('To')}",
                    f"Call-ID: {self.call_id}", f"CSeq: {answer.get('CSeq').split()[0]} ACK",
                    *lines], "", self.server)

    def within(self, method, answer, body=""):
        """A request within the dialog of `answer`."""
        target = answer.get("Contact").partition("<")[2].partition(">")[0]
        number = next(self.numbers)
        branch = "z9hG4bK" + secrets.token_hex(8)
        lines = [f"{method} {target} SIP/2.0",
                 f"Via: SIP/2.0/UDP {self.here};rport;branch={branch}", "Max-Forwards: 70",
                 f"From: {answer.get('From')}", f"To: {answer.get('To')}",
                 f"Call-ID: {self.call_id}", f"CSeq: {number} {method}",
                 f"Contact: <sip:{self.user}@{self.here}>"]
        lines += [f"Route: {route}" for route in reversed(answer.all("Record-Route"))]
        self._send([*lines, "Content-Type: application/sdp"] if body else lines, body, self.server)
        give_up = time.monotonic() + 5.0
        while True:
            final = self.receive(max(0.01, give_up - time.monotonic()))
            if final.status and final.status >= 200 and branch in (final.get("Via") or ""):
                if method == "INVITE":
                    self.acknowledge(target, final)
                return final


def refused_addresses(box):
    return sum(1 + entry["repeats"] for entry in box.traces("media.sdp.refused-address"))


def refuses(box, caller, uri, offers):
    """Each offer: 403, and one entry in the trace."""
    for body in offers:
        before = refused_addresses(box)
        answer = caller.invite(uri, body)
        expect(answer.status == 403, answer.first, "to", body)
        expect(refused_addresses(box) == before + 1, "no trace for", body)


@play.check
def offers_from_outside(c):
    """SDP from outside at loopback, multicast, E's listeners and ports: 403 and media.sdp.refused-address"""
    edge = c.lab.dmz
    with Caller(c.lab.inet, (edge.v4, 5060), "dave", "dave-secret") as dave:
        expect(dave.register().status == 200, "dave is not registered")
        refuses(c.edge, dave, "sip:bob@example.com", [
            sdp("127.0.0.1"), sdp("127.1.2.3"), sdp("224.0.1.1"), sdp("239.1.1.1/127"),
            sdp("255.255.255.255"), sdp("169.254.169.254"), sdp("240.0.0.1"), sdp("0.1.2.3"),
            sdp("::1"), sdp("::ffff:127.0.0.1", family="IP6"), sdp("::127.0.0.1"),
            sdp("2002:7f00:1::1"), sdp("64:ff9b::7f00:1"), sdp("fe80::1"), sdp("ff02::1"),
            sdp(edge.v4, 5060), sdp(edge.v4, 5061), sdp(edge.v4, 36000), sdp(edge.v4, 40000),
            sdp(edge.v4, 22), sdp(edge.v6, 5060), sdp(f"::ffff:{edge.v4}", 36000, family="IP6"),
            sdp("198.51.100.10", lines=["a=rtcp:40001 IN IP4 127.0.0.1"]),
            sdp("198.51.100.10", lines=[f"a=rtcp:5060 IN IP4 {edge.v4}"]),
            sdp("198.51.100.10", lines=["m=audio 40010 RTP/SAVP 0", "c=IN IP4 127.0.0.1",
                                        f"a=crypto:{KEY}"]),
            sdp("198.51.100.10", lines=["m=application 40010 UDP/BFCP *", "c=IN IP4 224.1.1.1"])])
        dave.register(expires=0)
    c.quiet()
    expect(media_status(c.edge)["ports_taken"] == 0, media_status(c.edge))


@play.check
def own_port_in_a_reoffer(c):
    """a re-INVITE that aims the media at the port of the same call is refused with 403; the call stays"""
    with Caller(c.lab.inet, (c.lab.dmz.v4, 5060), "dave", "dave-secret") as dave:
        expect(dave.register().status == 200, "dave is not registered")
        c.bob.forget()
        c.bob.set_answer_mode("auto")
        try:
            answer = dave.invite(c.bob.uri, sdp("198.51.100.10"))
        finally:
            c.bob.set_answer_mode("manual")
        expect(answer.status == 200, answer.first)
        try:
            port = port_of(end_of(c.edge, "outside"))
            expect(f"m=audio {port} " in answer.body, answer.body)
            before = refused_addresses(c.edge)
            for own in (port, port + 1):
                refusal = dave.within("INVITE", answer, sdp(c.lab.dmz.v4, own))
                expect(refusal.status == 403, refusal.first)
            expect(refused_addresses(c.edge) == before + 2, "no trace")
            expect(c.bob.in_call(), "the call is gone")
        finally:
            expect(dave.within("BYE", answer).status == 200, "BYE")
        c.bob.wait_closed()
        dave.register(expires=0)
    c.quiet()


def plain(text):
    return text.replace("RTP/SAVP", "RTP/AVP").replace(f"a=crypto:{KEY}\r\n", "")


@play.check
def offers_from_inside(c):
    """SDP from inside at loopback, multicast, C's listeners: 403 from C, and a trace there"""
    core = c.lab.lan
    with Caller(c.lab.desk, (c.lab.pbx.v4, 5060), "dave", "dave-secret") as dave:
        refuses(c.core, dave, c.alice.uri, [plain(text) for text in (
            sdp("127.0.0.1"), sdp("224.0.1.1"), sdp("169.254.169.254"), sdp("::1"),
            sdp(core.v4, 5060), sdp("::ffff:127.0.0.1", family="IP6"),
            sdp(c.lab.desk.v4, lines=["a=rtcp:5060 IN IP4 127.0.0.1"]))])
    c.quiet()


@play.check
def rtcp_at_nowhere(c):
    """RTCP at 0.0.0.0, which the kernel takes for this host, is refused as any address of C's own"""
    with Caller(c.lab.desk, (c.lab.pbx.v4, 5060), "dave", "dave-secret") as dave:
        c.alice.set_answer_mode("auto")
        try:
            refuses(c.core, dave, c.alice.uri,
                    [plain(sdp(c.lab.desk.v4, lines=["a=rtcp:5060 IN IP4 0.0.0.0"]))])
        finally:
            c.alice.set_answer_mode("manual")
            if c.alice.in_call():
                c.alice.hangup()
    c.quiet()


if __name__ == "__main__":
    sys.exit(play.run(stage))

#!/usr/bin/env python3
"""The SIP side of a guest service: calls from a guest server to C (one interface) and to E (two), with
the guest's audio behind a TURN relay on E. Who is taken for a guest server, and who is not."""

import pathlib
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from lab.cast import HZ, Cast
from lab.guest_server import GuestMedia, GuestServer, UdpRelay
from lab.play import Play, expect
from lab.tone import wait_heard
from lab.turn_client import DATA, DATA_ATTR, Silence, TurnClient

GUEST = "10.20.0.71"  # guest1.example.com
GUEST_HZ = 570
BOB = ("bob", "bob-turn-secret")
INNER, OUTER = "172.30.0.10", "203.0.113.10"
PUBLIC = "192.0.2.77"  # of static NAT, which leads nowhere here
one, two = Play(), Play()

ZONE = """
[zone guest]
type = neighbour
peers = {peer}
transport = tcp
port = 5060
media-encryption = unencrypted
monitor = no
"""


class Stage(Cast):
    """With one interface: guest server -> C -> PBX, and media C <-> relay on E."""

    def __init__(self, lab, **words):
        self.n = 0
        self.guest = GuestServer(lab.web, GUEST)
        super().__init__(lab, **(words or {"pbx_zone": ZONE.format(peer=GUEST)}))
        self.bob = self.inside("bob")
        self.left = []  # of a check that failed

    def guest_media(self, send, receive):
        self.n += 1
        return GuestMedia(send, receive, GUEST_HZ, self.lab.work / f"guest{self.n}.wav")

    def talk(self, call, media, permit):
        """Both hear each other."""
        expect(call.status == 200, call.answer.first)
        permit(call.media)
        media.speak()
        found = media.wait_heard(HZ["bob"])
        expect(found, "the guest does not hear bob", found, media.n_received)
        found = wait_heard(self.bob, GUEST_HZ)
        expect(found, "bob does not hear the guest", found)

    def end(self, call, media):
        self.left.remove(call)
        call.hang_up()
        media.close()
        self.bob.wait_closed()
        self.quiet()

    def dial(self, server, relay, callee="bob@example.com", **more):
        """bob takes the call as soon as it rings."""
        for call in self.left:
            call.hang_up()
        self.left.clear()
        self.quiet()
        found = {}

        def ring():
            try:
                found["call"] = self.guest.call(server, callee, relay, **more)
            except Exception as error:  # pylint: disable=broad-except
                found["error"] = error
        thread = threading.Thread(target=ring)
        thread.start()
        try:
            self.bob.wait_incoming()
            self.bob.accept()
        finally:
            thread.join(20)
        expect("call" in found, found)
        self.left.append(found["call"])
        return found["call"]


# --- one interface ---

@one.check
def to_the_core(c):
    """a guest server calls through C: C's media goes to the relay on E and comes from it, past the traversal ports"""
    relay = UdpRelay(c.lab.dmz, OUTER, 24002)
    c.lab.firewall.allow("udp", 24002)
    media = c.guest_media(relay.send, relay.receive)
    call = c.dial((c.lab.lan.v4, 5060), relay.address)
    expect(call.media[0] == c.lab.lan.v4 and 36000 <= call.media[1] <= 59999, call.media)
    c.talk(call, media, relay.permit)
    expect(c.core.ctl("calls")["calls"][0]["legs"][0]["remote"].startswith(GUEST), c.core.ctl("calls"))
    expect(not c.edge.ctl("calls")["calls"], "E has a part in it")
    expect(not relay.strangers, relay.strangers)
    c.end(call, media)
    relay.close()
    c.firewall_is_clean()


@one.check
def one_way_to_the_core(c):
    """a guest who only listens is heard by nobody and hears; the SDP says so on both sides"""
    relay = UdpRelay(c.lab.dmz, OUTER, 24004)
    c.lab.firewall.allow("udp", 24004)
    media = c.guest_media(relay.send, relay.receive)
    call = c.dial((c.lab.lan.v4, 5060), relay.address, direction="recvonly")
    expect(call.status == 200 and "a=sendonly" in call.answer.body, call.answer.body)
    relay.permit(call.media)
    expect(media.wait_heard(HZ["bob"]), "the guest hears nothing")
    c.end(call, media)
    relay.close()


@one.check
def one_way_from_the_guest(c):
    """a guest who only speaks: the inbound rule of the port table is needed, and with it bob hears"""
    relay = UdpRelay(c.lab.dmz, OUTER, 24006)
    media = c.guest_media(relay.send, relay.receive)
    call = c.dial((c.lab.lan.v4, 5060), relay.address, direction="sendonly")
    expect(call.status == 200 and "a=recvonly" in call.answer.body, call.answer.body)
    # E -> C, from the relays' ports to C's media ports
    c.lab.fw.run(["nft", "insert", "rule", "inet", "fw", "forward", "ip", "saddr", OUTER, "udp", "sport",
                  "24000-29999", "ip", "daddr", c.lab.lan.v4, "udp", "dport", "36000-59999", "accept"])
    relay.permit(call.media)
    media.speak()
    found = wait_heard(c.bob, GUEST_HZ)
    expect(found, "bob does not hear the guest", found)
    c.end(call, media)
    relay.close()


@one.check
def strangers_of_the_core(c):
    """C takes the media of such a call from the relay's address only"""
    relay = UdpRelay(c.lab.dmz, OUTER, 24008)
    other = UdpRelay(c.lab.desk, c.lab.desk.v4, 24008)
    c.lab.firewall.allow("udp", 24008)
    media = c.guest_media(relay.send, relay.receive)
    fake = c.guest_media(other.send, other.receive)
    call = c.dial((c.lab.lan.v4, 5060), relay.address)
    other.permit(call.media)
    fake.speak()
    c.talk(call, media, relay.permit)
    expect(fake.n_received == 0, "audio went to a stranger")
    fake.close()
    c.end(call, media)
    relay.close()
    other.close()


# --- two interfaces ---

class TwoNics(Stage):
    """Guest server -> E's inner interface -> traversal -> C -> PBX; media E <-> relay on E."""

    def __init__(self, lab):
        lab.firewall.allow("tcp", 5060)
        lab.firewall.allow("tcp", 5061)
        super().__init__(
            lab, turn=True, edge_turn=f"media-peers = yes\nrelay-address = {OUTER}",
            edge_sip=f"address = {INNER}\noutside-address = {OUTER}",
            edge_media=f"address = {INNER}\noutside-address = {OUTER}\n" + ZONE.format(peer=GUEST))

    def browser(self):
        """A guest in the internet with a relay: (client, relay address)."""
        client = TurnClient(self.lab.inet, (OUTER, 3478), *BOB)
        return client, client.relay()

    def media_of(self, client):
        """The client's socket is its thread's once there is a permission."""
        self.peer = None

        def send(data):
            client.send(self.peer, data)

        def receive():
            if not self.peer:
                raise TimeoutError
            try:
                found = client.receive(0.2)
            except Silence:
                return b""
            return found.get(DATA_ATTR) if found.method == DATA else b""
        return self.guest_media(send, receive)

    def permit(self, client):
        def permit(peer):
            client.permit(peer)
            self.peer = peer
        return permit


@two.check
def listens_inside(c):
    """SIP of the peers is met at the inner interface, by the transport of the zone; the public ports stay outside"""
    at = {(row["transport"], row["local"]) for row in c.edge.connections("listener")}
    expect(("tcp", f"{INNER}:5060") in at and ("tls", f"{INNER}:5061") not in at, at)
    expect(("tls", f"{OUTER}:5061") in at, at)


@two.check
def through_the_edge(c):
    """a guest server calls through E; the guest's relay on E itself and E's media port speak to each other; audio both ways"""
    client, relay = c.browser()
    media = c.media_of(client)
    call = c.dial((INNER, 5060), relay)
    expect(call.status == 200 and call.media[0] == INNER, call.answer.first, call.media)
    c.talk(call, media, c.permit(client))
    legs = c.edge.ctl("calls")["calls"][0]["legs"]
    expect(legs[0]["zone"] == "guest", legs)
    expect(len(c.core.ctl("calls")["calls"]) == 1, "not through C")
    c.end(call, media)
    client.close()
    c.firewall_is_clean()


@two.check
def static_nat(c):
    """behind static NAT the SDP names the relay by its public address: E reaches it all the same"""
    before = c.edge.ini.read_text()
    c.edge.edit("media-peers = yes", f"media-peers = yes\npublic-address = {PUBLIC}")
    client = TurnClient(c.lab.inet, (OUTER, 3478), *BOB)
    relay = client.relay()
    give_up = time.monotonic() + 5
    while relay[0] != PUBLIC and time.monotonic() < give_up:
        client.close()
        client = TurnClient(c.lab.inet, (OUTER, 3478), *BOB)
        relay = client.relay()
    expect(relay[0] == PUBLIC, relay)
    media = c.media_of(client)
    call = c.dial((INNER, 5060), relay)
    c.talk(call, media, c.permit(client))
    c.end(call, media)
    client.close()
    c.edge.ini.write_text(before)
    c.edge.hup()


@two.check
def own_addresses_stay_refused(c):
    """any other port and address of E in such an SDP is refused with 403, with the reason in the trace"""
    for host, port in ((OUTER, 5061), (OUTER, 23998), (OUTER, 30000), (OUTER, 36000), (OUTER, 40000), (INNER, 24000),
                       (INNER, 5060), (INNER, 36000), (OUTER, 3478), ("127.0.0.1", 24000)):
        call = c.guest.call((INNER, 5060), "bob@example.com", (host, port))
        expect(call.status == 403, host, port, call.answer.first)
        call.hang_up()
    expect(c.edge.traces("media.sdp.refused-address"), "no trace")
    c.quiet()


@two.check
def strangers_of_the_edge(c):
    """only the peer's address, by the zone's transport, at the inner interface: others are strangers without a registration"""
    desk = GuestServer(c.lab.desk, c.lab.desk.v4)
    call = desk.call((INNER, 5060), "bob@example.com", (c.lab.desk.v4, 24000))
    expect(call.status == 403, "another host inside", call.answer.first)
    evil = GuestServer(c.lab.inet, c.lab.inet.v4)
    call = evil.call((OUTER, 5060), "bob@example.com", (c.lab.inet.v4, 24000))
    expect(call.status == 403, "a host outside", call.answer.first)
    try:
        call = c.guest.call((OUTER, 5060), "bob@example.com", (c.lab.inet.v4, 24000), deadline_s=1.5)
        expect(call.status == 403, "the peer at the outer interface", call.answer.first)
    except OSError:
        pass  # the firewall does not let it there
    call = c.guest.call((INNER, 5060), "nobody@elsewhere.example", (c.lab.inet.v4, 24000))
    expect(call.status == 404, "search rules do not bind it", call.answer.first)
    expect(c.edge.traces("sip.outside.not-registered"), "no trace")


@two.check
def zone_that_goes(c):
    """a peer that a reload took out is a stranger at once, on the connection that it has"""
    before = c.edge.ini.read_text()
    known = c.guest.call((INNER, 5060), "nobody@elsewhere.example", (c.lab.inet.v4, 24000))
    expect(known.status == 404, known.answer.first)
    c.edge.edit(f"peers = {GUEST}", "peers = 10.20.0.72")
    c.until(lambda: known.again("nobody@elsewhere.example", (c.lab.inet.v4, 24000)) == 403, 5,
            "403 after the reload")
    known.hang_up()
    c.edge.ini.write_text(before)
    c.edge.hup()
    client, relay = c.browser()
    media = c.media_of(client)
    call = c.dial((INNER, 5060), relay)
    c.talk(call, media, c.permit(client))
    c.end(call, media)
    client.close()


def main():
    failed = one.run(Stage)
    return two.run(TwoNics, two_nics=True) or failed


if __name__ == "__main__":
    sys.exit(main())

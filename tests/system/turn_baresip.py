#!/usr/bin/env python3
"""Phones (baresip) that call each other through relays of E, because nothing else is let through."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from lab.kamailio import Kamailio
from lab.phone import Phone
from lab.play import Play, expect
from lab.tone import wait_heard
from lab.turncast import BOB, TurnCast

play = Play()
# The office that carol sits in lets UDP out to port 3478 only: what her phone sends elsewhere is dropped.
STRICT = """
table inet strict {
  chain in { type filter hook input priority 0; udp dport 10000-19999 udp sport != 3478 drop; }
  chain out { type filter hook output priority 0; udp sport 10000-19999 udp dport != 3478 drop; }
}
"""


class Stage(TurnCast):
    """Kamailio for both phones stands on the internet: SIP is not what this is about."""

    def __init__(self, lab):
        super().__init__(lab, edge_turn="stun-binding = yes")
        Kamailio(lab.inet).start()
        lab.home.run(["nft", "-f", "-"], input=STRICT)

    def phone(self, netns, user, hz, medianat, turn, name):
        phone = Phone(netns, user, f"{user}-secret", (self.lab.inet.v4, 5060), hz=hz, medianat=medianat,
                      turn=turn, name=f"{user}-{name}")
        return phone.start().wait_registered()

    def turn_of(self, user=BOB):
        return (f"turn:{self.lab.dmz.v4}:3478", *user)

    def call(self, alice, carol, n_relays):
        """carol calls; each hears the other; E relays for so many sockets of phones."""
        try:
            carol.dial(alice.uri)
            alice.wait_incoming()
            alice.accept()
            carol.wait_established()
            alice.wait_established()
            # baresip's ICE tries what cannot work first, for seconds
            for ear, mouth in ((alice, carol), (carol, alice)):
                found = wait_heard(ear, mouth.hz, deadline_s=25)
                expect(found, f"{ear.name} does not hear {mouth.name}: {found}")
            rows = self.edge.ctl("turn")["allocations"]
            expect(len(rows) == n_relays, rows)
            busy = [row for row in rows if row["tx_packets"] > 40 and row["rx_packets"] > 40]
            expect(busy, rows)
        finally:
            carol.stop()
            alice.stop()
        self.no_allocations(10)


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


if __name__ == "__main__":
    sys.exit(play.run(Stage))

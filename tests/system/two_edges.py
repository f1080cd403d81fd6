#!/usr/bin/env python3
"""One core with two edges: phones on either, and one edge that dies."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from lab.cast import HZ, Cast
from lab.pair import Box
from lab.phone import Phone
from lab.play import Play, expect

play = Play()


class Stage(Cast):
    def __init__(self, lab):
        super().__init__(lab, peers="edge1.example.com edge1.example.com:7002")
        self.edge.edit("ports = 36002-59999", "ports = 37000-45999")
        text = self.edge.ini.read_text()
        for old, new in (("5061", "5071"), ("5060", "5070"), ("port = 7001", "port = 7002"),
                         ("37000-45999", "46000-54999\nmux-ports = 36002-36003"),
                         ("edge.sock", "edge2.sock")):
            assert old in text, old
            text = text.replace(old, new)
        self.second = Box(lab.dmz, "E", lab.work, text)
        self.second.ini = lab.work / "edge2.ini"
        self.second.ini.write_text(text)
        self.second.socket = lab.work / "edge2.sock"
        self.second.log = "edge2.log"
        self.edge.ini.write_text(text_of_first(text))
        self.second.start()

    def on_second(self, user, **more):
        phone = Phone(self.lab.inet, user, f"{user}-secret", (self.lab.dmz.v4, 5071),
                      transport="tls", mediaenc="srtp-mand", hz=HZ[user], **more).start()
        phone.wait_registered()
        self.phones[user] = phone
        return phone


def text_of_first(text):
    """The first box's file again, which Box() of the second one wrote over."""
    for old, new in (("5071", "5061"), ("5070", "5060"), ("port = 7002", "port = 7001"),
                     ("46000-54999\nmux-ports = 36002-36003", "37000-45999"),
                     ("edge2.sock", "edge.sock")):
        text = text.replace(old, new)
    return text


@play.check
def both_links(c):
    """C dials both edges: Active (2 of 2)"""
    c.core.wait(lambda: c.core.zone("to-edge")["state"] == "Active (2 of 2)", 20, "two links")


@play.check
def phones_on_both(c):
    """phones of either edge call inside and each other, and are called through the edge that holds them"""
    c.alice, c.dave, c.bob = c.outside("alice", regint=30), c.on_second("dave"), c.inside("bob")
    for a, b in ((c.alice, c.bob), (c.bob, c.alice), (c.dave, c.bob), (c.bob, c.dave),
                 (c.dave, c.alice)):
        c.call(a, b)
        c.heard(a, b)
        a.hangup()
        b.wait_closed()
    expect(len(c.second.ctl("registrations")["registrations"]) == 1, "dave is not at the second edge")


@play.check
def one_edge_dies(c):
    """an edge dies: the zone says so, phones of the other one go on, also during the call"""
    c.call(c.dave, c.bob)
    c.heard(c.dave, c.bob)
    c.edge.kill()
    c.core.wait(lambda: c.core.zone("to-edge")["state"] == "Active (1 of 2)", 20, "one link")
    seen = c.bob.stats()["received"]
    c.until(lambda: c.bob.stats()["received"] > seen + 50, what="sound of the call that was up")
    c.dave.hangup()
    c.bob.wait_closed()
    c.call(c.bob, c.dave)
    c.heard(c.dave, c.bob)
    c.bob.hangup()
    c.dave.wait_closed()


@play.check
def it_comes_back(c):
    """the edge comes back without a hand: both links, and its phone is called again"""
    c.edge.start()
    c.core.wait(lambda: c.core.zone("to-edge")["state"] == "Active (2 of 2)", 20, "two links")
    c.until(lambda: c.edge.ctl("registrations")["registrations"], 60, "alice back")
    c.call(c.bob, c.alice)
    c.heard(c.alice, c.bob)
    c.bob.hangup()
    c.alice.wait_closed()
    c.firewall_is_clean()


if __name__ == "__main__":
    sys.exit(play.run(Stage))

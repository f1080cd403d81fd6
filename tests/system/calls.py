#!/usr/bin/env python3
"""Registrations and calls of real phones through the pair: all directions, with sound."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from lab.cast import Cast
from lab.play import Play, expect
from lab.rtpspy import RtpSpy

play = Play()


@play.check
def registers(c):
    """a phone outside registers at the PBX inside: digest end to end, Path of both boxes, both tables"""
    c.outside("alice")
    c.inside("bob")
    contacts = c.pbx.contacts("alice")
    expect(len(contacts) == 1, contacts)
    path = str(contacts[0])
    expect("lr" in path and path.count("sip:tp") == 2, path)
    rows = [box.ctl("registrations")["registrations"] for box in (c.edge, c.core)]
    expect([len(r) for r in rows] == [1, 1], rows)
    expect(rows[0][0]["aor"] == "alice@example.com", rows)
    expect(rows[0][0]["session"] == rows[1][0]["session"], "session ids differ", rows)


@play.check
def outside_to_inside(c):
    """outside calls inside: tone on both sides, SRTP outside, RTP inside, one session id on both boxes"""
    alice, bob = c.outside("alice"), c.inside("bob")
    with RtpSpy(c.lab.inet) as outer, RtpSpy(c.lab.desk) as inner:
        c.call(alice, bob)
        c.heard(alice, bob)
        c.until(lambda: outer.streams() and all(s.encrypted is not None for s in outer.streams()))
        expect(all(s.encrypted for s in outer.streams()), outer.streams())
        expect(not any(s.encrypted for s in inner.streams()), inner.streams())
    calls = [box.ctl("calls")["calls"] for box in (c.edge, c.core)]
    expect([len(x) for x in calls] == [1, 1], calls)
    expect(calls[0][0]["session"] == calls[1][0]["session"], calls)
    expect(all(x[0]["state"] == "up" for x in calls), calls)
    c.hang_up(alice, bob)
    c.firewall_is_clean()


@play.check
def inside_to_outside(c):
    """inside calls outside: tone on both sides, the called hangs up"""
    alice, bob = c.outside("alice"), c.inside("bob")
    c.call(bob, alice)
    c.heard(alice, bob)
    c.hang_up(alice, bob)
    c.firewall_is_clean()


@play.check
def outside_to_outside(c):
    """outside calls outside, the called one behind a port-rewriting NAT: tone on both sides"""
    alice, carol = c.outside("alice"), c.outside("carol", c.lab.home)
    c.call(alice, carol)
    c.heard(alice, carol)
    expect(len(c.edge.ctl("calls")["calls"]) == 2, c.edge.ctl("calls"))
    c.hang_up(alice, carol)


@play.check
def behind_nat(c):
    """a phone behind the NAT calls and is called: tone on both sides"""
    carol, bob = c.outside("carol", c.lab.home), c.inside("bob")
    c.call(carol, bob)
    c.heard(carol, bob)
    c.hang_up(carol, bob)
    c.call(bob, carol)
    c.heard(carol, bob)
    c.hang_up(bob, carol)


@play.check
def holds(c):
    """hold and resume from either side; the tone comes back on both"""
    alice, bob = c.outside("alice"), c.inside("bob")
    c.call(alice, bob)
    c.heard(alice, bob)
    for phone in (alice, bob):
        phone.hold()
        before = phone.stats()["received"]
        phone.resume()
        c.until(lambda p=phone, n=before: p.stats()["received"] > n + 50, what="sound after hold")
    c.heard(alice, bob)
    c.hang_up(bob, alice)


@play.check
def early_media(c):
    """183 with SDP from inside opens the media both boxes before the answer; after it the tone is heard"""
    alice, early = c.outside("alice"), c.inside("bob", name="bob-early", answer="early")
    c.leave(c.inside("bob"))
    c.pbx.wait_contacts("bob", 1)
    alice.dial(early.uri)
    for box in (c.edge, c.core):
        call = box.wait(lambda b=box: next((x for x in b.ctl("calls")["calls"] if x["media"]
                                            and x["media"][0]["active"]), None), 10, "early media")
        expect(call["state"] == "ringing", call)
    early.accept()
    alice.wait_established()
    c.heard(alice, early)
    c.hang_up(alice, early)
    c.leave(early)


@play.check
def cancels(c):
    """the caller gives up while it rings, both ways"""
    alice, bob = c.outside("alice"), c.inside("bob")
    for caller, called in ((alice, bob), (bob, alice)):
        caller.dial(called.uri)
        called.wait_incoming()
        caller.hangup()
        called.wait_closed()
        c.quiet()


@play.check
def rejects(c):
    """the called rejects: 486 reaches the caller, both ways; an unknown name gives 404"""
    alice, bob = c.outside("alice"), c.inside("bob")
    for caller, called in ((alice, bob), (bob, alice)):
        caller.dial(called.uri)
        called.wait_incoming()
        called.reject()
        expect("486" in caller.wait_closed()["param"], "not 486")
        c.quiet()
    alice.dial("sip:nobody@example.com")
    expect("404" in alice.wait_closed()["param"], "not 404")
    c.quiet()


@play.check
def disconnects(c):
    """turnpikectl disconnect ends a call on both phones at once, from either box"""
    alice, bob = c.outside("alice"), c.inside("bob")
    for box in (c.edge, c.core):
        c.call(alice, bob)
        c.heard(alice, bob)
        box.ctl("disconnect", box.ctl("calls")["calls"][0]["id"])
        alice.wait_closed()
        bob.wait_closed()
        c.quiet()


@play.check
def ipv6_outside(c):
    """IPv6 outside, IPv4 inside: tone on both sides"""
    dave, bob = c.outside("dave", version=6), c.inside("bob")
    c.call(dave, bob)
    c.heard(dave, bob)
    c.hang_up(dave, bob)
    c.call(bob, dave)
    c.heard(dave, bob)
    c.hang_up(bob, dave)


@play.check
def unregisters(c):
    """a phone that leaves is gone from both tables and the PBX; calls to it get 480"""
    alice, bob = c.outside("alice"), c.inside("bob")
    c.leave(alice)
    c.pbx.wait_contacts("alice", 0)
    for box in (c.edge, c.core):
        box.wait(lambda: "alice@example.com" not in
                 [r["aor"] for r in box.ctl("registrations")["registrations"]], 10, "alice gone")
    bob.dial("sip:alice@example.com")
    expect("480" in bob.wait_closed()["param"], "not 480")


@play.check
def nothing_came_in(c):
    """the firewall dropped nothing from E to C: E never tried"""
    c.firewall_is_clean()
    flows = [(f["from"], f["proto"], f["port"]) for f in c.lab.firewall.flows() if f["to"] == "dmz"
             and f["from"] == "lan"]
    expect(("lan", "tcp", 7001) in flows and ("lan", "udp", 36000) in flows, flows)
    expect(all(port in (7001, 36000, 36001) for _, _, port in flows), flows)


if __name__ == "__main__":
    sys.exit(play.run(Cast))

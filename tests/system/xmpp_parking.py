#!/usr/bin/env python3
"""Streams of clients that are quiet give their connection between C and E back and go on, with Prosody inside: who
speaks, who ends, what breaks meanwhile."""

import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from lab.play import Play, expect
from lab.xmpp_raw import Silence, name
from lab.xmppcast import XmppCast

play = Play()
N_USERS = 40
N_AT_ONCE = 400
PARK_S = 1
N_KEPT = 8 * 5  # pool-idle, and what a burst of sign-ins adds


class Stage(XmppCast):
    """example.com is Prosody; spy.example the double, for many at once."""

    def __init__(self, lab):
        users = ("alice", "bob", "carol", "dave", *(f"user{i}" for i in range(N_USERS)))
        super().__init__(lab, servers=("prosody", "double"), inside={"prosody": {"users": users, "federation": None}},
                         prosody="federation = none", edge_xmpp=f"park-after = {PARK_S}s")

    def signed_in(self, user, resource="raw", to="example.com", **more):
        raw = self.raw(to, direct=True, **more)
        raw.jid = raw.sign_in(user, resource=resource)
        return raw

    def taken(self, box):
        return [row for row in box.connections("xmpp-link") if row["state"] == "taken"]

    def n_parked(self, box=None):
        return (box or self.edge).ctl("status")["modules"]["xmpp"]["parked"]

    def wait_parked(self, n, deadline_s=10.0):
        for box in (self.edge, self.core):
            box.wait(lambda b=box: self.n_parked(b) == n, deadline_s, f"{n} parked streams")

    def resume(self, user, previd, how="resumed"):
        with self.raw("example.com", direct=True) as raw:
            raw.secure()
            raw.plain(user, f"{user}-secret")
            raw.open()
            raw.send(f"<resume xmlns='urn:xmpp:sm:3' h='0' previd='{previd}'/>")
            answer = name(raw.read())
            expect(answer == how, user, answer)

    def clear(self):
        """The sessions that a check left for resumption are nobody's business of the next one."""
        self.no_streams()


def hears(raw, body, deadline_s=5.0):
    """Reads up to the message; what came before it."""
    before = []
    while (element := raw.read(deadline_s)).findtext("{jabber:client}body") != body:
        before.append(element)
    return before


@play.check
def park(s):
    """quiet streams have no connection between C and E: all are parked on both boxes, the pool keeps few of them"""
    streams = [s.signed_in(f"user{i}", "park") for i in range(N_USERS)]
    s.wait_parked(N_USERS)
    for box in (s.edge, s.core):
        box.wait(lambda b=box: not s.taken(b), 5, "no taken connection")
        n_idle = len([row for row in box.connections("xmpp-link") if row["state"] == "idle"])
        expect(n_idle <= N_KEPT, box.name, n_idle)
        states = {row["state"] for row in box.ctl("xmpp")["streams"]}
        expect(states == {"parked"}, box.name, states)
        expect(box.ctl("xmpp")["stats"]["parked"] == N_USERS, box.ctl("xmpp")["stats"])
        expect("parked" in box.text("xmpp"), box.text("xmpp")[:500])
    expect(not any("xmpp-link-down" in str(a) for box in (s.edge, s.core) for a in box.alarms()), "an alarm")
    failures = s.core.ctl("xmpp")["links"][0]["failures"]
    expect(failures == 0, "closing what is not needed counts as a failure:", failures)
    for i, raw in enumerate(streams):
        raw.send(" ")
        expect(raw.is_open(0.01), i)
    expect(s.n_parked() == N_USERS, "a space woke somebody")
    for raw in streams:
        raw.ping()
    expect(s.n_parked() == 0, s.n_parked())
    s.wait_parked(N_USERS)
    for raw in streams:
        raw.close()
    s.clear()


@play.check
def chat(s):
    """a message reaches a parked client, one of a parked client arrives, many times over; nothing is lost or doubled"""
    with s.signed_in("alice", "one") as alice, s.signed_in("bob", "two") as bob:
        for i in range(4):
            s.wait_parked(2)
            for sender, to in ((alice, bob), (bob, alice)):
                for n in range(3):
                    sender.send(f"<message to='{to.jid}' type='chat'><body>{i} {n} {sender.jid}</body></message>")
                for n in range(3):
                    before = hears(to, f"{i} {n} {sender.jid}")
                    expect(not before, [name(e) for e in before])
        s.wait_parked(2)
        # both at the same time
        for sender, to in ((alice, bob), (bob, alice)):
            sender.send(f"<message to='{to.jid}' type='chat'><body>at once</body></message>")
        hears(alice, "at once")
        hears(bob, "at once")
    s.clear()


@play.check
def around_the_moment(s):
    """stanzas both ways in the very moment of parking: none is lost, none doubled, in order"""
    with s.signed_in("alice", "one") as alice, s.signed_in("bob", "two") as bob:
        for i in range(25):
            time.sleep(PARK_S - 0.06 + i * 0.005)
            for sender, to in ((alice, bob), (bob, alice)):
                sender.send(f"<message to='{to.jid}' type='chat'><body>{i}</body></message>")
            for raw in (alice, bob):
                before = hears(raw, str(i))
                expect(not before, i, [name(e) for e in before])
    s.clear()


@play.check
def ends(s):
    """a parked client that ends: the server ends its session at once, and others see it go; one that is cut stays for resumption"""
    with s.signed_in("bob", "sees") as bob:
        alice = s.signed_in("alice", "ends")
        alice.send(f"<presence to='{bob.jid}'/>")
        expect(bob.read().get("type") is None, "no presence")
        s.wait_parked(2)
        alice.send("</stream:stream>")
        expect(alice.ending() == "", "end")
        gone = bob.read()
        expect(gone.get("from") == alice.jid and gone.get("type") == "unavailable", gone.attrib)
        with s.signed_in("alice", "cut") as alice:
            previd = alice.enable()
            alice.send(f"<presence to='{bob.jid}'/>")
            expect(bob.read().get("type") is None, "no presence")
            s.wait_parked(2)
            alice.reset()
            s.edge.wait(lambda: s.n_streams() == 1 == s.n_streams(s.core), 5, "the end of the cut one")
        try:
            expect(False, bob.read(1).attrib)
        except Silence:
            pass
        s.resume("alice", previd)
    s.clear()


@play.check
def resumption(s):
    """XEP-0198: what is sent to a client that was cut while it was parked is there when it resumes"""
    with s.signed_in("bob", "writes") as bob, s.signed_in("alice", "cut") as alice:
        previd = alice.enable()
        s.wait_parked(2)
        alice.reset()
        s.edge.wait(lambda: s.n_streams() == 1, 5, "the end of the cut one")
        bob.send(f"<message to='{alice.jid}' type='chat'><body>while away</body></message>")
        with s.raw("example.com", direct=True) as raw:
            raw.secure()
            raw.plain("alice", "alice-secret")
            raw.open()
            raw.send(f"<resume xmlns='urn:xmpp:sm:3' h='0' previd='{previd}'/>")
            expect(name(raw.read()) == "resumed", "not resumed")
            hears(raw, "while away")
            # and on
            time.sleep(PARK_S + 0.3)
            s.wait_parked(2)
            bob.send(f"<message to='{alice.jid}' type='chat'><body>again</body></message>")
            hears(raw, "again")
    s.clear()


@play.check
def by_the_administrator(s):
    """disconnect of a parked stream ends it, on E or on C, and the session at the server with it"""
    for box in (s.edge, s.core):
        with s.signed_in("bob", "sees") as bob, s.signed_in("alice", "goes") as alice:
            alice.enable()
            alice.send(f"<presence to='{bob.jid}'/>")
            bob.read()
            s.wait_parked(2)
            row = next(row for row in box.ctl("xmpp")["streams"] if row["user"] == "alice@example.com")
            box.ctl("disconnect", row["id"])
            expect(alice.ending() == ("policy-violation" if box is s.edge else "reset"), box.name)
            expect(bob.read().get("type") == "unavailable", "the session lives on after a disconnect on", box.name)
    s.clear()


@play.check
def domain_off(s):
    """a domain that is turned off ends its parked streams with host-gone and nobody else's"""
    with s.signed_in("alice") as stays, s.signed_in("bob", to="spy.example") as goes:
        s.wait_parked(2)
        s.setting(s.core, "domain spy.example", im="no")
        try:
            expect(goes.ending() == "host-gone", "condition")
            stays.ping(ident="stays")
        finally:
            s.setting(s.core, "domain spy.example", im="yes")
    s.clear()


@play.check
def lost_server(s):
    """the server is killed: its parked clients are cut at once, without </stream:stream>"""
    streams = [s.signed_in(f"user{i}", "lost") for i in range(N_USERS)]
    s.wait_parked(N_USERS)
    s.servers["imp1"].kill()
    start = time.monotonic()
    for raw in streams:
        expect(raw.ending(3) is None, "an end or an error, which ends the session")
    expect(time.monotonic() - start < 4, f"{time.monotonic() - start:.1f} s")
    s.servers["imp1"].start()
    s.core.wait(lambda: not any("im-server-down" in str(a) for a in s.core.alarms()), 35, "end of the alarm")
    s.clear()


@play.check
def lost_core(s):
    """C is killed: parked clients are cut at once, and resume when it is back"""
    streams = [s.signed_in(f"user{i}", "lost") for i in range(N_USERS)]
    ids = [raw.enable() for raw in streams]
    s.wait_parked(N_USERS)
    s.core.kill()
    start = time.monotonic()
    for raw in streams:
        expect(raw.ending(3) is None, "an end or an error, which ends the session")
    expect(time.monotonic() - start < 4, f"{time.monotonic() - start:.1f} s")
    expect(s.n_parked() == 0, s.n_parked())
    s.core.start()
    s.pair.wait_tunnel()
    s.wait_chat()
    for i, previd in enumerate(ids[:10]):
        s.resume(f"user{i}", previd)
    s.clear()


@play.check
def lost_path(s):
    """the firewall cuts C off: parked clients are cut when E knows, the sessions on C too, and stay for resumption"""
    with s.signed_in("alice", "link") as raw:
        previd = raw.enable()
        s.wait_parked(1)
        s.lab.firewall.cut("drop")
        try:
            expect(raw.ending(30) is None, "an end or an error")
            s.core.wait(lambda: not s.n_streams(s.core), 30, "the end on C")
        finally:
            s.lab.firewall.restore()
    s.pair.wait_tunnel(30)
    s.wait_chat(30)
    s.resume("alice", previd)
    s.clear()


def breaks_the_carrier(s):
    """Of the two connections of the tunnel the one that carries what C and E say to each other; restore() heals."""
    carrier = max(s.core.tunnels(), key=lambda row: row["age_s"])
    s.lab.firewall.cut_port(int(carrier["local"].rpartition(":")[2]))


def heals(s):
    s.lab.firewall.restore()
    s.core.wait(lambda: len(s.core.tunnels()) == 2, 10, "two connections again")


@play.check
def lost_call(s):
    """the connection breaks on which E tells C that parked clients are gone: it is told on the other one, no session stays"""
    streams = [s.signed_in(f"user{i}", "call") for i in range(N_USERS)]
    s.wait_parked(N_USERS)
    breaks_the_carrier(s)
    try:
        for raw in streams:
            raw.reset()
        s.edge.wait(lambda: s.n_streams() == 0, 5, "the end on E")
        s.core.wait(lambda: s.n_streams(s.core) == 0, 20, "the end on C")
    finally:
        heals(s)
    s.clear()


@play.check
def lost_question(s):
    """the connection breaks on which C asks for parked clients: it asks on the other one, nobody is cut and nothing is lost"""
    streams = [s.signed_in(f"user{i}", "asked") for i in range(N_USERS)]
    with s.signed_in("alice", "speaks") as alice:
        s.wait_parked(N_USERS + 1)
        breaks_the_carrier(s)
        try:
            for raw in streams:
                alice.send(f"<message to='{raw.jid}' type='chat'><body>anybody there</body></message>")
            for raw in streams:
                hears(raw, "anybody there", 20)
        finally:
            heals(s)
    for raw in streams:
        raw.close()
    s.clear()


@play.check
def all_at_once(s):
    """400 parked clients get a stanza at once, then speak at once: all of it arrives, and all park again"""
    streams = [s.signed_in(f"user{i % N_USERS}", f"r{i}", "spy.example") for i in range(N_AT_ONCE)]
    s.wait_parked(N_AT_ONCE, 20)
    for inner in s.double.connections:
        if not inner.closed:
            inner.send("<message from='spy.example'><body>all</body></message>")
    for raw in streams:
        hears(raw, "all", 20)
    s.wait_parked(N_AT_ONCE, 20)
    for raw in streams:
        raw.send("<iq type='get' id='all'><ping xmlns='urn:xmpp:ping'/></iq>")
    for raw in streams:
        expect(raw.read(20).get("id") == "all", "no answer")
    s.wait_parked(N_AT_ONCE, 20)
    for raw in streams:
        raw.close()
    s.no_streams(20)
    s.firewall_is_clean()


@play.check
def turned_off(s):
    """park-after = 0 holds at once: nobody parks any more; parked ones go on when they speak; on again they park"""
    with s.signed_in("alice") as parked, s.signed_in("bob") as other:
        s.wait_parked(2)
        s.setting(park_after="0")
        other.ping()
        time.sleep(PARK_S + 1)
        expect(s.n_parked() == 1, s.n_parked())
        parked.ping()
        s.setting(park_after=f"{PARK_S}s")
        s.wait_parked(2)
    s.clear()


@play.check
def drain(s):
    """the daemons end with parked streams, and with 0"""
    with s.signed_in("alice") as raw:
        s.wait_parked(1)
        expect(s.edge.stop() == 0, "E")
        expect(raw.ending(40) in ("system-shutdown", None, ""), "end")
    expect(s.core.stop() == 0, "C")
    s.firewall_is_clean()


if __name__ == "__main__":
    sys.exit(play.run(Stage))

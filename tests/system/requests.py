#!/usr/bin/env python3
"""Requests outside calls, INFO, and a PBX that is served with rewritten contacts."""

import pathlib
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from lab.cast import Cast
from lab.play import Play, expect
from lab.rawsip import RawSip

play = Play()


def answer_next(peer, method, status, headers=()):
    """Answers the next such request in the background; the request ends up in the returned list."""
    seen = []

    def serve():
        while not seen:
            message = peer.receive(10)
            if message.status is None and message.method == method:
                peer.reply(message, status, "Fine", headers)
                seen.append(message)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return seen, thread


@play.check
def messages_both_ways(c):
    """MESSAGE outside calls: from inside to a phone outside and back, body whole, no inner address outside"""
    lab = c.lab
    with RawSip(lab.inet, (lab.dmz.v4, 5060), "dave", "dave-secret") as dave, \
            RawSip(lab.desk, (lab.pbx.v4, 5060), "bob", "bob-secret") as bob:
        expect(dave.register().status == 200, "dave is not registered")
        expect(bob.register().status == 200, "bob is not registered")
        for sender, receiver, uri in ((bob, dave, "sip:dave@example.com"),
                                      (dave, bob, "sip:bob@example.com")):
            seen, thread = answer_next(receiver, "MESSAGE", 200)
            answer = sender.request("MESSAGE", uri, ["Content-Type: text/plain;charset=utf-8",
                                                     "X-Kept: yes"], "grüezi")
            thread.join(10)
            expect(answer.status == 200, sender.user, answer.first)
            got = seen[0]
            expect(got.body == "grüezi" and got.get("X-Kept") == "yes", got.body, got.headers)
            expect(got.get("Content-Type") == "text/plain;charset=utf-8", got.headers)
            if receiver is dave:
                text = str(got.headers)
                expect("10.20." not in text and len(got.all("Via")) == 1, text)
        dave.register(expires=0)
        bob.register(expires=0)


@play.check
def options_both_ways(c):
    """OPTIONS reaches a phone outside and one inside; OPTIONS to the edge itself is answered by it"""
    lab = c.lab
    with RawSip(lab.inet, (lab.dmz.v4, 5060), "dave", "dave-secret") as dave, \
            RawSip(lab.desk, (lab.pbx.v4, 5060), "bob", "bob-secret") as bob:
        expect(dave.register().status == 200 and bob.register().status == 200, "not registered")
        for sender, receiver, uri in ((bob, dave, "sip:dave@example.com"),
                                      (dave, bob, "sip:bob@example.com")):
            seen, thread = answer_next(receiver, "OPTIONS", 200, ["Accept: application/sdp"])
            answer = sender.request("OPTIONS", uri)
            thread.join(10)
            expect(answer.status == 200 and answer.get("Accept") == "application/sdp", answer.first)
        answer = dave.request("OPTIONS", "sip:edge1.example.com")
        expect(answer.status == 200 and "INVITE" in (answer.get("Allow") or ""), answer.first)
        dave.register(expires=0)
        bob.register(expires=0)


@play.check
def dead_flow(c):
    """a call to a phone whose connection is gone is answered 430 by E, and the PBX's caller hears a failure"""
    alice, bob = c.outside("alice", regint=600), c.inside("bob")
    c.phones.pop("alice").kill()
    c.edge.wait(lambda: not c.edge.ctl("registrations")["registrations"] or all(
        r["aor"] != "alice@example.com" for r in c.edge.ctl("registrations")["registrations"]),
        10, "alice gone at E")
    bob.dial(alice.uri)
    expect(bob.wait_closed()["param"][:1] in "456", "no failure")
    expect(c.edge.traces("sip.route.flow-dead"), "no trace of the dead flow")


SDP = """v=0\r
o=- 1 1 IN IP4 198.51.100.10\r
s=-\r
c=IN IP4 198.51.100.10\r
t=0 0\r
m=audio 20000 RTP/SAVP 0\r
a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkw\r
"""


@play.check
def info_passes(c):
    """INFO inside a call reaches the phone inside, and its answer comes back; so does BYE"""
    lab = c.lab
    bob = c.inside("bob", answer="auto", name="bob-auto")
    with RawSip(lab.inet, (lab.dmz.v4, 5060), "dave", "dave-secret") as dave:
        expect(dave.register().status == 200, "not registered")
        ok = dave.request("INVITE", bob.uri, [f"Contact: <sip:dave@{dave.here}>",
                                              "Content-Type: application/sdp"], SDP)
        expect(ok.status == 200 and "a=crypto:1" in ok.body, ok.first, ok.body)
        target = ok.get("Contact").strip("<>")

        def send(method, number, extra=(), body=""):
            dave._send([f"{method} {target} SIP/2.0",
                        f"Via: SIP/2.0/UDP {dave.here};rport;branch=z9hG4bK{method}{number}",
                        "Max-Forwards: 70", f"From: <sip:dave@example.com>;tag={dave.tag}",
                        f"To: {ok.get('To')}", f"Call-ID: {dave.call_id}",
                        f"CSeq: {number} {method}", *extra], body, dave.server)

        first = int(ok.get("CSeq").split()[0])
        send("ACK", first)
        for step, (method, extra, body) in enumerate((
                ("INFO", ["Content-Type: application/dtmf-relay"], "Signal=5\r\nDuration=160\r\n"),
                ("BYE", [], "")), 1):
            send(method, first + step, extra, body)
            while True:
                answer = dave.receive()
                if answer.status and answer.get("CSeq") == f"{first + step} {method}":
                    break
            expect(answer.status == 200, method, answer.first)
        log = (lab.work / bob.log).read_text(errors="replace")
        expect("INFO sip:" in log and "Signal=5" in log, "bob saw no INFO")
        dave.register(expires=0)
    bob.wait_closed()
    c.leave(bob)
    c.quiet()


@play.check
def rewritten_contacts(c):
    """a PBX without Path: it sees contacts at C, and calls reach the phone both ways"""
    c.core.edit("media-encryption = unencrypted", "media-encryption = unencrypted\ncontact = rewrite")
    c.core.wait_zone("pbx", "Active")
    dave = c.outside("dave")
    contact = str(c.pbx.contacts("dave")[-1])
    expect("10.20.0.10" in contact and "198.51.100" not in contact, contact)
    bob = c.inside("bob")
    c.call(bob, dave)
    c.heard(bob, dave)
    c.hang_up(bob, dave)
    c.call(dave, bob)
    c.heard(bob, dave)
    c.hang_up(dave, bob)
    c.leave(dave)
    c.pbx.wait_contacts("dave", 0)
    c.core.wait(lambda: all(r["aor"] != "dave@example.com"
                            for r in c.core.ctl("registrations")["registrations"]), 10, "dave gone")


@play.check
def settings_change_live(c):
    """the control socket moves and the box gets another name by SIGHUP, without a restart"""
    old, pid = c.core.socket, c.core.process.pid
    c.core.socket = c.lab.work / "moved.sock"
    c.core.edit(str(old), str(c.core.socket), reload=False)
    c.core.edit("name = core1.example.com", "name = core-renamed.example.com")
    c.core.wait(lambda: c.core.socket.exists() and c.core.status_or_none(), 10, "the new socket")
    c.core.wait(lambda: not old.exists(), 10, "the end of the old socket")
    expect(c.core.ctl("status")["name"] == "core-renamed.example.com", c.core.ctl("status"))
    expect(c.core.process.pid == pid and c.core.process.poll() is None, "it was restarted")
    c.pair.wait_link()


if __name__ == "__main__":
    sys.exit(play.run(Cast))

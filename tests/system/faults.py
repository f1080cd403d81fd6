#!/usr/bin/env python3
"""What may go wrong around a call: reload, certificate swap, a cut link, strangers on the link."""

import pathlib
import ssl
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from lab.cast import Cast
from lab.play import Play, expect
from lab.rtpspy import RtpSpy

play = Play()


def stage(lab):
    cast = Cast(lab)
    cast.alice = cast.outside("alice")
    cast.bob = cast.inside("bob")
    return cast


def no_packet_lost(spy):
    streams = [s for s in spy.streams() if s.packets > 50]
    expect(len(streams) >= 2, spy.streams())
    expect(not any(s.lost for s in streams), [s for s in streams if s.lost])


@play.check
def reloads_during_a_call(c):
    """SIGHUP and a certificate swap on both boxes during a call lose no packet; new handshakes get the new certificate"""
    pem = c.pki.cert("edge-public")
    with RtpSpy(c.lab.inet) as outer, RtpSpy(c.lab.desk) as inner:
        c.call(c.alice, c.bob)
        c.heard(c.alice, c.bob)
        before = presented(c)
        c.pki.issue("edge-public", "public-ca", ("edge1.example.com",))
        c.pki.issue("edge-pair", "pair-ca", ("edge1.example.com",))
        c.pki.issue("core-pair", "pair-ca", ("core1.example.com",))
        c.edge.edit("tls-port = 5061", "tls-port = 5061\nmax-calls = 1500")
        c.core.edit("tls-port = 0", "tls-port = 0\nmax-calls = 1500")
        c.until(lambda: presented(c) != before, what="the new certificate")
        seen = c.bob.stats()["received"]
        c.until(lambda: c.bob.stats()["received"] > seen + 100, what="sound after the reload")
        expect(pem.read_text() and presented(c) == ssl.PEM_cert_to_DER_cert(pem.read_text()))
        no_packet_lost(outer)
        no_packet_lost(inner)
    c.pair.wait_link()
    c.hang_up(c.alice, c.bob)


def presented(c):
    """The certificate that E shows on 5061."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with c.lab.inet.connect((c.lab.dmz.v4, 5061)) as tcp:
        with context.wrap_socket(tcp, server_hostname="edge1.example.com") as tls:
            return tls.getpeercert(binary_form=True)


@play.check
def bad_file_changes_nothing(c):
    """a bad configuration is refused by SIGHUP with every error named, and by --check-config with exit 78"""
    good = c.edge.ini.read_text()
    c.edge.edit("tls-port = 5061", "tls-prot = 5061\nmax-calls = many")
    c.edge.wait(lambda: any(a["id"] == "config-rejected" for a in c.edge.ctl("alarms")["alarms"]),
                what="alarm config-rejected")
    from lab.pair import build
    done = c.lab.dmz.run([build() / "turnpiked", "-c", c.edge.ini, "--check-config"], check=False)
    expect(done.returncode == 78, done.returncode)
    text = done.stdout + done.stderr
    expect("tls-prot" in text and "tls-port" in text and "many" in text, text)
    c.edge.ini.write_text(good)
    c.edge.hup()
    c.edge.wait(lambda: not any(a["id"] == "config-rejected" for a in c.edge.ctl("alarms")["alarms"]),
                what="alarm cleared")


@play.check
def short_cut(c):
    """a cut of 5 s: the call goes on with sound both ways, and a new call works after it"""
    c.call(c.alice, c.bob)
    c.heard(c.alice, c.bob)
    c.lab.firewall.cut()
    time.sleep(5)  # the length of the cut is what this test is about
    c.lab.firewall.restore()
    seen = [p.stats()["received"] for p in (c.alice, c.bob)]
    c.until(lambda: all(p.stats()["received"] > n + 50 for p, n in zip((c.alice, c.bob), seen)),
            15, "sound after the cut")
    c.hang_up(c.alice, c.bob)
    c.pair.wait_link(40)
    c.call(c.alice, c.bob)
    c.heard(c.alice, c.bob)
    c.hang_up(c.bob, c.alice)


@play.check
def long_cut(c):
    """a cut of 60 s: both boxes say that the link is down and why, and calls work after it"""
    c.lab.firewall.cut()
    start = time.monotonic()
    c.core.wait_zone("to-edge", "Failed", 45)
    expect(c.core.zone("to-edge")["reason"], "no reason on C")
    expect(any(a["id"] == "link-down" for a in c.core.ctl("alarms")["alarms"]), "no alarm")
    c.bob.dial("sip:alice@example.com")
    expect(c.bob.wait_closed(45)["param"][:1] in "45", "the call was not refused")
    time.sleep(max(0.0, 60 - (time.monotonic() - start)))  # the length of the cut
    c.lab.firewall.restore()
    c.pair.wait_link(60)
    c.until(lambda: c.edge.ctl("registrations")["registrations"], 90, "alice back at E")
    c.until(lambda: c.pbx.contacts("alice"), 90, "alice back at the PBX")
    c.call(c.alice, c.bob)
    c.heard(c.alice, c.bob)
    c.hang_up(c.alice, c.bob)
    c.call(c.bob, c.alice)
    c.heard(c.alice, c.bob)
    c.hang_up(c.bob, c.alice)


@play.check
def core_restarts(c):
    """C is killed and comes back: link, registrations and calls work without a hand"""
    c.core.kill()
    c.edge.wait(lambda: not c.edge.zone("to-core")["state"].startswith("Active"), 10, "link lost")
    c.core.start()
    c.pair.wait_link()
    c.until(lambda: c.core.ctl("registrations")["registrations"], 90, "alice back")
    c.call(c.alice, c.bob)
    c.heard(c.alice, c.bob)
    c.hang_up(c.alice, c.bob)


@play.check
def garbage_is_closed_and_listed(c):
    """garbage, silence and half-open connections are closed by limit and listed with the reason"""
    garbage = c.lab.inet.connect((c.lab.dmz.v4, 5060))
    garbage.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    silent = c.lab.inet.connect((c.lab.dmz.v4, 5061))
    slow = c.lab.inet.connect((c.lab.dmz.v4, 5060))
    slow.sendall(b"OPTIONS sip:edge1.example.com SIP/2.0\r\nVia: ")
    for sock in (garbage, silent, slow):
        sock.settimeout(20)
        try:
            while sock.recv(4096):
                pass
        except ConnectionResetError:
            pass
        sock.close()
    ended = [e["reason"] for e in c.edge.ctl("connections", "--ended")["connections"]]
    for word in ("garbage", "handshake", "message"):
        expect(any(word in reason for reason in ended), word, "not in", ended)


def raw(c, text, port=5060):
    """One request over TCP from outside; the answer's status."""
    with c.lab.inet.connect((c.lab.dmz.v4, port)) as sock:
        sock.sendall(text.encode())
        sock.settimeout(10)
        return int(sock.recv(4096).split()[1])


def request(method, uri, extra="", user="mallory"):
    return (f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/TCP 198.51.100.10:9;branch=z9hG4bK{time.monotonic_ns()}\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:{user}@example.com>;tag=1\r\nTo: <{uri}>\r\n"
            f"Call-ID: {time.monotonic_ns()}\r\nCSeq: 1 {method}\r\n"
            f"Contact: <sip:{user}@198.51.100.10:9>\r\n{extra}Content-Length: 0\r\n\r\n")


@play.check
def strangers_are_refused(c):
    """forged tokens, foreign routes, unknown domains, calls without registration: 403, with a reason in the trace"""
    token = next(p for p in c.core.ctl("registrations")["registrations"])["path"]
    forged = token.replace("sip:tp", "sip:tpAAAA", 1)
    for text, code in (
            (request("REGISTER", "sip:other.example"), "sip.register.unknown-domain"),
            (request("INVITE", "sip:bob@example.com"), "sip.outside.not-registered"),
            (request("MESSAGE", "sip:bob@example.com"), "sip.outside.not-registered"),
            (request("INVITE", "sip:x@10.20.0.20", "Route: <sip:10.20.0.20;lr>\r\n"),
             "sip.route.foreign"),
            (request("INVITE", "sip:alice@example.com", f"Route: {forged}\r\n"),
             "sip.route.forged-token"),
            (request("INVITE", "sip:alice@example.com", f"Route: {token}\r\n"),
             "sip.route.token-misused")):
        expect(raw(c, text) == 403, text)
        expect(c.edge.traces(code), "no trace", code)
    bad = request("OPTIONS", "sip:edge1.example.com").replace("CSeq: 1 OPTIONS", "CSeq: x OPTIONS")
    expect(raw(c, bad) == 400, "malformed CSeq")
    c.firewall_is_clean()


@play.check
def phones_stay(c):
    """after all this the boxes still carry a call, and the firewall counted nothing from E to C"""
    c.call(c.alice, c.bob)
    c.heard(c.alice, c.bob)
    c.hang_up(c.alice, c.bob)
    c.firewall_is_clean()


if __name__ == "__main__":
    sys.exit(play.run(stage))

#!/usr/bin/env python3
"""Proves the lab alone, without turnpike: one line a check, last line `N passed, N failed`."""

import math
import os
import pathlib
import signal
import socket
import ssl
import struct
import subprocess
import sys
import time
import wave as wave_file

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

# pylint: disable=wrong-import-position
from lab.chat import GoSendxmpp, Profanity, chat_both_ways
from lab.dns import Dns
from lab.edge_double import EdgeDouble
from lab.fake_uc import FakeUc
from lab.kamailio import Kamailio
from lab.mra_client import srv
from lab.origin import FRONT, Origins, field
from lab.outgoing import Outgoing
from lab.phone import Phone
from lab.pki import Pki
from lab.rawsip import RawSip
from lab.rtpspy import RtpSpy
from lab.tone import heard, wait_heard
from lab.topology import Lab
from lab.webclient import WebClient, basic, through, token
from lab.websocket import PING, TEXT
from lab.xmppcast import XmppCast

ALICE_HZ, BOB_HZ, CAROL_HZ = 440, 660, 880
CHECKS = []


def check(function):
    """Register a check; its docstring is its line."""
    CHECKS.append(function)
    return function


class Stage:
    """What the checks share."""

    def __init__(self, lab):
        self.lab = lab
        self.kamailio = Kamailio(lab.pbx)
        self.dns = Dns(lab)
        self.pki = self.uc = self.origins = None
        self.alice = self.phone("alice", lab.desk, ALICE_HZ)
        self.bob = self.phone("bob", lab.lan, BOB_HZ, transport="tcp")

    def phone(self, user, netns, hz, name=None, host=None, **more):
        return Phone(netns, user, f"{user}-secret", (host or self.lab.pbx.v4, 5060), hz=hz,
                     name=name, **more)

    def call(self, caller, callee):
        caller.dial(callee.uri)
        callee.wait_incoming()
        callee.accept()
        caller.wait_established()
        callee.wait_established()

    def end(self, caller, callee):
        caller.hangup()
        caller.wait_closed()
        callee.wait_closed()


def listen(netns, address, kind=socket.SOCK_STREAM):
    sock = netns.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, kind)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(address)
    sock.settimeout(2)
    if kind == socket.SOCK_STREAM:
        sock.listen()
    return sock


def expect(condition, *details):
    if not condition:
        raise AssertionError(" ".join(str(detail) for detail in details) or "not so")


def reaches(source, target, port, version=4):
    """Whether a TCP connection comes about."""
    host = target.v4 if version == 4 else target.v6
    with listen(target, (host, port)):
        try:
            source.connect((host, port), timeout=0.5).close()
            return True
        except OSError:
            return False


# -- network

@check
def test_inet_to_dmz(stage):
    """internet reaches the DMZ over IPv4 and IPv6, from in front of and from behind the NAT"""
    lab = stage.lab
    for source in (lab.inet, lab.home):
        for version in (4, 6):
            expect(reaches(source, lab.dmz, 5061, version), source.name, version)


@check
def test_lan_is_closed(stage):
    """the firewall drops and counts new connections DMZ -> LAN and internet -> LAN"""
    lab, firewall = stage.lab, stage.lab.firewall
    for version in (4, 6):
        before = firewall.counters()
        expect(not reaches(lab.dmz, lab.lan, 7001, version), "DMZ got in, IPv", version)
        expect(not reaches(lab.inet, lab.lan, 5061, version), "internet got in, IPv", version)
        after = firewall.counters()
        expect(after["dmz_to_lan_dropped"] > before["dmz_to_lan_dropped"], after)
        expect(after["inet_to_lan_dropped"] > before["inet_to_lan_dropped"], after)
    refused = [(row["from"], row["to"], row["port"]) for row in firewall.refused()]
    expect(("dmz", "lan", 7001) in refused, refused)


@check
def test_lan_to_dmz(stage):
    """the firewall lets C out to E on its ports only, and accounts for both directions"""
    lab, firewall = stage.lab, stage.lab.firewall
    expect(reaches(lab.lan, lab.dmz, 7001), "7001 is closed")
    expect(not reaches(lab.lan, lab.dmz, 7999), "7999 is open")
    with listen(lab.dmz, (lab.dmz.v4, 36000), socket.SOCK_DGRAM) as edge, \
            lab.lan.bound_udp(lab.lan.v4) as core:
        for _ in range(3):
            core.sendto(b"check", (lab.dmz.v4, 36000))
            _, source = edge.recvfrom(100)
        edge.sendto(b"answer", source)
        core.recvfrom(100)
    row = firewall.flow("udp", 36000)
    expect(row and (row["packets"], row["back_packets"]) == (3, 1), row)
    expect("36000" in firewall.table(), firewall.table())
    firewall.allow("tcp", 7999)
    expect(reaches(lab.lan, lab.dmz, 7999), "7999 is still closed")


@check
def test_cut(stage):
    """cutting C off silences an open connection, restoring lets it go on; reset resets"""
    lab, firewall = stage.lab, stage.lab.firewall
    with listen(lab.dmz, (lab.dmz.v4, 7001)) as edge, \
            lab.lan.connect((lab.dmz.v4, 7001)) as core:
        peer, _ = edge.accept()
        with peer:
            firewall.cut()
            core.send(b"late")
            peer.settimeout(0.3)
            try:
                expect(not peer.recv(10), "came through")
            except TimeoutError:
                pass
            firewall.restore()
            peer.settimeout(5)
            expect(peer.recv(10) == b"late")
            firewall.cut("reset")
            core.settimeout(5)
            core.send(b"more")
            try:
                expect(not core.recv(10), "no reset")
            except ConnectionResetError:
                pass
            firewall.restore()


@check
def test_nat(stage):
    """the NAT gives every destination a port of its own and lets only answers in"""
    lab = stage.lab
    with listen(lab.dmz, (lab.dmz.v4, 3478), socket.SOCK_DGRAM) as first, \
            listen(lab.inet, (lab.inet.v4, 3478), socket.SOCK_DGRAM) as second, \
            lab.home.bound_udp(lab.home.v4, 5060) as phone:
        seen = []
        for server in (first, second):
            phone.sendto(b"hello", server.getsockname())
            seen.append(server.recvfrom(100)[1])
        expect({host for host, _ in seen} == {lab.nat.v4}, seen)
        ports = {port for _, port in seen}
        expect(len(ports) == 2 and 5060 not in ports, seen)
        first.sendto(b"answer", seen[0])
        expect(phone.recvfrom(100)[0] == b"answer")
        second.sendto(b"stranger", seen[0])
        phone.settimeout(0.3)
        try:
            expect(False, phone.recvfrom(100))
        except TimeoutError:
            pass


@check
def test_names(stage):
    """each namespace knows the names it should, by /etc/hosts and by DNS"""
    lab = stage.lab

    def knows(netns, name):
        found = netns.run(["getent", "ahostsv4", name], check=False).stdout.split()
        return found[0] if found else None

    stage.dns.start()
    expect(knows(lab.home, "edge1.example.com") == lab.dmz.v4)
    expect(knows(lab.lan, "pbx.example.com") == lab.pbx.v4)
    expect(knows(lab.dmz, "core1.example.com") == lab.lan.v4)
    expect(knows(lab.dmz, "pbx.example.com") is None, "the DMZ knows the PBX")
    # this one is in no hosts file
    expect(knows(lab.home, "ns.example.com") == lab.inet.v4)
    expect(knows(lab.lan, "ns.example.com") == lab.pbx.v4)


@check
def test_pki(stage):
    """good certificates verify, bad ones fail each for its own reason, keys are 0600"""
    pki = stage.pki = Pki(stage.lab.work / "pki")
    wanted = {"edge-public": "OK", "edge-public-wrong-name": "hostname mismatch",
              "edge-public-expired": "expired", "edge-public-foreign": "local issuer"}
    for name, words in wanted.items():
        done = subprocess.run(["openssl", "verify", "-x509_strict", "-purpose", "sslserver",
                               "-verify_hostname", "edge1.example.com", "-CAfile",
                               pki.cert("public-ca"), pki.cert(name)],
                              capture_output=True, text=True, check=False)
        expect(words in done.stdout + done.stderr, name, done.stdout, done.stderr)
    for name in ("edge-pair", "core-pair"):
        subprocess.run(["openssl", "verify", "-purpose", "sslclient", "-CAfile",
                        pki.cert("pair-ca"), pki.cert(name)], capture_output=True, check=True)
    for key in pki.folder.glob("*.key"):
        expect(key.stat().st_mode & 0o777 == 0o600, key)


# -- instruments

@check
def test_tone(stage):
    """a lost packet, silence and a foreign tone in a recording are noticed"""
    def wave(hz, first, last):
        return [int(11000 * math.sin(2 * math.pi * hz * at / 8000)) for at in range(first, last)]

    def found(samples, hz=ALICE_HZ):
        path = stage.lab.work / "tone.wav"
        with wave_file.open(str(path), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes(struct.pack(f"<{len(samples)}h", *samples))
        return heard(path, hz)

    whole = found(wave(ALICE_HZ, 0, 16000))
    expect(whole and (whole.tone_ms, whole.jumps, whole.longest_gap_ms) == (2000, 0, 0), whole)
    lossy = found(wave(ALICE_HZ, 0, 8000) + wave(ALICE_HZ, 8160, 16000))
    expect(lossy and lossy.jumps == 1, lossy)
    silent = found(wave(ALICE_HZ, 0, 8000) + [0] * 1600 + wave(ALICE_HZ, 9600, 16000))
    expect(silent and silent.longest_gap_ms == 200, silent)
    expect(not found(wave(BOB_HZ, 0, 16000)))
    expect(not found(wave(ALICE_HZ, 0, 4000)), "half a second is not one")
    mixed = [a // 2 + b // 2 for a, b in zip(wave(ALICE_HZ, 0, 16000), wave(BOB_HZ, 0, 16000))]
    expect(not found(mixed), "two tones")


@check
def test_rtpspy(stage):
    """lost, late and doubled RTP is counted, also where the sequence number rolls over"""
    desk = stage.lab.desk
    with RtpSpy(desk, "lo") as spy, desk.bound_udp("127.0.0.1", 20000) as sender, \
            desk.bound_udp("127.0.0.1", 20002):
        for seq in (65533, 65534, 65535, 0, 3, 2, 4):
            sender.sendto(struct.pack("!BBHII", 0x80, 0, seq, 0, 7) + bytes(160),
                          ("127.0.0.1", 20002))
        # each packet leaves and enters the loopback, so each is seen twice
        stream = spy.wait_packets(14)
    numbers = (stream.lost, stream.reordered, stream.doubled, stream.last_seq - stream.first_seq)
    expect(numbers == (1, 1, 7, 7), stream, stream.missing)


# -- PBX

@check
def test_register(stage):
    """two phones register at Kamailio with digest, over UDP and TCP"""
    stage.kamailio.start()
    for phone in (stage.alice, stage.bob):
        phone.start().wait_registered()
        rows = stage.kamailio.contacts(phone.user)
        expect(len(rows) == 1 and rows[0]["path"] is None, rows)


@check
def test_wrong_password(stage):
    """a wrong password does not register"""
    with RawSip(stage.lab.desk, (stage.lab.pbx.v4, 5060), "carol", "guessed") as thief:
        expect(thief.register().status == 401)
    expect(stage.kamailio.contacts("carol") == [])


@check
def test_path(stage):
    """Kamailio keeps Path, puts it into Route, and sends there instead of to the Contact"""
    pbx = (stage.lab.pbx.v4, 5060)
    with RawSip(stage.lab.lan, pbx, "dave", "dave-secret") as core:
        path = f"<sip:token@{core.here};lr;ob>"
        answer = core.register([f"Path: {path}", "Supported: path"], contact="sip:dave@9.9.9.9")
        expect(answer.status == 200 and answer.get("Path") == path, answer.first, answer.headers)
        rows = stage.kamailio.contacts("dave")
        expect([row["path"] for row in rows] == [path], rows)
        with RawSip(stage.lab.desk, pbx, "carol", "carol-secret") as carol:
            try:
                carol.request("MESSAGE", "sip:dave@example.com", deadline_s=0.5)
            except TimeoutError:
                pass
            came = core.receive()
            expect(came.method == "MESSAGE" and came.get("Route") == path, came.first, came.headers)
            core.reply(came, 200, "OK")
        core.register([f"Path: {path}"], contact="sip:dave@9.9.9.9", expires=0)
    expect(stage.kamailio.contacts("dave") == [])


@check
def test_no_such_user(stage):
    """a call to nobody gets 404, to somebody who is not registered 480"""
    for user, reason in (("nobody", "404"), ("carol", "480")):
        stage.alice.dial(f"sip:{user}@example.com")
        closed = stage.alice.wait_closed()
        expect(closed["param"].startswith(reason), closed)


@check
def test_guest_must_prove(stage):
    """who claims to be one of ours is asked to prove it before a call, strangers are not"""
    pbx = (stage.lab.pbx.v4, 5060)
    with RawSip(stage.lab.desk, pbx, "carol") as thief:
        expect(thief.request("INVITE", "sip:nobody@example.com").status == 407)
    with RawSip(stage.lab.desk, pbx, "x", domain="example.net") as guest:
        expect(guest.request("INVITE", "sip:nobody@example.com").status == 404)
        expect(guest.request("OPTIONS", f"sip:{stage.lab.pbx.v4}").status == 200)


# -- calls

@check
def test_call(stage):
    """a call: each side hears the tone of the other, not a packet is lost, it is plain RTP"""
    alice, bob = stage.alice, stage.bob
    with RtpSpy(stage.lab.desk) as spy:
        stage.call(alice, bob)
        expect(wait_heard(alice, BOB_HZ, 2))
        expect(wait_heard(bob, ALICE_HZ, 2))
        expect(not heard(alice.recording(), ALICE_HZ), "alice hears herself")
        numbers = alice.stats()
        stage.end(alice, bob)
    streams = spy.streams()
    expect(len(streams) == 2, streams)
    for stream in streams:
        expect(stream.packets >= 100 and not stream.lost and stream.encrypted is False, stream)
    expect(numbers["received"] >= 100 and numbers["lost"] == 0, numbers)
    for phone, hz in ((alice, BOB_HZ), (bob, ALICE_HZ)):
        found = heard(phone.recording(), hz)
        expect(found and not found.longest_gap_ms and not found.jumps, found)


@check
def test_hold(stage):
    """hold stops the tone, resume brings it back, from either side"""
    alice, bob = stage.alice, stage.bob
    stage.call(alice, bob)
    for holder in (alice, bob):
        expect(wait_heard(alice, BOB_HZ, 0.5) and wait_heard(bob, ALICE_HZ, 0.5), "before")
        n_files = len(bob.recordings())
        time.sleep(1.0)  # baresip names its recordings by the second
        holder.hold()
        wait_until(lambda n=n_files: len(bob.recordings()) > n, "no re-INVITE")
        with RtpSpy(stage.lab.desk) as spy:
            time.sleep(0.5)
            expect(sum(stream.packets for stream in spy.streams()) <= 4, spy.streams())
        holder.resume()
        expect(wait_heard(alice, BOB_HZ, 1) and wait_heard(bob, ALICE_HZ, 1), "after")
    stage.end(bob, alice)


@check
def test_cancel(stage):
    """hanging up before the answer cancels the call"""
    stage.alice.dial(stage.bob.uri)
    stage.bob.wait_incoming()
    stage.alice.hangup()
    stage.alice.wait_closed()
    stage.bob.wait_closed()
    expect(not stage.bob.in_call())


@check
def test_reject(stage):
    """a rejected call comes back as 486"""
    stage.alice.dial(stage.bob.uri)
    stage.bob.wait_incoming()
    stage.bob.reject()
    closed = stage.alice.wait_closed()
    expect(closed["param"].startswith("486"), closed)
    stage.bob.wait_closed()


@check
def test_fork(stage):
    """a call rings at all contacts of a user, the first to answer wins"""
    second = stage.phone("bob", stage.lab.desk, CAROL_HZ, name="bob2").start().wait_registered()
    stage.kamailio.wait_contacts("bob", 2)
    stage.alice.dial(stage.bob.uri)
    stage.bob.wait_incoming()
    second.wait_incoming()
    second.accept()
    stage.alice.wait_established()
    stage.bob.wait_closed()
    expect(wait_heard(stage.alice, CAROL_HZ))
    stage.end(second, stage.alice)
    second.stop()
    stage.kamailio.wait_contacts("bob", 1)


@check
def test_srtp_ipv6(stage):
    """a call over IPv6 and TCP with SRTP, answered by itself: encrypted, and tones on both sides"""
    lab = stage.lab
    more = {"mediaenc": "srtp-mand", "host": lab.pbx.v6, "ipv6": True, "transport": "tcp"}
    carol = stage.phone("carol", lab.desk, CAROL_HZ, answer="auto", **more).start()
    dave = stage.phone("dave", lab.lan, ALICE_HZ, **more).start()
    carol.wait_registered()
    dave.wait_registered()
    with RtpSpy(lab.desk) as spy:
        dave.dial(carol.uri)
        dave.wait_established()
        expect(dave.wait_for("CALL_MENC")["param"].endswith("AES_CM_128_HMAC_SHA1_80"))
        expect(wait_heard(dave, CAROL_HZ) and wait_heard(carol, ALICE_HZ))
        dave.hangup()
        carol.wait_closed()
    streams = spy.streams()
    expect(len(streams) == 2 and all(item.encrypted for item in streams), streams)
    expect({item.source[0] for item in streams} == {lab.desk.v6, lab.lan.v6}, streams)
    carol.stop()
    dave.stop()


@check
def test_tls(stage):
    """a phone registers over TLS with RFC 5626 and calls"""
    stage.kamailio.tls = (stage.pki.cert("core-pair"), stage.pki.key("core-pair"))
    stage.kamailio.outbound = 1
    stage.kamailio.restart()
    carol = Phone(stage.lab.desk, "carol", "carol-secret", (stage.lab.pbx.v4, 5061),
                  transport="tls", ca=stage.pki.cert("pair-ca"), outbound=True, hz=CAROL_HZ)
    carol.start().wait_registered()
    rows = stage.kamailio.contacts("carol")
    expect(rows[0]["socket"].startswith("tls:") and rows[0]["reg_id"] == 1, rows)
    # Kamailio forgot everybody when it was started again
    second = stage.phone("bob", stage.lab.lan, BOB_HZ, name="bob3").start().wait_registered()
    stage.call(carol, second)
    expect(wait_heard(carol, BOB_HZ) and wait_heard(second, CAROL_HZ))
    stage.end(carol, second)
    carol.stop()
    second.stop()


@check
def test_leave(stage):
    """a phone that is stopped takes its registration with it, one that is killed does not"""
    first = stage.phone("alice", stage.lab.desk, ALICE_HZ, name="alice2").start().wait_registered()
    first.stop()
    stage.kamailio.wait_contacts("alice", 0)
    second = stage.phone("alice", stage.lab.desk, ALICE_HZ, name="alice3").start()
    second.wait_registered()
    second.kill()
    expect(len(stage.kamailio.contacts("alice")) == 1)


# -- the web inside

def web(stage):
    """Call managers and web servers, started once."""
    if not stage.uc:
        if not stage.pki:
            stage.pki = Pki(stage.lab.work / "pki")
        stage.uc = FakeUc(stage.lab, stage.pki).start()
        stage.origins = Origins(stage.lab, stage.pki).start()
    return stage


def inside(stage, host, port=443):
    """A client in the LAN that checks certificates."""
    address = dict(stage.lab.names("lan"))[host]
    return WebClient(stage.lab.lan, (address, port), stage.pki.cert("uc-ca"), host)


@check
def test_paths(_stage):
    """path tokens are spelled as in the wire facts"""
    expect(through("https://cucm.steven.lab:8443/cucm-uds/user/x/devices", "steven.lab") ==
           "/c3RldmVuLmxhYi9odHRwcy9jdWNtLnN0ZXZlbi5sYWIvODQ0Mw/cucm-uds/user/x/devices")
    expect(token("example.com", padding=True) == "ZXhhbXBsZS5jb20=")


@check
def test_uc(stage):
    """call managers know users, home clusters and passwords, in every mode; requests are counted"""
    uc = web(stage).uc
    uc.forget()
    credentials = ("Authorization", basic("alice", "alice-secret"))
    target = "/cucm-uds/user/alice/devices"
    expect(inside(stage, "cucm1.example.com", 8443).ask("GET", target).status == 401)
    answer = inside(stage, "cucm2.example.com", 8443).ask("GET", target, [credentials])
    expect(answer.status == 200 and "CSFALICE" in answer.text, answer)
    answer = inside(stage, "cucm3.example.com", 8443).ask("GET", target, [credentials])
    expect(answer.status == 401, "another cluster let alice in")
    answer = inside(stage, "cucm1.example.com", 8443).ask(
        "GET", "/cucm-uds/clusterUser?username=dave")
    expect("//cucm3.example.com:8443/" in answer.text, answer)
    expect(len(uc.authentications()) == 2 and len(uc.requests()) == 4, uc.requests())
    for mode, error in (("drop", OSError), ("stopped", ConnectionRefusedError),
                        ("wrong-certificate", ssl.SSLCertVerificationError)):
        uc.mode("cucm1", mode)
        try:
            inside(stage, "cucm1.example.com", 8443).ask("GET", "/cucm-uds/version")
            expect(False, mode, "answered")
        except error:
            pass
    uc.restore()
    expect(inside(stage, "cucm1.example.com", 8443).ask("GET", "/cucm-uds/version").status == 200)


@check
def test_axl(stage):
    """AXL lists the nodes, as they are at the moment, and the security mode"""
    uc = web(stage).uc
    ask = '<e:Envelope><e:Body><ns:{0} sequence="1"><sql>{1}</sql></ns:{0}></e:Body></e:Envelope>'

    def axl(operation, sql=""):
        answer = inside(stage, "cucm1.example.com", 8443).ask(
            "POST", "/axl/", [("Authorization", basic("axl-admin", "axl-secret"))],
            ask.format(operation, sql).encode())
        expect(answer.status == 200, answer)
        return answer.text

    expect("cucm2.example.com" in axl("listProcessNode") and "12.5" in axl("getCCMVersion"))
    uc.remove("cucm2")
    uc.mixed("main")
    expect("cucm2.example.com" not in axl("listProcessNode"))
    sql = "select paramvalue from processconfig where paramname = 'ClusterSecurityMode'"
    expect("<paramvalue>1<" in axl("executeSQLQuery", sql))
    uc.restore()


@check
def test_origins(stage):
    """nginx, haproxy, apache2 and the recorder serve; requests are noted as each understood them"""
    origins = web(stage).origins
    for on, host in (*FRONT.items(), ("origin", "origin.example.com")):
        origins.forget()
        client = inside(stage, host)
        for body in (b"abc", [b"ab", b"c"]):
            answer = client.ask("POST", "/upload?a=%2f", [("X-One", "1")], body)
            expect(answer.status == 200 and '"bytes": 3' in answer.text, on, answer)
        rows = origins.requests(on)
        expect([(r["method"], r["target"], r["body_bytes"]) for r in rows] ==
               [("POST", "/upload?a=%2f", 3)] * 2, rows)
        expect(field(rows[0], "x-one") == ["1"], rows)
        expect(client.ask("HEAD", "/static/100").body == b"", on)
        expect(client.ask("GET", "/chunked").body[:8] == b"one two ", on)
        expect(client.ask("GET", "/headers?n=50").get("x-many-49"), on)
        expect(client.ask("POST", "/early413", body=b"x").status == 413, on)
        socket_, wire = client.websocket("/ws")
        with wire:
            socket_.send("hello")
            expect(socket_.receive() == (TEXT, b"hello"), on)
            socket_.send(b"x" * 70000)
            expect(len(socket_.receive()[1]) == 70000, on)
            socket_.send(b"", PING)
    expect(b"inside" in inside(stage, "web1.example.com").ask("GET", "/pages/index.html").body)


@check
def test_expect(stage):
    """the recorder says 100 before it takes a body that was announced so"""
    client = inside(web(stage), "origin.example.com")
    answer = client.ask("POST", "/upload", body=b"abc", expect=True)
    expect(answer.status == 200 and '"bytes": 3' in answer.text, answer)


@check
def test_outgoing(stage):
    """every TCP connection that a box begins is seen, loopback included"""
    lab = web(stage).lab
    seen = Outgoing(lab.lan)
    lab.lan.connect(("10.20.0.61", 443)).close()
    try:
        lab.lan.connect(("127.0.0.1", 9))
    except ConnectionRefusedError:
        pass
    expect(set(seen.opened()) == {("10.20.0.61", 443), ("127.0.0.1", 9)}, seen.opened())
    seen.forget()
    expect(not seen.opened(), seen.opened())


@check
def test_services(stage):
    """outside DNS knows the edge only, inside DNS the call managers only"""
    lab = stage.lab
    expect(srv(lab.inet, lab.inet.v4, "_collab-edge._tls.example.com") ==
           [(10, 10, 8443, "edge1.example.com")])
    expect(srv(lab.inet, lab.inet.v4, "_cisco-uds._tcp.example.com") == [])
    expect(srv(lab.lan, lab.pbx.v4, "_cisco-uds._tcp.example.com")[0][3] == "cucm1.example.com")
    expect(srv(lab.lan, lab.pbx.v4, "_collab-edge._tls.example.com") == [])


@check
def test_double(stage):
    """the double of E shows E's key, says hello on the control channel, and cannot make a client take a stream"""
    lab = web(stage).lab
    double = EdgeDouble(lab, stage.pki).start()
    client = lab.lan.popen(
        ["ssh", "-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-i",
         stage.pki.ssh_key("core-ssh"), "-p", "2222", "-s", "turnpike-0@edge1.example.com",
         "turnpike-control"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        length = struct.unpack("!I", client.stdout.read(4))[0]
        expect(b'"hello"' in client.stdout.read(length))
        hello = b'{"type": "hello"}'
        client.stdin.write(struct.pack("!I", len(hello)) + hello)
        client.stdin.flush()
        double.wait_dialled(1)
        expect(not double.exchange("http")["opened"])
    finally:
        client.kill()
        client.wait()
        double.stop()


@check
def test_chat(_stage):
    """Prosody and ejabberd: slixmpp, profanity and go-sendxmpp sign in, chat, and resume; rooms and carbons work"""
    with Lab() as lab:
        cast = XmppCast(lab, servers=("prosody", "ejabberd"), start=False)
        for server in cast.servers.values():
            domain, place = server.domains[0], (server.address, 5222)
            alice = cast.inside(f"alice@{domain}", mechanism="PLAIN")
            bob = cast.inside(f"bob@{domain}/first", mechanism="SCRAM-SHA-1")
            second = cast.inside(f"bob@{domain}/second", carbons=True)
            chat_both_ways(alice, bob, domain)
            alice.say(bob.jid, "with a copy")
            second.wait("carbon_received", body="with a copy")
            room = f"room@conference.{domain}"
            for one in (alice, bob):
                one.do("join", room=room, nick=one.jid.partition("@")[0])
            alice.say(room, "in the room", kind="groupchat")
            bob.hears("in the room")
            expect(alice.cut_and_resume())
            uc_ca = cast.pki.cert("uc-ca")
            carol = Profanity(lab.desk, f"carol@{domain}", uc_ca, place).start()
            carol.sees("logged in successfully")
            alice.say(f"carol@{domain}", "to profanity")
            carol.hears("to profanity")
            carol.type(f"/msg bob@{domain}/first from profanity")
            bob.hears("from profanity")
            carol.stop()
            GoSendxmpp(lab.desk, f"dave@{domain}", uc_ca, place).send(bob.jid, "from go-sendxmpp")
            bob.hears("from go-sendxmpp")


def federates(way, of_prosody, of_ejabberd):
    """Two partners chat with each other, without the pair; ejabberd's log says how."""
    with Lab() as lab:
        cast = XmppCast(lab, servers=("double",), partners=("partner.org", "other.org"), start=False,
                        outside={"partner.org": of_prosody, "other.org": of_ejabberd})
        chat_both_ways(cast.partner("alice@partner.org"), cast.partner("bob@other.org"), way)
        wait_until(lambda: f"Accepted outbound s2s {way} authentication other.org -> partner.org" in
                   cast.partners["other.org"].log_text(), way)


@check
def test_federation(_stage):
    """Prosody and ejabberd federate: by certificates, by direct TLS, by dialback, and by dialback without TLS"""
    federates("EXTERNAL", {"federation": "certificate"}, {"federation": "certificate"})
    federates("EXTERNAL", {"federation": "certificate", "s2s_direct": True}, {"federation": "certificate"})
    federates("dialback", {"federation": "dialback"}, {"federation": "dialback"})
    plain = {"federation": "dialback", "s2s_tls": "off"}
    federates("dialback", plain, plain)


# -- the lab itself

@check
def test_two_nics(_stage):
    """with two interfaces E is reached from inside on the inner one only"""
    with Lab(two_nics=True) as lab:
        inner = lab.edge_address("lan")
        expect(inner == "172.30.0.10")
        with listen(lab.dmz, (inner, 7001)):
            lab.lan.connect((inner, 7001)).close()
        expect(not reaches(lab.lan, lab.dmz, 7001), "the outer address is open")
        expect(reaches(lab.inet, lab.dmz, 5061))
        expect(lab.firewall.flow("tcp", 7001)["to"] == "dmz2")


@check
def test_clean_up(stage):
    """nothing is left behind: after an exception, SIGTERM, and SIGKILL with a later lab"""
    folder = str(pathlib.Path(__file__).resolve().parent.parent)
    program = (f"import sys; sys.path.insert(0, {folder!r})\n"
               "from lab.topology import Lab\n"
               "with Lab() as lab:\n"
               "  print(lab.prefix, lab.lan.popen(['sleep', '1000']).pid, flush=True)\n"
               "  %s\n")
    wait = "lab.lan.run(['sleep', '1000'], timeout=1000)"
    for body, number in (("raise ValueError", None),
                         (wait, signal.SIGTERM), (wait, signal.SIGKILL)):
        with subprocess.Popen([sys.executable, "-c", program % body], text=True,
                              env={**os.environ, "TMPDIR": str(stage.lab.work)},
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as run:
            prefix, pid = run.stdout.readline().split()
            if number:
                run.send_signal(number)
            run.wait(20)
        if number == signal.SIGKILL:
            expect(traces(prefix) and alive(pid), "nothing was there to sweep")
            with Lab():
                pass
        expect(not traces(prefix), body, traces(prefix))
        expect(not alive(pid), body, "process", pid)


def alive(pid):
    """A process that is neither gone nor waiting to be collected."""
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def traces(prefix):
    """Namespaces and files of a lab that are still there."""
    listed = subprocess.run(["ip", "netns", "list"], text=True, capture_output=True,
                            check=True).stdout.split()
    found = [name for name in listed if name.startswith(prefix + "-")]
    return found + [str(path) for path in pathlib.Path("/etc/netns").glob(prefix + "-*")]


def wait_until(condition, message, deadline_s=5.0):
    give_up = time.monotonic() + deadline_s
    while not condition():
        expect(time.monotonic() < give_up, message)
        time.sleep(0.05)


def main():
    only = sys.argv[1:]
    n_passed = n_failed = 0
    with Lab() as lab:
        stage = Stage(lab)
        for function in CHECKS:
            if only and function.__name__ not in only:
                continue
            line = function.__doc__
            try:
                function(stage)
                n_passed += 1
                print(f"ok   {line}", flush=True)
            except Exception as error:  # pylint: disable=broad-except
                n_failed += 1
                lab.keep = True
                print(f"FAIL {line}\n     {type(error).__name__}: {error}", flush=True)
    left = traces(lab.prefix) + [process.args for ns in lab.netns.values()
                                 for process in ns.processes if process.poll() is None]
    if left:
        n_failed += 1
        print(f"FAIL left behind: {left}")
    print(f"{n_passed} passed, {n_failed} failed")
    return 1 if n_failed else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""What attackers do to chat servers, on the wire. Behind the pair stands a double of an IM server that keeps every
byte it gets; of an attack it must get none. Checks begin with their rows: B of the client relay, X of the XMPP
attack table in its order."""

import base64
import pathlib
import socket
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from lab.im_double import AFTER, BEFORE
from lab.play import Play, expect
from lab.xmpp_raw import SASL, STREAMS, TLS, Closed, Silence, mechanisms, name, text
from lab.xmppcast import XmppCast

play = Play()
DOMAIN = "spy.example"
N_HALF_OPEN, N_WAVE = 100000, 500
NO_XML = ("not-well-formed", "restricted-xml", "invalid-xml", "bad-format", "bad-namespace-prefix",
          "unsupported-encoding", "invalid-namespace", "policy-violation")
END = b"</stream:stream>"


class Stage(XmppCast):
    def __init__(self, lab):
        super().__init__(lab, servers=("double",), edge_xmpp="max-unauthenticated = 1000\nmax-unauthenticated-per-source = 0")
        self.n_attacks = 0

    def signed_in(self, **how):
        """(client, its connection at the double), on which nothing is on the way."""
        self.n_attacks += 1
        user = f"u{self.n_attacks}"
        raw = self.raw(DOMAIN, **how)
        raw.sign_in(user)
        raw.ping()
        return raw, self.double.of(user)

    def refused(self, attack, conditions=NO_XML, good_first=b""):
        """A session is open, the attack comes: that stream ends with the error, and the double gets what was good
        and nothing else."""
        raw, inner = self.signed_in()
        with raw:
            n_before = len(inner.received)
            try:
                raw.send(good_first + attack)
            except OSError:  # it was too long to be taken before the end
                pass
            condition = raw.ending()
            self.double.wait(lambda: inner.closed or inner.ended, 5, "the end of that stream")
            got = bytes(inner.received[n_before:])
            got = got.removesuffix(END)
            expect((good_first == b"") == (got == b"") and b"attack" not in got, "reached the server:", got)
            # who sends more than is read gets a RST, which can overtake the error
            expect(condition in conditions or condition is None and len(attack) > 200000, attack[:80], condition)

    def refused_before(self, attack, conditions=NO_XML, tls=True):
        """The same before anybody signed in."""
        with self.raw(DOMAIN) as raw:
            n_before = self.double.n_bytes()
            if tls:
                raw.secure()
            else:
                raw.open()
            n_header = self.double.n_bytes()
            raw.send(attack)
            condition = raw.ending()
            expect(condition in conditions, attack[:80], condition)
            time.sleep(0.05)
            expect(self.double.n_bytes() - n_header in (0, len(END)), "reached the server")
            if not tls:
                expect(self.double.n_bytes() == n_before, "reached the server without TLS")

    def a_client_works(self):
        raw, inner = self.signed_in()
        with raw:
            raw.send("<message to='x@spy.example'><body>works</body></message>")
            self.double.wait(lambda: b"works" in inner.received, what="a good message")
            inner.send("<message from='x@spy.example'><body>back</body></message>")
            expect("back" in text(raw.read()), "nothing comes back")


# -- B01, X5: before TLS

@play.check
def b01_before_tls(s):
    """B01: before TLS only starttls: anything else is not-authorized or so, and the IM server is not even called"""
    n_before = len(s.double.connections)
    secret = base64.b64encode(b"\0alice\0alice-secret").decode()
    for attack in (f"<auth xmlns='{SASL}' mechanism='PLAIN'>{secret}</auth>",
                   "<iq type='set' id='1'><query xmlns='jabber:iq:register'/></iq>",
                   "<iq type='set' id='1'><query xmlns='jabber:iq:auth'><username>alice</username></query></iq>",
                   "<message to='bob@spy.example'><body>attack</body></message>",
                   f"<proceed xmlns='{TLS}'/>", "<compress xmlns='http://jabber.org/protocol/compress'>"
                   "<method>zlib</method></compress>"):
        with s.raw(DOMAIN) as raw:
            features = raw.open()
            expect([name(e) for e in features] == ["starttls"], text(features))
            expect(features[0].find(f"{{{TLS}}}required") is not None, "not required")
            raw.send(attack)
            expect(raw.ending() in ("not-authorized", "policy-violation", "unsupported-stanza-type"), attack)
    expect(len(s.double.connections) == n_before, "the IM server was called")


@play.check
def b01_injection(s):
    """B01, X5: bytes injected behind <starttls/> are dropped, counted and traced; the stream in TLS is a fresh one"""
    secret = base64.b64encode(b"\0mallory\0mallory-secret").decode()
    for injected in (b"<message to='bob@spy.example'><body>attack</body></message>",
                     f"<auth xmlns='{SASL}' mechanism='PLAIN'>{secret}</auth>".encode(),
                     b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='" + STREAMS.encode() +
                     b"' to='spy.example' version='1.0'><message><body>attack</body></message>",
                     b"<unfinished attack='", b"x" * 1000):
        n_traces = s.traces_of("xmpp.c2s.plaintext-injected")[0]
        with s.raw(DOMAIN) as raw:
            raw.open()
            raw.starttls(injected)
            raw.open()
            raw.sign_in_secure("alice")
            raw.ping()
            inner = s.double.of("alice")
            for bad in (b"attack", b"mallory", b"unfinished", b"xxx"):
                expect(bad not in inner.received, bad, "reached the server")
        s.edge.wait(lambda n=n_traces: s.traces_of("xmpp.c2s.plaintext-injected")[0] > n, 5, "a trace")
    with s.raw(DOMAIN) as raw:  # of so much some comes later: that is no TLS
        raw.open()
        try:
            raw.starttls(b"x" * 100000)
            raw.open()
        except (OSError, Closed):
            pass
    s.no_streams()
    s.a_client_works()


@play.check
def b02_garbage(s):
    """B02: what is neither XMPP nor TLS, and TLS that never ends, gets nowhere; HTTP on 5222 neither"""
    n_before = len(s.double.connections)
    for junk in (b"GET / HTTP/1.1\r\nHost: spy.example\r\n\r\n", b"\0" * 100, b"\x16\x03\x01\x40\x00" + b"\0" * 50,
                 b"SSH-2.0-x\r\n", b"<html>", b"<a/>"):
        with s.raw(DOMAIN) as raw:
            raw.send(junk)
            if junk[0] == 0x16:
                continue  # it waits for the rest
            try:
                raw.ending()
            except AssertionError:
                pass  # an alert of TLS is no XML
    expect(len(s.double.connections) == n_before, "the IM server was called")
    s.a_client_works()


@play.check
def b03_routing(s):
    """B03: unknown host, missing `to`, a `to` that changes after TLS or after SASL: refused"""
    for to, conditions in (("nowhere.example", ("host-unknown",)), ("", ("host-unknown", "improper-addressing")),
                           ("x@spy.example", ("host-unknown", "improper-addressing")),
                           ("spy.example/x", ("host-unknown", "improper-addressing")),
                           ("sub.spy.example", ("host-unknown",))):
        with s.raw(DOMAIN) as raw:
            raw.header(to=to)
            expect(raw.ending() in conditions, to)
        with s.raw(DOMAIN, direct=True) as raw:
            raw.header(to=to)
            expect(raw.ending() in conditions, "direct TLS", to)
    for version in ("", "0.9"):
        with s.raw(DOMAIN, direct=True) as raw:
            raw.header(version=version)
            expect(raw.ending() == "unsupported-version", version)
    with s.raw(DOMAIN) as raw:  # the name of the certificate was for another domain
        raw.secure()
        raw.plain("alice", "alice-secret")
        raw.header(to="nowhere.example")
        expect(raw.ending() in ("host-unknown", "policy-violation", "conflict", "not-authorized",
                                "improper-addressing", "invalid-xml", "bad-format"), "another `to` after SASL")
    s.no_streams()


@play.check
def b04_b05_features(s):
    """B04, B05, X4: compression, starttls, registration, channel binding and EXTERNAL that the server offers are taken out; an alarm says so"""
    s.double.before = (
        f"<starttls xmlns='{TLS}'/><compression xmlns='http://jabber.org/features/compress'><method>zlib</method>"
        f"</compression><register xmlns='http://jabber.org/features/iq-register'/><mechanisms xmlns='{SASL}'>"
        "<mechanism>SCRAM-SHA-256-PLUS</mechanism><mechanism>SCRAM-SHA-1-PLUS</mechanism>"
        "<mechanism>EXTERNAL</mechanism><mechanism>PLAIN</mechanism></mechanisms>"
        "<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'><channel-binding type='tls-exporter'/>"
        "</sasl-channel-binding>")
    s.double.after = AFTER + ("<compression xmlns='http://jabber.org/features/compress'><method>zlib</method>"
                              "</compression><csi xmlns='urn:xmpp:csi:0'/>")
    try:
        with s.raw(DOMAIN) as raw:
            before = raw.secure()
            expect([name(e) for e in before] == ["mechanisms"] and mechanisms(before) == ["PLAIN"], text(before))
            expect(name(raw.plain("alice", "alice-secret")) == "success", "PLAIN")
            after = raw.open()
            expect({name(e) for e in after} == {"bind", "sm", "ver", "csi"}, text(after))
        s.core.wait(lambda: any("binding" in str(a) for a in s.core.alarms()), 5, "an alarm of channel binding")
        with s.raw(DOMAIN) as raw:
            raw.secure()
            raw.send("<compress xmlns='http://jabber.org/protocol/compress'><method>zlib</method></compress>")
            expect(raw.ending() in ("not-authorized", "policy-violation", "unsupported-stanza-type"), "compress")
    finally:
        s.double.before, s.double.after = BEFORE, AFTER


@play.check
def b06_only_sasl(s):
    """B06: before SASL has succeeded only its elements pass; a stanza, bind or XEP-0198 before it is not-authorized"""
    for attack in (b"<message to='bob@spy.example'><body>attack</body></message>",
                   b"<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>",
                   b"<enable xmlns='urn:xmpp:sm:3' resume='true'/>", b"<resume xmlns='urn:xmpp:sm:3' previd='x' h='1'/>",
                   b"<presence/>", f"<success xmlns='{SASL}'/>".encode(), f"<starttls xmlns='{TLS}'/>".encode()):
        s.refused_before(attack, ("not-authorized", "policy-violation", "unsupported-stanza-type"))


@play.check
def b06_guessing(s):
    """B06: five wrong passwords end the stream; stanzas behind a refused <auth/> are not let through"""
    with s.raw(DOMAIN) as raw:
        raw.secure()
        n_failures = 0
        try:
            while name(raw.plain("alice", f"guess {n_failures}")) == "failure":
                n_failures += 1
        except (Closed, OSError):
            pass
        expect(3 <= n_failures <= 5, n_failures)
    with s.raw(DOMAIN) as raw:
        raw.secure()
        secret = base64.b64encode(b"\0alice\0no").decode()
        n_before = s.double.n_bytes()
        raw.send(f"<auth xmlns='{SASL}' mechanism='PLAIN'>{secret}</auth><message><body>attack</body></message>")
        raw.ending()
        s.double.wait(lambda: s.double.n_bytes() > n_before)
        expect(not any(b"attack" in c.received for c in s.double.connections), "behind a refusal")


@play.check
def b07_restarts(s):
    """B07: one header for each restart on the inner leg; a second <auth/>, or a header where none belongs, is refused"""
    raw, inner = s.signed_in()
    with raw:
        expect(inner.received.count(b"<stream:stream") == 2 and len(inner.headers) == 2, inner.headers)
        expect(inner.received.count(b"<?xml") in (0, 2), inner.received)
    secret = base64.b64encode(b"\0mallory\0mallory-secret").decode()
    raw, inner = s.signed_in()
    with raw:
        raw.send(f"<auth xmlns='{SASL}' mechanism='PLAIN'>{secret}</auth>")
        raw.ending()
        expect(b"bWFsbG9yeQ" not in inner.received and secret.encode() not in inner.received, "a second sign-in")
    header = (f"<stream:stream xmlns='jabber:client' xmlns:stream='{STREAMS}' to='{DOMAIN}' version='1.0'>").encode()
    s.refused(header + b"<message><body>attack</body></message>")
    s.refused(b"<?xml version='1.0'?>" + header)


# -- B08, B09, X1, X2: XML

@play.check
def x1_nested_streams(s):
    """X1 (CVE-2022-20917), B09: stream tags inside the stream, in stanzas, under any prefix: closed, zero bytes inside"""
    streams = STREAMS.encode()
    for attack in (
            b"<stream:stream to='attack'/>",
            b"<message><body>attack</body><stream:stream/></message>",
            b"<message><stream:features/><body>attack</body></message>",
            b"<a:stream xmlns:a='" + streams + b"'><message><body>attack</body></message></a:stream>",
            b"<message><x xmlns='" + streams + b"'>attack</x></message>",
            b"<stream xmlns='" + streams + b"' to='attack'>",
            b"<message><body>attack</stream:stream>",
            b"<message><body>attack</body></stream:stream></message>",
            b"<message><b:error xmlns:b='" + streams + b"'>attack</b:error></message>"):
        s.refused(attack)


@play.check
def x1_good_then_bad(s):
    """X1: a good stanza in front of the attack in one packet passes, not a byte of what is behind it"""
    good = b"<message to='bob@spy.example'><body>good</body></message>"
    for attack in (b"<message><stream:stream/><body>attack</body></message>", b"<message><body>attack\xff</body></message>",
                   b"<message><body>attack</bodi></message>", b"<!DOCTYPE attack>"):
        s.refused(attack, good_first=good)


@play.check
def x1_bad_utf8(s):
    """X1 (CVE-2022-25235), B08: overlong, cut off, surrogate, beyond 10FFFF, NUL, UTF-16: in text, names, attributes"""
    bad = (b"\xc0\xaf", b"\xc1\x81", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xed\xa0\x80", b"\xed\xb0\x80",
           b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xfe", b"\xff", b"\x80", b"\xe4\xba", b"\0", b"\x01", b"\x0b",
           b"\xef\xbf\xbf", b"\xe2\x82<")
    for i, piece in enumerate(bad):
        s.refused((b"<message><body>attack" + piece + b"</body></message>",
                   b"<message id='attack" + piece + b"'/>",
                   b"<message" + piece + b"attack='1'/>")[i % 3])
    s.refused("<message><body>attack</body></message>".encode("utf-16"))
    for piece in bad[:6]:
        s.refused(b"<message><body>attack" + piece + b"</body></message>")


@play.check
def x1_namespace_separators(s):
    """X1 (CVE-2022-25236), B09: separators inside namespace names make no other name of an element"""
    for piece in (b"&#10;", b"&#9;", b"&#13;", b" ", b"|", b"!", b"#", b"\x7f", b"&#x7f;", b"&#1;", b"\x0c", b"\x1f", b"\xff",
                  b"&#x20;"):
        raw, inner = s.signed_in()
        with raw:
            n_before = len(inner.received)
            raw.send(b"<message><x xmlns='" + STREAMS.encode() + piece + b"stream'>attack</x>"
                     b"<y:message xmlns:y='jabber:client" + piece + b"iq'/></message>")
            try:
                raw.ping(ident="after")
            except (Closed, OSError):
                continue
            # it was let through, as text of a namespace and nothing else
            got = bytes(inner.received[n_before:])
            expect(b"attack" in got, got)
            child = next(e for e in inner.elements if e.find(".//*") is not None and "attack" in text(e))
            expect(child.tag == "{jabber:client}message" and child[0].tag.startswith("{" + STREAMS)
                   and child[0].tag.endswith("stream}x"), got)
            expect(not any(c.tag == f"{{{STREAMS}}}stream" for c in child.iter()), got)


@play.check
def x2_entities(s):
    """X2, B08: document types, entities, bombs, comments, processing instructions: refused at the first <!, and memory stays"""
    bomb = b"<!DOCTYPE b [<!ENTITY a0 'attack'>" + b"".join(
        b"<!ENTITY a%d '%s'>" % (i, b"&a%d;" % (i - 1) * 10) for i in range(1, 10)) + b"]><message>&a9;</message>"
    before = s.edge.rss_kib()
    for attack in (bomb, b"<!DOCTYPE x SYSTEM 'http://10.20.0.10/attack'>", b"<!DOCTYPE attack", b"<!ENTITY attack 'x'>",
                   b"<!-- attack -->", b"<message><!-- attack --></message>", b"<?attack x?>",
                   b"<message><?attack x?></message>", b"<message><body>&attack;</body></message>",
                   b"<message><body>&#0;attack</body></message>", b"<message><body>&#xD800;attack</body></message>",
                   b"<message><body>&#x110000;attack</body></message>", b"<message attack='&nbsp;'/>",
                   b"<![CDATA[attack]]>", b"<message><body>attack]]></body></message>"):
        s.refused(attack)
    for attack in (bomb, b"<!DOCTYPE attack>", b"<?attack x?>"):
        s.refused_before(attack)
        s.refused_before(attack, tls=False)
    with s.raw(DOMAIN) as raw:
        raw.send(b"<?xml version='1.0'?><!DOCTYPE attack [<!ENTITY a 'b'>]><stream:stream xmlns='jabber:client' "
                 b"xmlns:stream='" + STREAMS.encode() + b"' to='spy.example' version='1.0'>")
        expect(raw.ending() in NO_XML, "a document type in front of the header")
    if not s.edge.sanitized():
        expect(s.edge.rss_kib() - before < 4096, before, s.edge.rss_kib())


@play.check
def b08_cdata(s):
    """B08, B09: CDATA, references and quotes arrive as text, printed anew; markup in them stays text"""
    raw, inner = s.signed_in()
    with raw:
        raw.send(b"<message id=\"a'b\" to='bob@spy.example'><body><![CDATA[</body></message><message to='eve'>]]>"
                 b"&lt;iq/&gt;&amp;amp;&#60;x&#x3e;\xc3\xa9\xf0\x9f\x98\x80</body><x  xmlns = 'urn:a'  b = '&quot;&#10;' /></message>")
        raw.ping(ident="after")
        message = next(e for e in inner.elements if name(e) == "message")
        expect(message.find("{jabber:client}body").text == "</body></message><message to='eve'><iq/>&amp;<x>\u00e9\U0001f600",
               text(message))
        expect(message.get("id") == "a'b" and message.find("{urn:a}x").get("b") == "\"\n", text(message))
        expect(b"<![CDATA[" not in inner.received and b"<message to='eve'" not in inner.received, "raw bytes")
        expect([name(e) for e in inner.elements].count("message") == 1, "a second message")


@play.check
def b08_not_well_formed(s):
    """B08: tags that do not match, prefixes nobody bound, attributes twice, text between stanzas: the RFC 6120 errors"""
    for attack, conditions in (
            (b"<message><body>attack</message></body>", ("not-well-formed",)),
            (b"<message attack='1' attack='2'/>", ("not-well-formed",)),
            (b"<message xmlns:a='u' xmlns:b='u' a:attack='1' b:attack='2'/>", ("not-well-formed",)),
            (b"<message attack/>", ("not-well-formed",)), (b"<message attack=1/>", ("not-well-formed",)),
            (b"<message attack='<'/>", ("not-well-formed",)), (b"<attack<message/>", ("not-well-formed",)),
            (b"<>attack</>", ("not-well-formed",)), (b"</attack>", ("not-well-formed",)),
            (b"<attack:message/>", ("bad-namespace-prefix", "not-well-formed")),
            (b"<message attack:a='1'/>", ("bad-namespace-prefix", "not-well-formed")),
            (b"<message xmlns:xmlns='attack'/>", NO_XML), (b"<message xmlns:xml='attack'/>", NO_XML),
            (b"<message xmlns:attack=''/>", NO_XML),
            (b"attack", ("invalid-xml", "not-well-formed", "bad-format")),
            (b"<message/>attack<message/>", ("invalid-xml", "not-well-formed", "bad-format"))):
        # one of them has a good stanza in front
        s.refused(attack, conditions, **({"good_first": b"<message/>"} if attack.startswith(b"<message/>") else {}))


@play.check
def b08_bombs(s):
    """B08, B12: depth, attributes, names and sizes at their limits: below passes, above is policy-violation"""
    def nested(n):
        return b"<message>" + b"<a>" * (n - 1) + b"attack" + b"</a>" * (n - 1) + b"</message>"

    def attributes(n):
        return b"<message " + b" ".join(b"a%d='1'" % i for i in range(n)) + b"/>"

    def named(n):
        return b"<message><" + b"n" * n + b"/></message>"

    def long(n):
        return b"<message><body>" + b"l" * (n - 32) + b"</body></message>"
    for good in (nested(60), attributes(60), named(1000), long(250000)):
        raw, inner = s.signed_in()
        with raw:
            n_before = len(inner.received)
            raw.send(good)
            raw.ping(ident="after")
            expect(len(inner.received) - n_before >= len(good) * 0.9, "a good one did not pass", good[:60])
    policy = ("policy-violation",)
    for bad in (nested(70), nested(5000), attributes(70), attributes(4000), named(1100), named(5000),
                b"<message attack='" + b"v" * 300000 + b"'/>", long(270000), b"<message>" + b"<attack/>" * 40000):
        s.refused(bad, policy)
    for bad in (b"<auth xmlns='" + SASL.encode() + b"' mechanism='PLAIN'>" + b"QUFB" * 3000 + b"</auth>",
                b"<auth " + b"a" * 12000):
        s.refused_before(bad, policy)
    with s.raw(DOMAIN) as raw:
        raw.send(b"<stream:stream " + b"a" * 12000)
        expect(raw.ending() in policy, "header")
    s.a_client_works()


@play.check
def x3_half_open(s):
    """X3 (CVE-2021-32918), B12: 100,000 half-open streams in waves: refused or timed out, memory flat, others sign in"""
    s.setting(auth_timeout="1s")
    try:
        stages = (b"", b"<", b"<?xml version='1.0'?>", b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' "
                  b"xmlns:stream='" + STREAMS.encode() + b"' to='spy.example' version='1.0'>",
                  b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='" + STREAMS.encode() +
                  b"' to='spy.example' version='1.0'><starttls xmlns='" + b"x" * 500,
                  b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        n_connections = len(s.double.connections)
        n_total = s.edge.ctl("status")["modules"]["xmpp"]["streams-total"]
        rounds = N_HALF_OPEN // N_WAVE
        held = []
        for i in range(rounds):
            held = wave(s, stages, held)
            if i == rounds // 10:  # warm
                before, n_before = s.edge.rss_kib(), s.edge.n_descriptors()
            if i % (rounds // 5) == 0:
                s.a_client_works()
        wave(s, stages, held, 0)
        s.edge.wait(lambda: len(s.streams()) < 20, 10, "end of the half-open ones")
        arrived = s.edge.ctl("status")["modules"]["xmpp"]["streams-total"] - n_total
        expect(arrived > N_HALF_OPEN / 2, "E saw only", arrived)  # the rest met a full backlog
        s.a_client_works()
        expect(s.edge.n_descriptors() <= n_before, n_before, s.edge.n_descriptors())
        if not s.edge.sanitized():
            expect(s.edge.rss_kib() - before <= 2048, f"{before} KiB before, {s.edge.rss_kib()} KiB after")
        expect(len(s.double.connections) - n_connections < 20, "the IM server was called")
    finally:
        s.setting(auth_timeout=None)


def wave(s, stages, held, n=N_WAVE):
    """So many connections at once, each with the beginning of something; then those held from before are dropped
    without a word. Returns the new ones."""
    def connect():
        socks = []
        for i in range(n):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(s.place())
            socks.append((sock, stages[i % len(stages)]))
        for sock, data in socks:
            sock.settimeout(2)
            try:
                sock.getpeername()
                sock.send(data)
            except OSError:
                pass
        for sock, _ in held:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            sock.close()
        return socks
    return s.lab.inet.inside(connect)


@play.check
def b12_time_to_sign_in(s):
    """B12: who does not sign in in time is sent away, however busy he is; who has signed in stays"""
    raw, inner = s.signed_in()
    s.setting(auth_timeout="1s")
    try:
        slow = [s.raw(DOMAIN) for _ in range(3)]
        slow[0].open()
        slow[1].secure()
        start = time.monotonic()
        header = b"<?xml version='1.0'?><stream:stream xmlns='jabber:client'"
        try:  # byte by byte
            for byte in header:
                slow[2].send(bytes([byte]))
                time.sleep(0.05)
        except OSError:
            pass
        for one in slow[:2]:
            expect(one.ending() in ("connection-timeout", "policy-violation"), "condition")
        expect(time.monotonic() - start < 5, "not in time")
        for one in slow:
            one.close()
        with raw:
            raw.ping(ident="stays")
        expect(not inner.ended, "cut")
    finally:
        s.setting(auth_timeout=None)
    s.no_streams()


@play.check
def b12_rate(s):
    """B12: a client over its byte rate is slowed down, not cut, and slows nobody else"""
    s.setting(rate="32k", burst="32k")
    try:
        raw, inner = s.signed_in()
        other, _ = s.signed_in()
        with raw, other:
            block = b"<message to='bob@spy.example'><body>" + b"r" * 1000 + b"</body></message>"
            n_before, start = len(inner.received), time.monotonic()
            raw.sock.settimeout(15)
            raw.send(block * 128)
            other.ping(ident="meanwhile")
            expect(time.monotonic() - start < 2.5, "another one waited")
            s.double.wait(lambda: len(inner.received) - n_before >= len(block) * 128, 15, "all of it")
            took = time.monotonic() - start
            expect(2 <= took <= 10, f"{took:.1f} s for 128 KiB at 32 KiB/s")
    finally:
        s.setting(rate=None, burst=None)


@play.check
def b12_slow_reader(s):
    """B12: a client that reads nothing while the server talks: bounded memory, cut after send-timeout; the inner leg is held, not the box"""
    s.setting(send_timeout="2s")
    try:
        raw, inner = s.signed_in()
        before = s.edge.rss_kib() + s.core.rss_kib()
        block = ("<message from='x@spy.example'><body>" + "s" * 4000 + "</body></message>").encode() * 16
        inner.sock.settimeout(10)
        sent = 0
        try:
            while sent < 64 << 20:
                inner.sock.sendall(block)
                sent += len(block)
        except OSError:
            pass
        expect(sent < 48 << 20, "it was all taken", sent)
        if not s.edge.sanitized():
            grown = s.edge.rss_kib() + s.core.rss_kib() - before
            expect(grown < 8192, f"{grown} KiB more")
        raw.close()
        s.no_streams()
    finally:
        s.setting(send_timeout=None)
    s.a_client_works()


@play.check
def x6_renegotiation(s):
    """X6 (CVE-2021-32920): TLS 1.2 renegotiation is refused"""
    command = ["timeout", "8", "openssl", "s_client", "-connect", f"{s.lab.dmz.v4}:5222", "-starttls", "xmpp",
               "-xmpphost", DOMAIN, "-tls1_2", "-CAfile", str(s.ca)]
    done = s.lab.inet.run(command, check=False, input="R\n")
    out = done.stdout + done.stderr
    expect("Verify return code: 0" in out, out[-500:])
    expect("RENEGOTIATING" in out and "no renegotiation" in out, out[-800:])
    s.a_client_works()


@play.check
def b08_from_inside(s):
    """B08, B09: a server inside that sends bad XML, nested streams, or too much: the client's stream ends, not a byte of it comes out"""
    for attack in (b"<message><stream:stream/><body>attack</body></message>", b"<message><body>attack\xc0\xaf</body></message>",
                   b"<!DOCTYPE attack>", b"<message>" + b"<a>" * 100 + b"attack", b"<message><body>attack</b></message>"):
        raw, inner = s.signed_in()
        with raw:
            n_before = len(raw.received)
            inner.send(attack)
            raw.ending()
            expect(b"attack" not in raw.received[n_before:], "came out")
    s.no_streams()


@play.check
def e_clients_bytes(s):
    """bytes one at a time, and all at once: the same stanzas arrive"""
    raw, inner = s.signed_in()
    with raw:
        stanza = b"<message to='bob@spy.example'><body>\xc3\xa9 one at a time</body></message>"
        raw.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in stanza:
            raw.send(bytes([byte]))
        raw.send(stanza.replace(b"one at a time", b"all at once") * 200)
        raw.ping(ident="after")
        bodies = [e[0].text for e in inner.elements if name(e) == "message"]
        expect(bodies == ["\u00e9 one at a time"] + ["\u00e9 all at once"] * 200, len(bodies), bodies[:3])


@play.check
def b10_ends(s):
    """B10: ends pass through: </stream:stream> as such, a cut as a cut, both ways; XEP-0198 is nobody's but theirs"""
    raw, inner = s.signed_in()
    with raw:
        raw.send("<enable xmlns='urn:xmpp:sm:3' resume='true'/><r xmlns='urn:xmpp:sm:3'/>")
        raw.ping(ident="after")
        expect([name(e) for e in inner.elements][-3:] == ["enable", "r", "iq"], "XEP-0198 inside")
        inner.send("<enabled xmlns='urn:xmpp:sm:3' id='x' location='imp4.example.com:5222' resume='true'/><r xmlns='urn:xmpp:sm:3'/>")
        enabled = raw.read()
        expect(enabled.get("location") == "imp4.example.com:5222" and enabled.get("id") == "x", text(enabled))
        expect(name(raw.read()) == "r" and raw.is_open(), "more than the server said")
        raw.send("</stream:stream>")
        expect(raw.ending() == "", "end")
        s.double.wait(lambda: inner.ended, what="</stream:stream>")
    raw, inner = s.signed_in()
    raw.reset()
    s.double.wait(lambda: inner.closed, what="the cut")
    expect(not inner.ended and not inner.received.endswith(END), "a cut became an end")
    raw, inner = s.signed_in()
    with raw:
        inner.close()
        expect(raw.ending() is None, "a cut inside became an end or an error")
    s.no_streams()


@play.check
def b11_spaces(s):
    """B11: white space keeps a stream that is idle, and passes or is coalesced; without it idle-timeout ends it"""
    s.setting(idle_timeout="2s")
    try:
        quiet, _ = s.signed_in()
        raw, inner = s.signed_in()
        with raw, quiet:
            for _ in range(6):
                raw.send(" ")
                time.sleep(0.6)
            raw.ping(ident="alive")
            expect(quiet.ending() in ("connection-timeout", None, ""), "the quiet one lives")
            raw.send(" " * 50000)
            raw.ping(ident="spaces")
            expect(inner.received.count(b" ") < 2000, "all of them")
    finally:
        s.setting(idle_timeout=None)


@play.check
def nothing_inside(s):
    """after all of it: the firewall saw nothing that E sent inside, nothing is left, the pair works"""
    s.no_streams()
    s.a_client_works()
    s.firewall_is_clean()


if __name__ == "__main__":
    sys.exit(play.run(Stage))

#!/usr/bin/env python3
"""Ways to sign in that no server of Debian offers behind a relay: certificates (EXTERNAL), tokens (OAUTHBEARER), SASL2;
certificates of several domains on one port; and who guesses passwords by the dozen. Behind the pair stands a double of
an IM server. Checks begin with their rows of the checklist, 31 is of its table of faults and abuse."""

import base64
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from lab.im_double import BEFORE, OAUTH_ERROR, WITH_SASL2
from lab.play import Play, expect
from lab.pki import PAST
from lab.xmpp_raw import BIND2, SASL, SASL2, SM, Closed, mechanisms, name, text
from lab.xmppcast import XmppCast

play = Play()
DOMAIN, MORE = "spy.example", "more.example"
# alone on C: a server that takes no certificates, which is the same double
SECTIONS = f"""
[im-server more]
domains = {MORE}
hosts = imp4.example.com
tls = plain
federation = none

[domain {MORE}]
im = yes
"""
MORE_TLS = """
[tls more]
certificate = {pki}/edge-more.crt
key = {pki}/edge-more.key
"""
WITH_EXTERNAL = BEFORE.replace("<mechanism>PLAIN", "<mechanism>EXTERNAL</mechanism><mechanism>PLAIN")
XMPP_ADDR = "otherName:1.3.6.1.5.5.7.8.5;UTF8:"


class Stage(XmppCast):
    """Certificates of clients come from uc-ca, which is the `ca` of [tls xmpp]."""

    def __init__(self, lab):
        super().__init__(lab, servers=("double",), edge_xmpp="client-ca = xmpp\nfailures-per-minute = 0",
                         double="sasl-external = yes", core_xmpp=SECTIONS)
        self.edge.wait(lambda: self.serves(MORE), 15, MORE)

    def prepare(self):
        self.pki.issue("edge-more", "public-ca", (MORE,))

    def serves(self, domain):
        return any(row["domain"] == domain and row["up"] for row in self.edge.ctl("xmpp")["domains"])

    def person(self, tag, *addresses, ca="uc-ca", validity=None):
        """(certificate, key) of a client with these xmppAddrs."""
        self.pki.issue(f"client-{tag}", ca, ("client.example", *(XMPP_ADDR + a for a in addresses)), validity, "client")
        return self.pair_of(f"client-{tag}")

    def two_certificates(self):
        """From now on a domain has its own, chosen by SNI."""
        if "[tls more]" not in self.edge.ini.read_text():
            self.section(MORE_TLS.format(pki=self.pki.folder), self.edge)
        self.setting(tls="xmpp more")


def external(raw, identity=None):
    """What comes of <auth mechanism='EXTERNAL'/>; None is no initial response at all."""
    code = "=" if identity == "" else base64.b64encode((identity or "").encode()).decode()
    raw.send(f"<auth xmlns='{SASL}' mechanism='EXTERNAL'>{code}</auth>")
    return raw.read(10)


def authenticate(raw, user, password, inline=""):
    """What comes of SASL2 with PLAIN."""
    code = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
    raw.send(f"<authenticate xmlns='{SASL2}' mechanism='PLAIN'><initial-response>{code}</initial-response>"
             f"<user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87770'><software>lab</software></user-agent>"
             f"{inline}</authenticate>")
    return raw.read(10)


# -- certificates of clients

@play.check
def b06_external(s):
    """B06, P15: a client with a certificate that names it (xmppAddr) is offered EXTERNAL and let in, over STARTTLS and direct TLS, with and without its address"""
    s.double.before = WITH_EXTERNAL
    cert = s.person("alice", f"alice@{DOMAIN}")
    try:
        for direct in (False, True):
            for identity in ("", f"alice@{DOMAIN}"):
                with s.raw(DOMAIN, cert=cert, direct=direct) as raw:
                    offered = mechanisms(raw.secure())
                    expect("EXTERNAL" in offered and "PLAIN" in offered, offered)
                    answer = external(raw, identity)
                    expect(name(answer) == "success", text(answer))
                    raw.open()
                    expect(raw.bind("card") == f"alice@{DOMAIN}/card", "bound")
                    inner = s.double.of("alice")
                    # the server has not seen the certificate: it is told whom it means
                    told = next(e for e in inner.elements if name(e) == "auth")
                    expect(base64.b64decode(told.text).decode() == f"alice@{DOMAIN}", text(told))
                    for box in (s.edge, s.core):
                        rows = [row for row in box.ctl("xmpp")["streams"] if row["user"] == f"alice@{DOMAIN}"]
                        expect(len(rows) == 1 and rows[0]["auth"] == "EXTERNAL", box.name, rows)
                s.no_streams()
    finally:
        s.double.before = BEFORE


@play.check
def b06_external_of_others(s):
    """B06: a certificate signs in nobody but those it names: another user, another domain, or one of two unnamed is invalid-authzid, traced on C"""
    s.double.before = WITH_EXTERNAL
    one, two = s.person("bob", f"bob@{DOMAIN}"), s.person("two", f"carol@{DOMAIN}", f"dave@{DOMAIN}")
    try:
        for cert, identity in ((one, f"alice@{DOMAIN}"), (one, f"bob@{MORE}"), (one, "bob"), (two, ""),
                               (one, f"bob@{DOMAIN}.example"), (two, f"bob@{DOMAIN}")):
            n_before = s.traces_of("xmpp.core.external", s.core)[0]
            with s.raw(DOMAIN, cert=cert) as raw:
                raw.secure()
                answer = external(raw, identity)
                expect(name(answer) == "failure" and answer.find(f"{{{SASL}}}invalid-authzid") is not None,
                       identity, text(answer))
                n, entries = s.traces_of("xmpp.core.external", s.core)
                expect(n == n_before + 1 and entries[0]["decided_by"] == "[im-server] sasl-external", entries[:1])
        for user in ("carol", "dave"):
            with s.raw(DOMAIN, cert=two) as raw:
                raw.secure()
                answer = external(raw, f"{user}@{DOMAIN}")
                expect(name(answer) == "success" and s.double.of(user), user, text(answer))
        expect(not any(c.user in ("alice", "bob") for c in s.double.connections[-8:]), "somebody else got in")
    finally:
        s.double.before = BEFORE
    s.no_streams()


@play.check
def b06_no_external(s):
    """B06: no certificate, another CA's, an expired one, none with an address: EXTERNAL is not offered, refused to who tries, traced; a password still signs in"""
    s.double.before = WITH_EXTERNAL
    cases = {"none": None, "foreign": s.person("foreign", f"alice@{DOMAIN}", ca="foreign-ca"),
             "expired": s.person("expired", f"alice@{DOMAIN}", validity=PAST), "nameless": s.person("nameless"),
             "server's": s.person("server", DOMAIN)}
    try:
        for tag, cert in cases.items():
            for direct in (False, True):
                n_before, n_bytes = s.traces_of("xmpp.c2s.invalid-mechanism")[0], s.double.n_bytes()
                with s.raw(DOMAIN, cert=cert, direct=direct) as raw:
                    offered = mechanisms(raw.secure())
                    expect("EXTERNAL" not in offered and "PLAIN" in offered, tag, offered)
                    n_bytes = s.double.n_bytes()
                    answer = external(raw, f"alice@{DOMAIN}")
                    expect(name(answer) == "failure"
                           and answer.find(f"{{{SASL}}}invalid-mechanism") is not None, tag, text(answer))
                    expect(s.double.n_bytes() == n_bytes, tag, "it reached the server")
                    n, entries = s.traces_of("xmpp.c2s.invalid-mechanism")
                    expect(n == n_before + 1 and entries[0]["decided_by"] == "[xmpp] client-ca", tag, entries[:1])
                    expect(raw.sign_in_secure("alice").startswith("alice@"), tag)
    finally:
        s.double.before = BEFORE
    s.no_streams()


@play.check
def b06_external_by_setting(s):
    """B06: where [im-server] does not allow it a good certificate is of no use: not offered, refused by C, traced; with the setting it is, and on E no `client-ca`, no EXTERNAL"""
    s.double.before = WITH_EXTERNAL
    cert = s.person("erin", f"erin@{MORE}", f"erin@{DOMAIN}")

    def offered(domain):
        with s.raw(domain, cert=cert, sni=DOMAIN if "[tls more]" not in s.edge.ini.read_text() else domain) as raw:
            raw.to = domain
            return "EXTERNAL" in mechanisms(raw.secure())
    try:
        s.two_certificates()
        with s.raw(MORE, cert=cert) as raw:
            raw.secure()
            n_before = s.traces_of("xmpp.core.external", s.core)[0]
            answer = external(raw, f"erin@{MORE}")
            expect(name(answer) == "failure", text(answer))
            expect(s.traces_of("xmpp.core.external", s.core)[0] == n_before + 1, "no trace")
        expect(not offered(MORE) and offered(DOMAIN), "which server allows it")
        s.setting(s.core, "im-server more", sasl_external="yes")
        expect(offered(MORE) and offered(DOMAIN), "allowed, and the certificate shown by SNI changes nothing")
        s.setting(s.core, "im-server more", sasl_external=None)
        s.setting(client_ca=None)
        expect(not offered(MORE) and not offered(DOMAIN), "without client-ca")
    finally:
        s.setting(client_ca="xmpp")
        s.double.before = BEFORE
    expect(not any(c.user == "erin" for c in s.double.connections), "erin got in")
    s.no_streams()


# -- tokens

def bearer(user, token):
    """RFC 7628 section 3.1."""
    return base64.b64encode(f"n,a={user}@{DOMAIN},\1host={DOMAIN}\1port=5222\1auth=Bearer {token}\1\1".encode()).decode()


def oauth(raw, code):
    raw.send(f"<auth xmlns='{SASL}' mechanism='OAUTHBEARER'>{code}</auth>")
    return raw.read(10)


@play.check
def b06_oauthbearer(s):
    """B06: OAUTHBEARER passes untouched: the token byte for byte, a refusal with its JSON; no piece of a token is in a log, a trace, a listing or a command line of either box"""
    s.double.before = BEFORE.replace("<mechanism>PLAIN", "<mechanism>OAUTHBEARER</mechanism><mechanism>PLAIN")

    def new_token(n_bytes):
        return "needle." + base64.urlsafe_b64encode(os.urandom(n_bytes)).decode() + "._~+/=="
    good, bad = new_token(2000), new_token(900)
    s.double.tokens["alice"] = good
    with s.raw(DOMAIN, s.lab.home) as raw:
        expect("OAUTHBEARER" in mechanisms(raw.secure()), "not offered")
        answer = oauth(raw, bearer("alice", bad))
        expect(name(answer) == "challenge" and base64.b64decode(answer.text) == OAUTH_ERROR, text(answer))
        raw.send(f"<response xmlns='{SASL}'>AQ==</response>")
        answer = raw.read(10)
        expect(name(answer) == "failure" and answer.find(f"{{{SASL}}}not-authorized") is not None, text(answer))
        entry = s.traces_of("xmpp.c2s.auth-failed")[1][0]
        expect("OAUTHBEARER" in entry["text"] and "alice" in entry["text"], entry)
        expect(name(oauth(raw, bearer("alice", good))) == "success", "the good one on the same stream")
        raw.open()
        raw.bind("tokens")
        inner = s.double.of("alice")
        said = [e for e in inner.elements if name(e) in ("auth", "response")]
        expect([e.text for e in said] == [bearer("alice", bad), "AQ==", bearer("alice", good)], "not as it was said")
        rows = [row for row in s.edge.ctl("xmpp")["streams"] if row["user"] == f"alice@{DOMAIN}"]
        expect(len(rows) == 1 and rows[0]["auth"] == "OAUTHBEARER", rows)
        codes = [bearer("alice", token) for token in (good, bad)]
        needles = [whole[at:at + 24] for whole in (good, bad, *codes) for at in (60, 300, 700)]
        for box in (s.edge, s.core):
            told = [box.log_text(), *(str(box.ctl(*what)) for what in (
                ("trace", ""), ("xmpp",), ("connections", "--ended"), ("connections",), ("status",), ("alarms",)))]
            told.append(pathlib.Path(f"/proc/{box.process.pid}/cmdline").read_text())
            for one in told:
                expect(not any(needle in one for needle in needles), "told by", box.name)
        raw.ping()
    s.double.before = BEFORE
    s.no_streams()


# -- SASL2

@play.check
def b07_sasl2(s):
    """B06, B07: SASL2 (XEP-0388) with inline binding and XEP-0198: one header, no new stream, stanzas at once, the user known on both boxes; a wrong password is told"""
    s.double.before = WITH_SASL2
    try:
        with s.raw(DOMAIN) as raw:
            features = raw.secure()
            expect(features.find(f"{{{SASL2}}}authentication/{{{SASL2}}}inline/{{{BIND2}}}bind") is not None, text(features))
            answer = authenticate(raw, "carol", "wrong")
            expect(answer.tag == f"{{{SASL2}}}failure" and answer[0].tag == f"{{{SASL}}}not-authorized", text(answer))
            answer = authenticate(raw, "carol", "carol-secret",
                                  f"<bind xmlns='{BIND2}'><tag>lab</tag><enable xmlns='{SM}' resume='true'/></bind>")
            expect(answer.tag == f"{{{SASL2}}}success", text(answer))
            expect(answer.findtext(f"{{{SASL2}}}authorization-identifier") == f"carol@{DOMAIN}/lab", text(answer))
            previd = answer.find(f"{{{BIND2}}}bound/{{{SM}}}enabled").get("id")
            header = raw.header_seen
            raw.features()
            expect(raw.header_seen is header, "another header")
            raw.ping()
            inner = s.double.of("carol")
            expect(len(inner.headers) == 1 and inner.received.count(b"<stream:stream") == 1, "a new stream inside")
            for box in (s.edge, s.core):
                rows = [row for row in box.ctl("xmpp")["streams"] if row["user"] == f"carol@{DOMAIN}"]
                expect(len(rows) == 1 and rows[0]["resumable"], box.name, rows)
            raw.reset()
            s.double.wait(lambda: inner.closed, 10, "the cut")
            expect(not inner.ended, "an end, with which the session is lost")
        s.no_streams()
        with s.raw(DOMAIN, direct=True) as raw:
            raw.secure()
            answer = authenticate(raw, "carol", "carol-secret", f"<resume xmlns='{SM}' h='1' previd='{previd}'/>")
            expect(answer.find(f"{{{SM}}}resumed") is not None, text(answer))
            raw.features()
            raw.send("<message to='x@spy.example'><body>resumed</body></message>")
            raw.ping()
            inner = s.double.of("carol")
            expect(b"resumed</body>" in inner.received and len(inner.headers) == 1, inner.received[-200:])
            sent = next(e for e in inner.elements if e.tag == f"{{{SASL2}}}authenticate").find(f"{{{SM}}}resume")
            expect(sent.attrib == {"h": "1", "previd": previd}, sent.attrib)
            for box in (s.edge, s.core):
                rows = [row for row in box.ctl("xmpp")["streams"] if row["user"] == f"carol@{DOMAIN}"]
                expect(len(rows) == 1 and rows[0]["resumable"], box.name, rows)
    finally:
        s.double.before = BEFORE
    s.no_streams()


# -- certificates of several domains

def names_of(raw):
    return {value for kind, value in raw.sock.getpeercert()["subjectAltName"] if kind == "DNS"}


@play.check
def b03_two_certificates(s):
    """B03, B02: `tls` with two sections: each domain's clients see its own certificate (SNI), over STARTTLS and direct TLS, others the first; the alarm for a domain without one comes and goes"""
    s.setting(tls="xmpp")
    s.edge.wait(lambda: any(MORE in str(a) for a in s.edge.alarms("xmpp-certificate")), 10, "the alarm")
    s.two_certificates()
    s.edge.wait(lambda: not s.edge.alarms("xmpp-certificate"), 10, "its end")
    for domain, other in ((DOMAIN, MORE), (MORE, DOMAIN)):
        for direct in (False, True):
            for version in (4, 6):
                with s.raw(domain, direct=direct, version=version) as raw:
                    raw.secure()
                    expect(domain in names_of(raw) and other not in names_of(raw), domain, names_of(raw))
                    expect(raw.sign_in_secure("alice") == f"alice@{domain}/raw", "bound")
            # a client that somebody else wrote
            done = s.lab.inet.run(
                ["openssl", "s_client", "-connect", "%s:%d" % s.place(), "-servername", domain, "-verify_hostname", domain,
                 "-verify_return_error", "-CAfile", s.ca, *([] if direct else ["-starttls", "xmpp", "-xmpphost", domain])],
                check=False)
            expect("Verify return code: 0 (ok)" in done.stdout, domain, done.stdout[-500:], done.stderr[-300:])
    for sni in ("", "nobody.example"):
        with s.raw(DOMAIN, sni=sni) as raw:
            if sni:
                raw.open()
                try:
                    raw.starttls()
                    raise AssertionError("a certificate for a name that is nobody's")
                except OSError as error:
                    expect("Hostname mismatch" in str(error), error)
            else:
                raw.secure()
                expect(raw.sign_in_secure("alice"), "without SNI")
    s.no_streams()


@play.check
def b03_one_name_another_stream(s):
    """B03: TLS asked for one domain and the stream for the other: policy-violation and a trace, both ways round"""
    s.two_certificates()
    for sni, to in ((DOMAIN, MORE), (MORE, DOMAIN)):
        n_before, n_inside = s.traces_of("xmpp.c2s.certificate-mismatch")[0], len(s.double.connections)
        for direct in (False, True):
            with s.raw(to, sni=sni, direct=direct) as raw:
                if not direct:
                    raw.open()
                    raw.starttls()
                raw.header()
                expect(raw.ending() == "policy-violation", sni, to)
        n, entries = s.traces_of("xmpp.c2s.certificate-mismatch")
        expect(n == n_before + 2 and entries[0]["decided_by"] == "[xmpp] tls", entries[:1])
        expect(len(s.double.connections) == n_inside, "the server was called")
    s.no_streams()


# -- guessing

def guess(s, users, netns, version=4, **more):
    """One wrong password after the other; (how many were looked at, the condition that ended it)."""
    n = 0
    for user in users:
        try:
            with s.raw(DOMAIN, netns, version, direct=True, **more) as raw:
                raw.secure()
                while name(raw.plain(user, f"guess-{n}")) == "failure":
                    n += 1
        except AssertionError:  # no features but an error
            return n
        except (Closed, OSError):
            pass
    return n


def is_let_in(s, netns, version=4, user="alice"):
    with s.raw(DOMAIN, netns, version, direct=True) as raw:
        raw.header()
        if name(raw.read(15)) == "error":
            return False
        return raw.sign_in_secure(user).startswith(user)


@play.check
def f31_stuffing(s):
    """31: passwords tried by the dozen from one source: after failures-per-minute it is refused before the server is asked, the right password too; others sign in all along"""
    users = [f"victim{i}" for i in range(40)]
    s.setting(failures_per_minute="10")
    try:
        n_before = s.traces_of("xmpp.c2s.throttled")[0]
        n_failures = s.edge.ctl("status")["modules"]["xmpp"]["sign-in-failures"]
        n_streams = len(s.double.connections)
        expect(guess(s, users, s.lab.inet) == 10, "guesses that were looked at")
        n, entries = s.traces_of("xmpp.c2s.throttled")
        expect(n > n_before and entries[0]["decided_by"] == "[xmpp] failures-per-minute", entries[:1])
        expect(s.lab.inet.v4 in str(entries[0]), entries[0])
        expect(s.edge.ctl("status")["modules"]["xmpp"]["sign-in-failures"] == n_failures + 10, "counted")
        n_streams = len(s.double.connections)
        for _ in range(20):
            expect(not is_let_in(s, s.lab.inet), "the attacker is let in by the right password")
            expect(is_let_in(s, s.lab.home), "somebody else is refused")
        with s.raw(DOMAIN, direct=True) as raw:
            raw.header()
            expect(raw.ending() == "policy-violation", "condition")
        expect(len(s.double.connections) == n_streams + 20, "the server was asked by the attacker")
        # IPv6 of the same host is another source; a /64 is one
        expect(is_let_in(s, s.lab.inet, 6), "by IPv6")
        expect(guess(s, users, s.lab.inet, 6) == 10, "guesses by IPv6")
        expect(not is_let_in(s, s.lab.inet, 6) and not is_let_in(s, s.lab.nat, 6), "the same /64")
        expect(is_let_in(s, s.lab.home, 6), "another /64")
        s.setting(failures_per_minute="0")
        expect(is_let_in(s, s.lab.inet) and is_let_in(s, s.lab.nat, 6), "without the setting")
    finally:
        s.setting(failures_per_minute="0")
    s.no_streams()


@play.check
def f31_streams_that_wait(s):
    """31: streams opened beforehand are of no use: each is refused at its next try; who signed in before from the same address stays"""
    code = base64.b64encode(b"\0dave\0no").decode()
    s.setting(failures_per_minute="5")
    try:
        honest = s.raw(DOMAIN, s.lab.home, direct=True)
        honest.sign_in("bob")
        waiting = [s.raw(DOMAIN, s.lab.home, direct=True) for _ in range(12)]
        for raw in waiting:
            raw.secure()
        n_looked_at = n_refused = 0
        for raw in waiting:
            raw.send(f"<auth xmlns='{SASL}' mechanism='PLAIN'>{code}</auth>")
            answer = raw.read(10)
            n_looked_at += name(answer) == "failure"
            n_refused += name(answer) == "error" and "policy-violation" in text(answer)
            raw.close()
        expect((n_looked_at, n_refused) == (5, 7), n_looked_at, n_refused)
        honest.ping()
        honest.close()
    finally:
        s.setting(failures_per_minute="0")
    s.no_streams()


@play.check
def no_secrets(s):
    """B06: no password that was tried, no certificate's answer is in a log or the trace of either box"""
    said = [base64.b64encode(f"\0{user}\0{password}".encode()).decode() for user, password in (
        ("alice", "alice-secret"), ("bob", "bob-secret"), ("carol", "carol-secret"), ("carol", "wrong"),
        ("victim0", "guess-0"), ("victim1", "guess-5"), ("dave", "no"))]
    said += [base64.b64encode(f"{user}@{DOMAIN}".encode()).decode() for user in ("alice", "carol")]
    for box in (s.edge, s.core):
        told = box.log_text() + str(box.ctl("trace", "")) + str(box.ctl("connections", "--ended"))
        for secret in (*said, "guess-", "-secret", "mechanism='"):
            expect(secret not in told, secret, "at", box.name)
    s.firewall_is_clean()


if __name__ == "__main__":
    sys.exit(play.run(Stage))

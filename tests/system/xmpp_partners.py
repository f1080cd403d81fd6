#!/usr/bin/env python3
"""Partners that differ: without TLS, with TLS from the first byte, quiet ones, unreachable ones; and what
`turnpikectl xmpp probe` says of each. partner.org is a Prosody that has no TLS for servers at all, double.org a double.
Checks begin with their rows of the checklist."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from lab.chat import chat_both_ways
from lab.pair import build
from lab.partner_double import PartnerDouble
from lab.partnercast import PartnerCast, message, result
from lab.play import Play, expect
from lab.prosody import Prosody
from lab.xmpp_raw import SASL, mechanisms, name, text
from lab.xmppcast import ADDRESS

play = Play()
SECTIONS = """
[partner partner.org]
tls = optional
auth = dialback

[partner double.org]

[partner nowhere.org]

[partner servfail.org]
"""
# double.org likes TLS from the first byte better, when somebody is there
DIRECT = "_xmpps-server._tcp IN SRV 5 10 5270 xmpp\n"
QUIET = "\n[federation]\nidle-timeout = 2s\n"


class Stage(PartnerCast):
    def __init__(self, lab):
        super().__init__(lab, servers=("prosody",), partners=("partner.org",), partner_sections=SECTIONS,
                         outside={"partner.org": {"s2s_tls": "off", "federation": "dialback"}},
                         records={"double.org": DIRECT})
        self.dave = self.office["example.com"]

    def error_from(self, jid, body, deadline_s=20):
        """dave says something, and it comes back: the condition."""
        self.dave.say(jid, body)
        return self.dave.wait("message", deadline_s, type="error", **{"from": jid})["error"]

    def partner_row(self, domain):
        rows = self.edge.ctl("xmpp", "--partner", domain)["partners"]
        expect(len(rows) == 1, domain, rows)
        return rows[0]

    def probe(self, domain, what, deadline_s=20):
        """Asks for it, and waits until what(row) holds; the row."""
        self.edge.ctl("xmpp", "probe", "example.com", domain)
        try:
            return self.edge.wait(lambda: (row := self.partner_row(domain)) and what(row) and row, deadline_s)
        except TimeoutError:
            raise AssertionError(f"the probe of {domain} comes to {self.partner_row(domain)}") from None

    def probe_fails(self, domain, *words):
        """The last error says all of that, on the way people see it too."""
        row = self.probe(domain, lambda row: all(word in row["last_error"] for word in words))
        expect(not row["out"]["open"] and row["last_error_at"], row)
        shown = " ".join(self.edge.text("xmpp", "--partner", domain).split())
        expect(all(word in shown for word in words), shown)
        return row


# -- B20: TLS by partner

@play.check
def b20_optional_and_off(s):
    """B20, B22: a partner without TLS (Prosody), tls = optional and tls = off: dialback both ways, whoever speaks first, in the clear"""
    for tls in ("optional", "off"):
        s.policy("partner.org", tls=tls)
        chat_both_ways(s.dave, s.alice, f"{tls}, E first")
        s.cut_off("partner.org")
        chat_both_ways(s.alice, s.dave, f"{tls}, partner first")
        expect(s.auths("partner.org") == {("in", "dialback"), ("out", "dialback")}, tls, s.auths("partner.org"))
        row = s.partner_row("partner.org")
        expect(row["in"]["open"] and row["out"]["open"] and not row["in"]["tls"] and not row["out"]["tls"], row)
    s.policy("partner.org", tls="optional")


@play.check
def b20_optional_uses_tls(s):
    """B20: with tls = optional a partner that has TLS gets it, both ways; with tls = off nobody is asked for it, and one that requires it is told"""
    try:
        s.policy("double.org", tls="optional", auth="dialback")
        expect(s.reaches_double("optional").is_tls, "no TLS to who offers it")
        with s.raw_partner() as raw:
            raw.header(sender="double.org")
            features = raw.features()
            expect(name(features[0]) == "starttls" and not features[0].findall("*"), text(features))
            raw.starttls()
            raw.header(sender="double.org")
            raw.features()
            expect(result(raw, "any").get("type") == "valid", "dialback in TLS")
            raw.send(message("optional, in TLS"))
            s.dave.hears("optional, in TLS")
        s.policy("double.org", tls="off", auth="dialback")
        expect(not s.reaches_double("off").is_tls, "TLS where it is off")
        s.cut_off("double.org")
        s.double.tls = "required"
        expect(s.error_from("eve@double.org", "off, but required") == "remote-server-timeout", "condition")
        expect(not s.double.has("off, but required"), "it went out")
        expect("requires TLS" in s.partner_row("double.org")["last_error"], s.partner_row("double.org"))
    finally:
        s.double.tls = True
        s.policy("double.org", tls=None, auth=None)


@play.check
def b20_required(s):
    """B20: the same partner with tls = required is refused both ways, with the reason in the trace and in the listing; nothing arrives"""
    s.policy("partner.org", tls="required")
    try:
        n_before = s.traces_of("xmpp.s2s.tls")[0]
        expect(s.error_from("alice@partner.org", "required, out") == "remote-server-timeout", "condition")
        row = s.partner_row("partner.org")
        expect("TLS is required" in row["last_error"] and not row["out"]["open"], row)
        n, entries = s.traces_of("xmpp.s2s.tls")
        expect(n > n_before and entries[0]["decided_by"] == "[partner partner.org]", entries[:1])
        s.alice.say("dave@example.com", "required, in")
        s.alice.wait("message", 30, type="error", **{"from": "dave@example.com"})
        with s.raw_partner() as raw:
            raw.header(sender="partner.org")
            features = raw.features()
            expect(name(features[0]) == "starttls" and "required" in [name(e) for e in features[0]], text(features))
            n_before = s.traces_of("xmpp.s2s.tls")[0]
            answer = result(raw, "any", "partner.org")
            expect(name(answer) == "error" or answer.get("type") == "error", text(answer))
            expect(s.traces_of("xmpp.s2s.tls")[0] > n_before, "no trace of who came in")
    finally:
        s.policy("partner.org", tls="optional")
    s.edge.ctl("xmpp", "probe", "example.com", "partner.org")  # at once, however often it failed
    chat_both_ways(s.dave, s.alice, "optional again")
    expect(not s.alice.has("message", body="required, out") and not s.dave.has("message", body="required, in"), "arrived")


# -- XEP-0368

@play.check
def b24_direct_tls(s):
    """B24, B02 (XEP-0368): the `_xmpps-server` record comes first: E speaks TLS from the first byte, with SNI and ALPN, shows its certificate; when nobody is there it goes on to STARTTLS"""
    s.cut_off("double.org")
    direct = PartnerDouble(s.lab.inet, ADDRESS["xmpp.double.org"], "double.org", s.pair_of("double.org"), s.ca,
                           port=5270, direct=True).start()
    s.double.forget()
    try:
        s.dave.say("eve@double.org", "from the first byte")
        stream, _ = direct.hears("from the first byte")
        expect(stream.is_tls and stream.authenticated == "external", stream.authenticated)
        expect(stream.sni == "double.org", stream.sni)
        expect(stream.sock.selected_alpn_protocol() == "xmpp-server", stream.sock.selected_alpn_protocol())
        expect(("DNS", "example.com") in stream.peer_cert["subjectAltName"], stream.peer_cert)
        expect(not s.double.streams, "somebody came to 5269")
        expect([row["remote"] for row in s.rows("double.org")] == [f"{ADDRESS['xmpp.double.org']}:5270"], s.rows("double.org"))
    finally:
        direct.stop()
    s.cut_off("double.org")
    s.reaches_double("by the other record")


@play.check
def b24_direct_tls_real(s):
    """B24, B21 (XEP-0368): the same with a Prosody, by SRV and by a static route; to E's own port a partner comes with TLS from the first byte too"""
    s.double.stop()
    s.cut_off("double.org")
    real = Prosody(s.lab.inet, "double.org", ADDRESS["xmpp.double.org"], ["double.org"], s.pair_of("double.org"), s.ca,
                   federation="any", s2s_direct=True).start()
    try:
        s.partners["double.org"] = real
        carol = s.partner("carol@double.org")
        for lines in ({}, {"routes": f"{ADDRESS['xmpp.double.org']}:5270", "direct_tls": "yes"}):
            s.policy("double.org", **lines)
            s.edge.ctl("xmpp", "probe", "example.com", "double.org")
            chat_both_ways(s.dave, carol, f"direct {sorted(lines)}")
            row = next(row for row in s.edge.ctl("xmpp", "--partner", "double.org")["streams"] if row["direction"] == "out")
            expect(row["address"].endswith(":5270") and row["tls"].startswith("TLSv1.3"), row)
            expect(row["auth"] == "external" and row["certificate_expires"], row)
        carol.quit()
    finally:
        real.stop()
        del s.partners["double.org"]
        s.policy("double.org", routes=None, direct_tls=None)
        s.double = PartnerDouble(s.lab.inet, ADDRESS["xmpp.double.org"], "double.org", s.pair_of("double.org"),
                                 s.ca).start()
    with s.raw_partner(cert=s.pair_of("double.org"), direct=True) as raw:
        expect(raw.sock.selected_alpn_protocol() == "xmpp-server", raw.sock.selected_alpn_protocol())
        raw.header(sender="double.org")
        features = raw.features()
        expect("EXTERNAL" in mechanisms(features) and name(features[0]) != "starttls", text(features))
        raw.send(f"<auth xmlns='{SASL}' mechanism='EXTERNAL'>=</auth>")
        expect(name(raw.read()) == "success", "EXTERNAL")
        raw.header(sender="double.org")
        raw.features()
        raw.send(message("TLS to E from the first byte"))
        s.dave.hears("TLS to E from the first byte")


# -- B27: quiet ones

@play.check
def b27_idle_close(s):
    """B27: streams without a stanza are closed after idle-timeout, with an end and no error, and their connection to C too; the next stanza, from either side, opens new ones"""
    s.section(QUIET, s.edge)
    try:
        for first, second in ((s.dave, s.alice), (s.alice, s.dave)):
            chat_both_ways(first, second, "before it is quiet")
            ids = {row["id"] for row in s.rows("partner.org")}
            expect(ids, "no stream")
            s.edge.wait(lambda: not s.rows("partner.org"), 30, "end of the idle streams")
            s.edge.wait(lambda: all(row["state"] == "idle" for row in s.edge.connections("xmpp-link")), 30,
                        "end of the pair's connection to C")
            ended = [row for row in s.edge.connections("xmpp-s2s", ended=True) if row["id"] in ids]
            expect(any("idle" in row["reason"] for row in ended), ended)
        chat_both_ways(s.alice, s.dave, "after it was quiet")
        expect(not ids & {row["id"] for row in s.rows("partner.org")}, "an old stream")
        s.reaches_double("and quiet")
        stream, _ = s.double.hears("and quiet")
        s.double.wait(lambda: stream.closed, 30, "the end of an idle stream")
        expect(stream.ended and not any(name(e) == "error" for e in stream.elements), "an end with an error")
    finally:
        s.section(QUIET, s.edge, gone=True)
    chat_both_ways(s.dave, s.alice, "with the setting as it was")


# -- B28: the test button

@play.check
def b28_probe_up(s):
    """B28: `turnpikectl xmpp probe` of a partner that is up: the stream stands, with authentication, TLS, expiry; without a stanza"""
    s.reaches_double("before the probe")
    s.cut_off("double.org")
    n_sent = s.partner_row("double.org")["sent"]
    row = s.probe("double.org", lambda row: row["out"]["open"])
    expect(row["out"]["auth"] == "external" and row["out"]["tls"].startswith("TLSv1."), row)
    expect(row["certificate_expires"] and row["sent"] == n_sent, row)
    ids = {row["id"] for row in s.rows("double.org")}
    s.probe("double.org", lambda row: row["out"]["open"])  # of one that stands: the same stream
    expect({row["id"] for row in s.rows("double.org")} == ids, "another stream")
    s.cut_off("double.org")
    shown = s.edge.text("xmpp", "probe", "example.com", "double.org")
    expect("double.org" in shown and "example.com" in shown, shown)


@play.check
def b28_probe_says_why(s):
    """B28: probes of partners that are down, unknown to DNS, behind a dead name server, without EXTERNAL, with an expired, foreign or other's certificate: each says what is wrong"""
    s.cut_off("double.org")
    good, address = s.double.cert, ADDRESS["xmpp.double.org"]
    try:
        s.policy("double.org", routes=f"{address}:9")
        s.probe_fails("double.org", address, "refused")
        s.policy("double.org", routes=None, auth="certificate")
        for flaw, words in (("expired", ("expired",)), ("foreign", ("not signed by", "lab foreign-ca")),
                            ("wrong-name", ("mallory.example.net", "double.org"))):
            s.double.cert = s.bad_certificate(flaw)
            s.probe_fails("double.org", *words)
        s.double.cert = good
        s.double.external = False
        s.probe_fails("double.org", "EXTERNAL is not offered")
        s.double.external, s.double.result = True, "invalid"
        s.policy("double.org", auth="dialback")
        s.probe_fails("double.org", "dialback key invalid")
        s.double.result, s.double.tls = "valid", False
        s.probe_fails("double.org", "TLS is required")
    finally:
        s.double.cert, s.double.external, s.double.result, s.double.tls = good, True, "valid", True
        s.policy("double.org", routes=None, auth=None)
    s.probe_fails("nowhere.org", "the name has no address")
    s.probe_fails("servfail.org", "DNS")
    s.probe("double.org", lambda row: row["out"]["open"])  # at once, though it has just failed


@play.check
def b28_probe_refused(s):
    """B28: a probe of who is no partner, of no domain of ours, of nonsense, and on C: refused with a reason, and nothing is opened"""
    def refused(box, *args):
        done = box.netns.run([build() / "turnpikectl", "--socket", box.socket, "xmpp", "probe", *args], check=False)
        expect(done.returncode != 0, args, done.stdout)
        return done.stdout + done.stderr
    n_before = s.traces_of("xmpp.s2s.denied")[0]
    expect("do not federate" in refused(s.edge, "example.com", "stranger.org"), "who is no partner")
    expect("do not federate" in refused(s.edge, "nobody.example", "double.org"), "no domain of ours")
    expect(s.traces_of("xmpp.s2s.denied")[0] == n_before + 2, "traces", s.traces_of("xmpp.s2s.denied"))
    expect("must be domains" in refused(s.edge, "example.com", "a b"), "nonsense")
    expect("usage" in refused(s.edge, "example.com").lower(), "one domain")
    expect("ask there" in refused(s.core, "example.com", "double.org"), "C")
    expect(not s.rows("stranger.org"), s.rows("stranger.org"))


@play.check
def nothing_inside(s):
    """the firewall saw nothing that E sent inside"""
    s.firewall_is_clean()


if __name__ == "__main__":
    sys.exit(play.run(Stage))

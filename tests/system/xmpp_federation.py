#!/usr/bin/env python3
"""Federation through E: a Prosody (partner.org) and an ejabberd (other.org) outside, both servers inside, and a
partner who does not play by the rules (double.org). Checks begin with their rows: B of XMPP federation."""

import datetime
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from lab.chat import chat_both_ways
from lab.partner_double import PartnerDouble
from lab.partnercast import PartnerCast, message, result
from lab.play import Play, expect
from lab.xmpp_raw import DIALBACK, SASL, Closed, mechanisms, name, text
from lab.xmppcast import ADDRESS

play = Play()
PARTNERS = "".join(f"\n[partner {domain}]\n" for domain in (
    "partner.org", "other.org", "double.org", "conference.partner.org", "conference.other.org"))
OURS = ("example.com", "example.net")


class Stage(PartnerCast):
    """alice and bob are at partners."""

    def __init__(self, lab):
        super().__init__(lab, servers=("prosody", "ejabberd"), partners=("partner.org", "other.org"),
                         partner_sections=PARTNERS, outside={"partner.org": {"bidi": True}})
        self.bob = self.partner("bob@other.org")
        self.abroad = {"partner.org": self.alice, "other.org": self.bob}


@play.check
def external(s):
    """B21: Prosody and ejabberd inside with Prosody and ejabberd outside, both directions, by certificate (EXTERNAL)"""
    for partner, who in s.abroad.items():
        s.policy(partner, auth="certificate")
        for domain in OURS:
            chat_both_ways(who, s.office[domain], f"external {partner} {domain}")
            chat_both_ways(s.office[domain], who, f"external back {partner} {domain}")
        expect({auth for _, auth in s.auths(partner)} == {"external"}, s.auths(partner))
        s.policy(partner, auth=None)


@play.check
def dialback(s):
    """B22: the same by dialback, keys made and checked by E"""
    for partner, who in s.abroad.items():
        s.policy(partner, auth="dialback")
        for domain in OURS:
            chat_both_ways(who, s.office[domain], f"dialback {partner} {domain}")
        expect({auth for _, auth in s.auths(partner)} == {"dialback"}, s.auths(partner))
        s.policy(partner, auth=None)


@play.check
def initiative(s):
    """B22, B27: who speaks first does not matter: streams that E opens, streams that the partner opens"""
    for partner, who in s.abroad.items():
        for domain in OURS:
            s.cut_off(partner)
            s.office[domain].say(who.jid, f"E first {domain}")
            who.hears(f"E first {domain}", 15)
            s.cut_off(partner)
            who.say(s.office[domain].jid, f"partner first {domain}")
            s.office[domain].hears(f"partner first {domain}", 15)


@play.check
def muc(s):
    """B26: rooms on both sides: users of partners in conference.example.com, ours in conference.other.org"""
    for domain, room_of in (("example.com", "example.com"), ("example.net", "other.org")):
        room = f"lobby@conference.{room_of}"
        people = [s.office[domain], s.alice, s.bob]
        for person in people:
            person.do("join", room=room, nick=person.jid.replace("@", "."))
        for i, person in enumerate(people):
            person.say(room, f"in {room_of} {i}", kind="groupchat")
            for other in people:
                other.hears(f"in {room_of} {i}", 15, type="groupchat")


@play.check
def presence(s):
    """subscriptions and presence cross the border both ways"""
    for who in s.abroad.values():
        dave = s.office["example.com"]
        dave.do("add", jid=who.jid)
        s.edge.wait(lambda w=who: dave.do("roster").get(w.jid) == "both" and w.do("roster").get(dave.jid) == "both",
                    15, "mutual subscription")
        who.at = len(who.host.events(who.name))
        dave.do("presence", show="away")
        who.wait("presence", type="away")
        dave.do("presence")


@play.check
def b20_tls(s):
    """B20: without TLS a partner is refused, in both directions; one partner may be named that needs none"""
    with s.raw_partner() as raw:
        raw.header(sender="double.org")
        features = raw.features()
        expect(name(features[0]) == "starttls" and len(features[0]) == 1 and not mechanisms(features),
               text(features))
        expect(result(raw, "deadbeef").get("type") in ("error", None), "dialback without TLS")
    with s.raw_partner() as raw:
        raw.header(sender="double.org")
        raw.features()
        raw.send(message("without TLS"))
        expect(raw.ending() in ("policy-violation", "not-authorized", "invalid-from"), "a stanza without TLS")
    s.double.tls = False
    try:
        s.office["example.com"].say("eve@double.org", "in the clear")
        s.office["example.com"].wait("message", 20, keep=True, type="error", **{"from": "eve@double.org"})
        expect(not s.double.has("in the clear"), "in the clear")
        s.policy("double.org", tls="off", auth="dialback")
        stream = s.reaches_double("in the clear, as told")
        expect(not stream.is_tls, "TLS")
    finally:
        s.double.tls = True
        s.policy("double.org", tls=None, auth=None)
    s.dave_hears_nothing_of("without TLS")


@play.check
def b21_certificates(s):
    """B21: expired, foreign, wrong-name and wrong-usage certificates: no EXTERNAL; not-authorized for who tries; E calls none of them"""
    s.policy("double.org", auth="certificate")
    good = s.double.cert
    try:
        for flaw in ("expired", "foreign", "wrong-name", "wrong-usage", None):
            cert = s.bad_certificate(flaw) if flaw else None
            for attempt in (f"<auth xmlns='{SASL}' mechanism='EXTERNAL'>=</auth>", ""):
                with s.raw_partner(cert=cert) as raw:
                    raw.header(sender="double.org")
                    raw.features()
                    try:
                        raw.starttls()
                        raw.header(sender="double.org")
                        answer = raw.read()
                        expect("EXTERNAL" not in mechanisms(answer), flaw, text(answer))
                        if name(answer) == "features":
                            raw.send(attempt + message(f"flaw {flaw}"))
                            answer = raw.read()
                        expect(name(answer) in ("failure", "error"), flaw, text(answer))
                    except (OSError, Closed):
                        pass  # refused in TLS: good too
            if cert is None:
                continue
            s.cut_off("double.org")
            s.double.cert = cert
            s.office["example.com"].say("eve@double.org", f"to {flaw}")
            s.office["example.com"].wait("message", 20, type="error", **{"from": "eve@double.org"})
            expect(not s.double.has(f"to {flaw}"), "a message went out to", flaw)
        expect(s.traces_of("xmpp.")[0] > 0, "no trace")
    finally:
        s.double.cert = good
        s.policy("double.org", auth=None)
    s.dave_hears_nothing_of(*(f"flaw {flaw}" for flaw in ("expired", "foreign", "wrong-name", "wrong-usage", None)))


@play.check
def b21_names(s):
    """B21: SRV-ID, xmppAddr, a wildcard: what they may vouch for; another's authorization identity is refused"""
    for tag, names, good in (
            ("srv", ("x.invalid", "otherName:1.3.6.1.5.5.7.8.7;IA5STRING:_xmpp-server.double.org"), True),
            ("addr", ("x.invalid", "otherName:1.3.6.1.5.5.7.8.5;UTF8:double.org"), True),
            ("sip", ("x.invalid", "otherName:1.3.6.1.5.5.7.8.7;IA5STRING:_xmpp-client.double.org"), False),
            ("wild", ("*.org",), True), ("deep", ("*.double.org",), False), ("part", ("doub*.org",), False)):
        s.pki.issue(f"names-{tag}", "public-ca", names, usage="both")
        raw, features = s.open_as(cert=f"names-{tag}")
        with raw:
            if tag != "wild":  # for or against a wildcard over a top-level domain: either is right
                expect(("EXTERNAL" in mechanisms(features)) == good, names, mechanisms(features))
    for identity in ("cGFydG5lci5vcmc=", "ZXhhbXBsZS5jb20="):  # partner.org, example.com
        raw, features = s.open_as()
        with raw:
            raw.send(f"<auth xmlns='{SASL}' mechanism='EXTERNAL'>{identity}</auth>")
            try:
                expect(name(raw.read()) in ("failure", "error"), "let in as another")
            except Closed:
                pass


@play.check
def b22_keys(s):
    """B22: a wrong key, a silent and a missing authoritative server, an answer nobody asked for (CVE-2021-32919): no proof, no stanza"""
    s.policy("double.org", auth="dialback")
    try:
        for verify in ("invalid", "error"):
            s.double.verify = verify
            with s.open_as()[0] as raw:
                answer = result(raw, "deadbeef")
                expect(answer.tag == f"{{{DIALBACK}}}result" and answer.get("type") in ("invalid", "error"), text(answer))
                try:
                    raw.send(message("wrong key"))
                    expect(raw.ending() in ("not-authorized", "invalid-from", "", None), "after a wrong key")
                except OSError:
                    pass
        s.double.verify = None
        with s.open_as()[0] as raw:  # unsolicited
            raw.send("<db:verify from='double.org' to='example.com' id='x' type='valid'/>"
                     "<db:result from='double.org' to='example.com' type='valid'/>" + message("unsolicited"))
            expect(raw.ending() in ("not-authorized", "invalid-from", "policy-violation"), "unsolicited")
        with s.open_as()[0] as raw:  # while the question is out
            raw.send("<db:result from='double.org' to='example.com'>deadbeef</db:result>" + message("meanwhile"))
            expect(raw.ending() in ("not-authorized", "invalid-from", "policy-violation"), "meanwhile")
        with s.open_as()[0] as raw:
            raw.send(message("no proof"))
            expect(raw.ending() in ("not-authorized", "invalid-from", "policy-violation"), "no proof")
        with s.with_section("\n[partner nowhere.org]\nauth = dialback\n"), s.open_as("nowhere.org")[0] as raw:
            answer = result(raw, "deadbeef", "nowhere.org")
            expect(answer.get("type") in ("error", "invalid") or name(answer) == "error", text(answer))
        s.double.verify = "valid"
        with s.open_as()[0] as raw:
            expect(result(raw, "anything").get("type") == "valid", "a good key")
            raw.send(message("good key"))
            s.office["example.com"].hears("good key")
    finally:
        s.double.verify = "valid"
        s.policy("double.org", auth=None)
    s.dave_hears_nothing_of("wrong key", "unsolicited", "meanwhile", "no proof")


@play.check
def b22_authority(s):
    """B22: E as the authority: its own keys are valid, any other is not; nobody learns a key of another pair"""
    s.policy("double.org", auth="dialback")
    try:
        stream = s.reaches_double("ask for my key")
        asked = next(e for e in stream.elements if e.tag == f"{{{DIALBACK}}}result")
        ident = f"s{id(stream)}"
        with s.open_as()[0] as raw:
            for key, sender, to, stream_id, good in (
                    (asked.text, "double.org", "example.com", ident, True),
                    ("0" * 64, "double.org", "example.com", ident, False),
                    (asked.text, "double.org", "example.com", "another", False),
                    (asked.text, "double.org", "example.net", ident, False),
                    (asked.text, "partner.org", "example.com", ident, False),
                    (asked.text[:-1], "double.org", "example.com", ident, False), ("", "double.org", "example.com", ident, False)):
                raw.send(f"<db:verify from='{sender}' to='{to}' id='{stream_id}'>{key}</db:verify>")
                answer = raw.read()
                expect(answer.tag == f"{{{DIALBACK}}}verify" and (answer.get("type") == "valid") == good, key, text(answer))
    finally:
        s.policy("double.org", auth=None)


@play.check
def b23_from(s):
    """B23: every stanza's from must be of the authenticated domain and its to of ours: else invalid-from or so, and the end"""
    for stanza in (message("spoofed", "alice@partner.org"), message("spoofed", "dave@example.net"),
                   message("spoofed", "eve@sub.double.org"), message("spoofed", "eve@double.org.partner.org"),
                   message("spoofed", ""), "<message to='dave@example.com'><body>spoofed</body></message>",
                   message("spoofed", "dave@example.com"),
                   message("spoofed", to="dave@example.net"), message("spoofed", to="alice@partner.org"),
                   "<message from='eve@double.org'><body>spoofed</body></message>",
                   "<iq type='set' id='1' from='alice@partner.org/x' to='dave@example.com'><x xmlns='a'/></iq>",
                   "<presence type='subscribe' from='alice@partner.org' to='dave@example.com'/>"):
        with s.external() as raw:
            raw.send(message("honest") + stanza)
            expect(raw.ending() in ("invalid-from", "improper-addressing", "host-unknown"), stanza)
        s.cut_off("double.org")
    s.office["example.com"].hears("honest")
    s.dave_hears_nothing_of("spoofed")
    expect(not s.alice.has("message", body="spoofed"), "through us to a partner")


@play.check
def b24_dns(s):
    """B24: no such domain: remote-server-not-found; nobody listens, or DNS fails: remote-server-timeout; the sender is told"""
    dave = s.office["example.com"]
    with s.with_section("\n[partner nowhere.org]\n\n[partner deaf.org]\nroutes = 198.51.100.31:9\n"
                        "\n[partner servfail.org]\n"):
        for domain, condition in (("nowhere.org", "remote-server-not-found"), ("deaf.org", "remote-server-timeout"),
                                  ("servfail.org", "remote-server-timeout")):
            dave.say(f"x@{domain}", "to nobody")
            error = dave.wait("message", 25, keep=True, type="error", **{"from": f"x@{domain}"})["error"]
            expect(error == condition, domain, error)


@play.check
def b24_static_route(s):
    """B24, X5 of the product list: a static route is used instead of DNS, and back"""
    s.policy("double.org", routes=f"{ADDRESS['xmpp.other.org']}:9 {ADDRESS['xmpp.double.org']}:5299")
    other = PartnerDouble(s.lab.inet, ADDRESS["xmpp.double.org"], "double.org", s.pair_of("double.org"), s.ca,
                          port=5299).start()
    try:
        s.office["example.com"].say("eve@double.org", "by the static route")
        other.hears("by the static route", 15)
    finally:
        other.stop()
        s.policy("double.org", routes=None)
    s.reaches_double("by DNS again")


@play.check
def b26_lists(s):
    """B26: allow-list, deny-list, off: who is not allowed is refused inbound and outbound, with a reason; the others stay"""
    dave = s.office["example.com"]
    chat_both_ways(s.bob, dave, "before")
    ids = {row["id"] for row in s.rows("other.org")}
    expect(ids, "no stream with other.org")

    def refused(tag):
        n_before = s.traces_of("xmpp.")[0]
        raw = s.raw_partner(cert=s.pair_of("double.org"))
        with raw:
            try:
                raw.header(sender="double.org")
                raw.features()
                raw.starttls()
                raw.header(sender="double.org")
                raw.features()
                raw.send(f"<auth xmlns='{SASL}' mechanism='EXTERNAL'>=</auth>")
                answer = raw.read()
                expect(name(answer) != "success", tag, "let in")
            except Closed:
                pass
            except AssertionError as error:
                expect("error" in str(error) or "failure" in str(error), tag, error)
        dave.say("eve@double.org", f"refused {tag}")
        dave.wait("message", 15, type="error", **{"from": "eve@double.org"})
        expect(not s.double.has(f"refused {tag}"), tag, "went out")
        expect(s.traces_of("xmpp.")[0] > n_before, "no trace of", tag)
    s.setting(s.core, "partner double.org", enabled="no")
    refused("partner off")
    s.setting(s.core, "partner double.org", enabled=None)
    s.section("[partner double.org]\n", gone=True)
    refused("no rule")
    s.setting(s.core, "federation", mode="deny-list", deny="double.org")
    refused("denied")
    expect(ids <= {row["id"] for row in s.rows("other.org")}, "streams of others were cut")
    chat_both_ways(s.bob, dave, "meanwhile")
    s.setting(s.core, "federation", deny=None)
    with s.external() as raw:
        raw.send(message("open to all"))
        dave.hears("open to all")
    s.setting(s.core, "federation", mode="allow-list")
    s.section("\n[partner double.org]\n")
    s.external().close()
    expect(ids <= {row["id"] for row in s.rows("other.org")}, "streams of others were cut")
    chat_both_ways(s.bob, dave, "after")


@play.check
def one_off_others_on(s):
    """B26: turning a partner or a domain off cuts that one at once and drops nobody else"""
    for who in s.abroad.values():
        for domain in OURS:
            chat_both_ways(who, s.office[domain], f"on {who.jid}")
    kept = {row["id"] for row in s.rows("other.org")}
    s.setting(s.core, "partner partner.org", enabled="no")
    s.edge.wait(lambda: not s.rows("partner.org"), 5, "end of the streams with partner.org")
    expect(kept <= {row["id"] for row in s.rows("other.org")}, "others were cut")
    s.setting(s.core, "partner partner.org", enabled=None)
    chat_both_ways(s.alice, s.office["example.com"], "on again")
    s.setting(s.core, "domain example.net", federation="no")
    try:
        s.edge.wait(lambda: not any("example.net" in str(row) for row in s.rows("other.org")), 5, "end of example.net")
        chat_both_ways(s.bob, s.office["example.com"], "example.com goes on")
    finally:
        s.setting(s.core, "domain example.net", federation="yes")
    chat_both_ways(s.bob, s.office["example.net"], "example.net again")


@play.check
def lost_and_found(s):
    """B27: a partner's server goes and comes back: what is said meanwhile comes back as an error or arrives, then all is well"""
    s.partners["partner.org"].kill()
    s.office["example.com"].say("alice@partner.org", "is anybody there")
    s.office["example.com"].wait("message", 20, type="error", **{"from": "alice@partner.org"})
    s.partners["partner.org"].start()
    s.alice = s.abroad["partner.org"] = s.partner("alice@partner.org")
    s.edge.wait(lambda: _delivered(s, "alice@partner.org"), 30, "a message to partner.org")
    chat_both_ways(s.alice, s.office["example.com"], "back")


def _delivered(s, jid):
    body = f"hello {time.monotonic()}"
    s.office["example.com"].say(jid, body)
    try:
        s.alice.hears(body, 2)
        return True
    except TimeoutError:
        return False


@play.check
def b28_status(s):
    """B28: turnpikectl xmpp shows each partner: direction, authentication, TLS, expiry of the certificate, last error"""
    chat_both_ways(s.bob, s.office["example.com"], "status")
    partners = {row["remote"]: row for row in s.edge.ctl("xmpp")["partners"] if row["local"] == "example.com"}
    row = partners["other.org"]
    ways = [row[way] for way in ("in", "out") if row[way]["open"]]
    expect(ways and all(way["tls"].startswith("TLSv1.") and way["auth"] in ("external", "dialback")
                        for way in ways), row)
    expect(row["sent"] > 0 and row["received"] > 0, row)
    expires = datetime.datetime.fromisoformat(row["certificate_expires"].replace("Z", "+00:00"))
    expect(28 < (expires.timestamp() - time.time()) / 86400 < 31, row)
    expect(partners["double.org"]["last_error"], partners["double.org"])
    human = s.edge.text("xmpp")
    expect("other.org" in human and "partner.org" in human, human)


@play.check
def nothing_inside(s):
    """the firewall saw nothing that E sent inside"""
    s.firewall_is_clean()


if __name__ == "__main__":
    sys.exit(play.run(Stage))

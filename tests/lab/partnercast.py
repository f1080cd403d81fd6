"""The cast of tests of federation: XmppCast, and what is done to and seen of partners. double.org is a double."""

import time

from .chat import chat_both_ways
from .partner_double import PartnerDouble
from .play import expect
from .xmpp_raw import SASL, mechanisms, name, text
from .xmppcast import ADDRESS, XmppCast


class PartnerCast(XmppCast):
    """dave is in the office of each of our domains, alice is at partner.org; nobody is a chat client of E."""

    def __init__(self, lab, double=True, **words):
        super().__init__(lab, **words)
        self.double = PartnerDouble(lab.inet, ADDRESS["xmpp.double.org"], "double.org", self.pair_of("double.org"),
                                    self.ca).start() if double else None
        domains = [domain for server in self.servers.values() for domain in server.domains]
        self.office = {domain: self.inside(f"dave@{domain}") for domain in domains}
        self.alice = self.partner("alice@partner.org")

    def rows(self, partner):
        """E's streams with a partner, oldest first."""
        return [row for row in self.edge.connections("xmpp-s2s") if partner in str(row)]

    def cut_off(self, *partners):
        """No stream with them stands any more."""
        def gone(partner):
            rows = self.rows(partner)
            for row in rows:  # what waits for delivery may open new ones
                self.edge.ctl("disconnect", row["id"], check=False)
            return not rows
        for partner in partners:
            self.edge.wait(lambda p=partner: gone(p), 10, f"end of the streams with {partner}")

    def policy(self, partner, **lines):
        """The lines of [partner ...] from now on; what stands is cut, so that it counts."""
        self.setting(self.core, f"partner {partner}", **lines)
        self.cut_off(partner)

    def auths(self, partner):
        """How the streams with it were authenticated: {(direction, authentication)}."""
        return {(row["direction"], row["auth"]) for row in self.edge.ctl("xmpp")["streams"]
                if row["kind"] == "xmpp-s2s" and row["remote"] == partner and row["auth"]}

    def open_as(self, sender="double.org", to="example.com", cert="double.org", **more):
        """A stream to E within TLS: (raw, features)."""
        raw = self.raw_partner(to, self.pair_of(cert) if isinstance(cert, str) else cert, **more)
        raw.header(sender=sender)
        raw.features()
        raw.starttls()
        raw.header(sender=sender)
        return raw, raw.features()

    def external(self, sender="double.org", **more):
        """A stream to E that is authenticated by certificate."""
        raw, features = self.open_as(sender, **more)
        expect("EXTERNAL" in mechanisms(features), text(features))
        raw.send(f"<auth xmlns='{SASL}' mechanism='EXTERNAL'>=</auth>")
        answer = raw.read()
        expect(name(answer) == "success", text(answer))
        raw.header(sender=sender)
        raw.features()
        return raw

    def reaches_double(self, body, deadline_s=20.0):
        """dave says it again until it arrives (who has just failed is not called at once); the stream."""
        give_up = time.monotonic() + deadline_s
        while True:
            self.office["example.com"].say("eve@double.org", body)
            try:
                return self.double.hears(body, 1.0)[0]
            except TimeoutError:
                expect(time.monotonic() < give_up, "does not arrive:", body)

    def dave_hears_nothing_of(self, *bodies):
        """What is said next by a good way arrives, and those have not."""
        chat_both_ways(self.alice, self.office["example.com"], f"probe {time.monotonic()}")
        for dave in self.office.values():
            for body in bodies:
                expect(not dave.has("message", body=body), "dave heard", body)


def message(body, sender="eve@double.org", to="dave@example.com"):
    return f"<message from='{sender}' to='{to}' type='chat'><body>{body}</body></message>"


def result(raw, key, sender="double.org", to="example.com"):
    """What E says to a dialback key."""
    raw.send(f"<db:result from='{sender}' to='{to}'>{key}</db:result>")
    return raw.read(15)

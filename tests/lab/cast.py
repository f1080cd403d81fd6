"""The cast of most system tests: the pair, the PBX, and phones on every side."""

import time

from .kamailio import Kamailio
from .pair import Pair
from .phone import Phone
from .pki import Pki
from .play import expect
from .tone import wait_heard

HZ = {"alice": 440, "bob": 660, "carol": 880, "dave": 1130}


class Cast:
    """alice: outside, in the open; carol: outside, behind the NAT; bob: inside, at a desk."""

    def __init__(self, lab, **pair):
        self.lab = lab
        self.pki = Pki(lab.work / "pki")
        self.prepare()
        self.pbx = Kamailio(lab.pbx).start()
        self.pair = Pair(lab, self.pki, **pair).start()
        self.edge, self.core = self.pair.edge, self.pair.core
        self.phones = {}

    def prepare(self):
        """Who else must be there before the pair starts."""

    def outside(self, user, netns=None, version=4, **more):
        """A phone that knows nothing but E, by TLS with SRTP."""
        lab = self.lab
        proxy = (lab.dmz.v6 if version == 6 else lab.dmz.v4, 5061)
        options = {"transport": "tls", "mediaenc": "srtp-mand", "hz": HZ[user], "ipv6": version == 6,
                   **more}
        return self._phone(user, netns or lab.inet, proxy, options)

    def inside(self, user, **more):
        return self._phone(user, self.lab.desk, (self.lab.pbx.v4, 5060), {"hz": HZ[user], **more})

    def _phone(self, user, netns, proxy, options):
        name = options.pop("name", user)
        if name in self.phones:
            return self.phones[name]
        phone = Phone(netns, user, f"{user}-secret", proxy, name=name, **options).start()
        phone.wait_registered()
        self.phones[name] = phone
        return phone

    def leave(self, phone):
        self.phones.pop(phone.name).stop()

    def call(self, caller, callee):
        caller.dial(callee.uri)
        callee.wait_incoming()
        callee.accept()
        caller.wait_established()
        callee.wait_established()

    def heard(self, *pairs, deadline_s=12.0):
        """Each phone hears the tone of the other, for a second at least."""
        for a, b in (pairs[i:i + 2] for i in range(0, len(pairs), 2)):
            for ear, mouth in ((a, b), (b, a)):
                found = wait_heard(ear, mouth.hz, deadline_s=deadline_s)
                expect(found, f"{ear.name} does not hear {mouth.name}: {found}")

    def hang_up(self, caller, callee):
        caller.hangup()
        callee.wait_closed()
        self.quiet()

    def quiet(self, deadline_s=10.0):
        """No call is left on either box, nor media of one."""
        for box in (self.edge, self.core):
            box.wait(lambda: not box.ctl("calls")["calls"] and not [
                c for c in box.ctl("connections")["connections"] if c["kind"] in ("media", "leg")],
                deadline_s, "end of all calls")

    def firewall_is_clean(self):
        counters = self.lab.firewall.counters()
        expect(counters["dmz_to_lan_dropped"] == 0, counters)

    def until(self, condition, deadline_s=10.0, what="condition"):
        give_up = time.monotonic() + deadline_s
        while not (value := condition()):
            expect(time.monotonic() < give_up, what, "did not come true in", deadline_s, "s")
            time.sleep(0.05)
        return value

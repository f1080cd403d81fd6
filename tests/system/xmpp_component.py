#!/usr/bin/env python3
"""Federation whose inside leg is a component of the IM server (XEP-0114): Prosody inside has partner domains as
components, ejabberd is the partner outside."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from lab.chat import chat_both_ways
from lab.play import Play, expect
from lab.xmppcast import XmppCast

play = Play()
SECRET = "component-secret-4711"


class Stage(XmppCast):
    def __init__(self, lab):
        components = {domain: SECRET for domain in ("other.org", "conference.other.org")}
        super().__init__(lab, servers=("prosody",), partners=("other.org",),
                         inside={"prosody": {"federation": None, "components": components}},
                         prosody=f"federation = component\ncomponent-secret = {SECRET}",
                         partner_sections="\n[partner other.org]\n\n[partner conference.other.org]\n")
        self.dave = self.inside("dave@example.com")
        self.bob = self.partner("bob@other.org")


@play.check
def both_ways(s):
    """a partner's user and one inside chat, whoever begins, and see each other's presence"""
    chat_both_ways(s.dave, s.bob, "from inside")
    chat_both_ways(s.bob, s.dave, "from outside")
    s.dave.do("add", jid=s.bob.jid)
    s.edge.wait(lambda: s.dave.do("roster").get(s.bob.jid) == "both", 15, "mutual subscription")


@play.check
def muc(s):
    """a partner's user in a room inside, and one from inside in a room of the partner"""
    for room in ("hall@conference.example.com", "hall@conference.other.org"):
        for one in (s.dave, s.bob):
            one.do("join", room=room, nick=one.jid.partition("@")[0])
        s.bob.say(room, f"in {room}", kind="groupchat")
        s.dave.hears(f"in {room}")


@play.check
def restart(s):
    """the IM server restarts: the component is back by itself, and stanzas pass again"""
    s.servers["imp1"].kill()
    s.servers["imp1"].start()
    s.dave = s.inside("dave@example.com")

    def heard():
        tag = f"after the restart {next(s.bob.host.numbers)}"
        s.bob.say(s.dave.jid, tag)
        try:
            return s.dave.hears(tag, 1.5)
        except TimeoutError:
            return None
    s.core.wait(heard, 30, "a message after the restart")
    chat_both_ways(s.dave, s.bob, "again")


@play.check
def wrong_secret(s):
    """a wrong secret: nothing passes, the sender is told, an alarm says so, and no secret is in a log"""
    s.setting(s.core, "im-server imp1", component_secret="wrong-secret-0815")
    try:
        s.bob.say(s.dave.jid, "with a wrong secret")
        s.bob.wait("message", 45, keep=True, type="error")
        expect(not s.dave.has("message", body="with a wrong secret"), "it passed")
        expect(s.core.alarms("xmpp-component"), s.core.alarms())
    finally:
        s.setting(s.core, "im-server imp1", component_secret=SECRET)
    s.core.wait(lambda: not s.core.alarms("xmpp-component"), 30, "end of the alarm")
    for box in (s.edge, s.core):
        for secret in (SECRET, "wrong-secret-0815"):
            expect(secret not in box.log_text(), secret, "in the log")
    s.firewall_is_clean()


if __name__ == "__main__":
    sys.exit(play.run(Stage))

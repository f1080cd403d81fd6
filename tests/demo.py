#!/usr/bin/env python3
"""turnpike shown at work; scripts/demo installs what is missing and starts this. As root on Debian 12:

    scripts/demo          installs what is missing, builds, starts everything, calls, chats, stays up until Ctrl-C
    scripts/demo --once   exits when all is shown; 0 only if every step worked

Phones, an app, a chat client and browsers outside, a NAT, E in a DMZ, a firewall, C, a PBX, a phone, a chat client,
call managers, an IM server, web servers and guest servers inside, all in network namespaces of this machine.
"""
import concurrent.futures
import os
import pathlib
import signal
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOP / "tests"))

from lab.chat import ChatHost
from lab.chromium import Chromium, Room
from lab.guests import SERVERS, SITE, Guests
from lab.mra_client import servers_of
from lab.pair import build
from lab.play import expect
from lab.prosody import Prosody
from lab.turncast import TurnCast
from lab.webcast import WebCast
from lab.webclient import WebClient

EDGE_CHAT = """
[tls xmpp]
certificate = {pki}/edge-xmpp.crt
key = {pki}/edge-xmpp.key

[xmpp]
tls = xmpp
pool-tls = pair
"""
CORE_CHAT = """
[xmpp]
pool-tls = pair

[im-server imp1]
domains = example.com
hosts = imp1.example.com
ca = uc
"""


def prepare():
    for argv in (["cmake", "--preset", "release"],
                 ["cmake", "--build", "--preset", "release"]):
        done = subprocess.run(argv, cwd=TOP, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            sys.exit(f"{done.stdout}\nscripts/demo: {argv[0]} failed")


class Show:
    def __init__(self):
        self.n_passed = self.n_failed = 0

    def step(self, text, work):
        """Runs work; prints whether the step did what it says."""
        try:
            work()
            self.n_passed += 1
            print(f"ok    {text}", flush=True)
        except Exception as error:
            self.n_failed += 1
            print(f"FAIL  {text}\n      {type(error).__name__}: {error}", flush=True)


class Everybody(WebCast, TurnCast):
    """The cast of the web, with TURN, C's API, three servers of a guest service, and Prosody."""

    def __init__(self, lab):
        self.guests = Guests(lab)
        self.prosody = None
        self.browsers = []
        WebCast.__init__(self, lab, turn=True, edge_web_more="\n" + SITE.strip(),
                         edge_more=EDGE_CHAT.format(pki=lab.work / "pki"), domain_more="im = yes",
                         core_more=SERVERS.format(ca=self.guests.ca) + CORE_CHAT)
        self.ca = self.pki.cert("public-ca")

    def prepare(self):
        self.guests.start()
        self.pki.issue("edge-xmpp", "public-ca", ("edge1.example.com", "example.com"))
        self.pki.issue("imp1", "uc-ca", ("imp1.example.com", "example.com"))
        self.prosody = Prosody(self.lab.uc, "imp1", "10.20.0.44", ["example.com"],
                               (self.pki.cert("imp1"), self.pki.key("imp1")), self.pki.cert("uc-ca"))
        self.prosody.launch()
        super().prepare()
        self.prosody.wait_ready()

    def chatters(self):
        """alice on the internet, who knows E alone, and bob at a desk, at the IM server itself."""
        outside = ChatHost(self.lab.inet, self.ca)
        inside = ChatHost(self.lab.desk, self.pki.cert("uc-ca"))
        return (outside.client("alice@example.com", (self.lab.dmz.v4, 5222)),
                inside.client("bob@example.com", self.prosody.place[:2]))

    def page(self, port=9443, path="/call", tls=True):
        """What a guest's browser asks E for."""
        client = WebClient(self.lab.inet, (self.lab.dmz.v4, port), self.ca, tls=tls)
        try:
            return client.ask("GET", path)
        finally:
            client.close()

    def leave_all(self):
        for browser in self.browsers:
            browser.stop()


def play(lab, show):
    from lab.tone import heard

    box = {}

    def start():
        box["c"] = Everybody(lab)

    show.step("E, C, a PBX, call managers, Prosody, web and guest servers run; C dialled E by mutual TLS and by SSH",
              start)
    if "c" not in box:
        return None
    c = box["c"]

    app = c.client("alice", signed_in=False)
    sign_in(app, show)

    def register():
        c.outside("alice")
        c.outside("carol", lab.home)
        c.inside("bob")

    show.step("phones register at the PBX inside: alice on the internet, carol behind a NAT, bob at a desk", register)
    if len(c.phones) < 3:
        return c
    alice, carol, bob = (c.phones[n] for n in ("alice", "carol", "bob"))

    def call(a, b):
        c.call(a, b)
        c.heard(a, b)
        if (a, b) == (alice, bob):
            print(c.edge.text("calls") + "\n" + c.core.text("calls"))
        c.hang_up(a, b)

    for a, b in ((alice, bob), (bob, alice), (carol, bob), (alice, carol)):
        show.step(f"{a.user} calls {b.user}: each hears the other's tone", lambda a=a, b=b: call(a, b))
    for phone, other in ((alice, carol), (carol, alice)):
        tone = heard(phone.recording(), other.hz)
        print(f"      {phone.user} heard {other.hz} Hz for {tone.tone_ms} ms of {tone.total_ms} ms, "
              f"share of the tone {tone.ratio:.3f}")
    chat(c, show)
    browse(c, app, show)
    visit(c, show)
    show.step("the firewall saw nothing that E opened toward C", c.firewall_is_clean)
    print("\nWhat passed through the firewall\n" + lab.firewall.table() + "\n")
    print("Zones on C\n" + c.core.text("zones"))
    print("Where would bob@example.com go, asked on C\n" + c.core.text("locate", "bob@example.com"))
    return c


def sign_in(app, show):
    def work():
        app.discover()
        app.sign_in()
        print(f"      cookie of {len(app.cookie)} characters; her services inside: "
              + ", ".join(f"{host}:{port}" for host, port in servers_of(app.config, "_cisco-uds")))

    show.step("alice's app finds E by SRV and signs in with her password, which a call manager inside checks", work)


def chat(c, show):
    """alice is outside, bob inside; Prosody checks her password and knows nothing of the pair."""
    people = []

    def sign_in_to_chat():
        people.extend(c.chatters())
        row = next(row for row in c.edge.ctl("xmpp")["streams"] if row["user"] == "alice@example.com")
        print(f"      {row['user']} signed in with {row['auth']}, {row['tls']}, resumable: {row['resumable']}")

    def message(one, other, body):
        one.say(other.jid, body)
        heard = other.hears(body)
        expect(heard["from"].startswith(one.jid), "from", heard)
        print(f"      {other.jid} reads, from {heard['from']}: {heard['body']}")

    def both_ways():
        alice, bob = people
        message(alice, bob, "Are you at your desk?")
        message(bob, alice, "Yes. Call me.")

    def resumed():
        alice, bob = people
        expect(alice.cut_and_resume(), "a new session instead of the old one")
        message(bob, alice, "Still there?")

    show.step("alice's chat client outside signs in at the IM server inside (SASL passes untouched)", sign_in_to_chat)
    show.step("alice outside and bob inside write to each other", both_ways)
    show.step("her connection is cut: her client resumes its session (XEP-0198)", resumed)
    for box in (c.edge, c.core):
        print(f"\nChat on {box.name}\n" + box.text("xmpp"))


def browse(c, alice, show):
    """The web side: alice uses what lives inside; her phone, her chat and her app are one session."""
    def page():
        answer = alice.get("https://web1.example.com/pages/index.html")
        expect(answer.status == 200, answer)
        print(f"      {answer.status} from {answer.get('server')}: {answer.text.strip()}")

    def directory():
        found = alice.directory(alice.home_user("cucm1.example.com"), "bob")
        expect(found == ["bob"], found)
        print(f"      looking for bob in the directory inside found {', '.join(found)}")

    def refused():
        answer = alice.get("https://pbx.example.com/")
        expect(answer.status == 403, answer)
        verdict = c.core.allows("https://pbx.example.com/")
        print(f"      403; C says why: {verdict['why']}")

    def one_session():
        ids = [{row["session"] for row in box.connections() if row["user"] == "alice@example.com" and row["kind"] in
                ("signin", "http", "registration", "xmpp")} for box in (c.edge, c.core)]
        expect(len(ids[0]) == 1 and ids[0] == ids[1], ids)

    show.step("a page of nginx inside comes through E and C", page)
    show.step("she asks the directory of the call manager", directory)
    show.step("a server that nobody listed is refused", refused)
    show.step("sign-in, web requests, chat and the phone's registration are one session, on both boxes", one_session)
    for box in (c.edge, c.core):
        print(f"\nConnections of alice on {box.name}\n" + box.text("connections", "--user", "alice@example.com"))


def visit(c, show):
    """Guests: nobody has an account, all have a link."""
    def page():
        answer = c.page(9980, tls=False)
        expect(answer.status == 301, answer)
        print(f"      http, port 9980: {answer.status} to {answer.get('location')}")
        c.until(lambda: c.page().status == 200, 15, "the guest page")
        answer = c.page()
        expect(answer.text.strip() == "guest1" and c.page(path="/other").status == 404, answer)
        print(f"      https, port 9443: {answer.status} from {answer.text.strip()}; anything but /call and /jabberc: 404")

    def credential():
        made = c.credentials(user="ann")
        uris = made["uris"]
        print(f"      {made['username']}, for {made['ttl']} s, {len(uris)} addresses: {uris[0]}, ... {uris[-1]}")

    def talk():
        trust = c.pki.cert("edge-public")
        c.browsers = [Chromium(c.lab.inet, "ann", trust), Chromium(c.lab.home, "ben", trust)]
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            list(pool.map(Chromium.start, c.browsers))
        room = Room(*c.browsers)
        room.meet(tuple(ice_servers(c, browser.name) for browser in c.browsers))
        for browser, grown, side in zip(c.browsers, room.flows(), room.stats()):
            local, remote = side["pair"]["local"], side["pair"]["remote"]
            expect(local["type"] == "relay" and remote["address"] == c.lab.dmz.v4, side)
            print(f"      {browser.name}'s relay is {local['address']}:{local['port']}; came from the other: "
                  f"{grown['framesDecoded']} pictures, {grown['audioPackets']} packets of sound")

    def listed():
        rows = [row for row in c.edge.ctl("turn")["allocations"] if row["rx_packets"] and row["tx_packets"]]
        expect({row["user"] for row in rows} == {"ann@example.com", "ben@example.com"}, rows)
        print("\n" + c.edge.text("turn"))

    def refused():
        with c.turn(user=c.minted(user="mallory")) as client:
            client.relay()
            expect(client.permit((c.lab.pbx.v4, 0)).code == 403, "a relay may send to the PBX")
            client.refresh(0)
        print("      403; E says why:\n" + c.edge.text("trace", "turn."))

    def killed():
        c.guests.stop("guest1")
        answer = c.page()
        expect(answer.status == 200 and answer.text.strip() == "guest2", answer)
        c.core.wait(lambda: "down" in c.core.text("backends"), 10, "guest1 down")
        print(f"      {answer.status} from {answer.text.strip()}\n" + c.core.text("backends"))

    show.step("a guest follows a link: http leads to https, and the page of the best guest server inside comes", page)
    show.step("a guest server inside asks C for a credential of the TURN server", credential)
    show.step("two browsers, one behind the NAT, see and hear each other by relays of E and nothing else", talk)
    show.step("turnpikectl turn on E shows who has which relay, and what goes through it", listed)
    show.step("a relay that should send to the PBX inside is refused", refused)
    show.step("the best guest server is killed: the next one serves the page", killed)


def ice_servers(c, user):
    """What the page of the guest service hands the browser."""
    made = c.credentials(user=user)
    return [{"urls": made["uris"], "username": made["username"], "credential": made["password"]}]


def main():
    if sys.argv[1:] not in ([], ["--once"]):
        sys.exit(__doc__)
    if os.geteuid() != 0:
        sys.exit("scripts/demo: network namespaces need root")
    if "TURNPIKE_BUILD" not in os.environ:  # else that folder has been built
        print("Building ...", flush=True)
        prepare()
    from lab.topology import Lab

    show = Show()
    with Lab() as lab:
        c = play(lab, show)
        if not sys.argv[1:] and c:
            print(f"""Everything stays up. Look around from another shell:
    {build()}/turnpikectl --socket {c.edge.socket} status
    {build()}/turnpikectl --socket {c.edge.socket} turn
    {build()}/turnpikectl --socket {c.edge.socket} xmpp
    {build()}/turnpikectl --socket {c.core.socket} registrations
    ip netns exec {lab.prefix}-fw nft list ruleset
Ctrl-C ends it.""", flush=True)
            try:
                signal.pause()
            except SystemExit:  # what the lab makes of Ctrl-C
                pass
        if c:
            c.leave_all()
    print(f"{show.n_passed} passed, {show.n_failed} failed")
    return 1 if show.n_failed else 0


if __name__ == "__main__":
    sys.exit(main())

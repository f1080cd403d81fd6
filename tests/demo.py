#!/usr/bin/env python3
"""turnpike shown at work; scripts/demo installs what is missing and starts this. As root on Debian 12:

    scripts/demo          installs what is missing, builds, starts everything, places calls, stays up until Ctrl-C
    scripts/demo --once   exits when all is shown; 0 only if every step worked

Phones and an app outside, a NAT, E in a DMZ, a firewall, C, a PBX, a phone, call managers and web servers inside, all
in network namespaces of this machine.
"""
import os
import pathlib
import signal
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOP / "tests"))

from lab.mra_client import servers_of
from lab.play import expect


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


def play(lab, show):
    from lab.tone import heard
    from lab.webcast import WebCast

    box = {}

    def start():
        box["c"] = WebCast(lab)

    show.step("E, C, a PBX, call managers and web servers run; C dialled E by mutual TLS and by SSH", start)
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
    browse(c, app, show)
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


def browse(c, alice, show):
    """The web side: alice uses what lives inside; her phone and her app are one session."""
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
                ("signin", "http", "registration")} for box in (c.edge, c.core)]
        expect(len(ids[0]) == 1 and ids[0] == ids[1], ids)

    show.step("a page of nginx inside comes through E and C", page)
    show.step("she asks the directory of the call manager", directory)
    show.step("a server that nobody listed is refused", refused)
    show.step("sign-in, web requests and the phone's registration are one session, on both boxes", one_session)
    for box in (c.edge, c.core):
        print(f"\nConnections of alice on {box.name}\n" + box.text("connections", "--user", "alice@example.com"))


def main():
    if sys.argv[1:] not in ([], ["--once"]):
        sys.exit(__doc__)
    if os.geteuid() != 0:
        sys.exit("scripts/demo: network namespaces need root")
    print("Building ...", flush=True)
    prepare()
    from lab.topology import Lab

    show = Show()
    with Lab() as lab:
        c = play(lab, show)
        if not sys.argv[1:] and c:
            build = TOP / "build/release"
            print(f"""Everything stays up. Look around from another shell:
    {build}/turnpikectl --socket {c.edge.socket} status
    {build}/turnpikectl --socket {c.core.socket} registrations
    ip netns exec {lab.prefix}-fw nft list ruleset
Ctrl-C ends it.""", flush=True)
            try:
                signal.pause()
            except KeyboardInterrupt:
                pass
    print(f"{show.n_passed} passed, {show.n_failed} failed")
    return 1 if show.n_failed else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""turnpike shown at work; scripts/demo installs what is missing and starts this. As root on Debian 12:

    scripts/demo          installs what is missing, builds, starts everything, places calls, stays up until Ctrl-C
    scripts/demo --once   exits when all is shown; 0 only if every step worked

Phones outside, a NAT, E in a DMZ, a firewall, C, a PBX and a phone inside, all in network namespaces of this machine.
"""
import os
import pathlib
import signal
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOP / "tests"))


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
    from lab.cast import Cast
    from lab.tone import heard

    box = {}

    def start():
        box["c"] = Cast(lab)

    show.step("E, C and the PBX run; C dialled E by mutual TLS, the link is active", start)
    if "c" not in box:
        return None
    c = box["c"]

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
    show.step("the firewall saw nothing that E opened toward C", c.firewall_is_clean)
    print("\nWhat passed through the firewall\n" + lab.firewall.table() + "\n")
    print("Zones on C\n" + c.core.text("zones"))
    print("Where would bob@example.com go, asked on C\n" + c.core.text("locate", "bob@example.com"))
    return c


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

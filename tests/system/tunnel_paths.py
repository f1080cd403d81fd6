#!/usr/bin/env python3
"""Bad ways between C and E: silence of 5 and 30 s, lost packets, small packets, another address of C. What
may pass passes unchanged, what may not ends with a reason, and it comes back without a hand."""

import hashlib
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from lab.play import Play, expect
from lab.recorder import pattern
from lab.webcast import WebCast
from lab.webclient import BadAnswer, NoAnswer, through

play = Play()
ORIGIN = "https://origin.example.com"
MIB = 1 << 20


def stage(lab):
    c = WebCast(lab, origins=("nginx",))  # with the settings that everybody has
    c.alice = c.client("alice")
    return c


def status_of(c, url=f"{ORIGIN}/static/1024", timeout=30.0):
    """On a connection of its own, by the session that stands."""
    client = c.stranger(timeout=timeout)
    try:
        return client.ask("GET", through(url), [("Cookie", f"X-Auth={c.alice.cookie}")]).status
    except (NoAnswer, BadAnswer, OSError) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        client.close()


def unchanged(c, n_bytes):
    """Up and down, so many bytes arrive as they are."""
    right = hashlib.sha256()
    for piece in pattern(n_bytes):
        right.update(piece)
    client = c.client("alice", signed_in=False)
    client.web = c.stranger(timeout=60.0)
    client.web.fields = [("Cookie", f"X-Auth={c.alice.cookie}")]
    answer = client.get(f"{ORIGIN}/upload", "POST", pattern(n_bytes))
    expect(answer.status == 200 and right.hexdigest() in answer.text, answer)
    got = hashlib.sha256()
    expect(client.get(f"{ORIGIN}/static/{n_bytes}", sink=got.update).status == 200)
    expect(got.digest() == right.digest(), "other bytes")
    client.web.close()


def back_after(c, start, limit_s):
    c.until(lambda: c.core.tunnels() and c.edge.tunnels(), limit_s + 30, "the tunnel")
    c.until(lambda: status_of(c) == 200, limit_s + 30, "a page")
    took = time.monotonic() - start
    expect(took < limit_s, f"back after {took:.1f} s")
    return took


@play.check
def short_blackhole(c):
    """5 s of silence: the connections outlive it, and what was asked meanwhile is answered"""
    before = {row["id"] for row in c.core.tunnels()}
    with c.load(f"{ORIGIN}/static/1024", 2) as load:
        load.wait(20)
        c.lab.firewall.cut()
        try:
            time.sleep(5)  # the length of the cut is what this is about
        finally:
            c.lab.firewall.restore()
        load.wait_more(20)
    expect(not load.failures, load.failures[:3])
    expect(4 < load.slowest_s < 10, f"{load.slowest_s:.1f} s")
    expect({row["id"] for row in c.core.tunnels()} == before, "other connections")


@play.check
def long_blackhole(c):
    """30 s of silence: both boxes notice in 10 s, requests fail at once from then on, and 3 s after it all is well"""
    c.lab.firewall.cut()
    start = time.monotonic()
    try:
        for box in (c.edge, c.core):
            box.wait(lambda b=box: not b.tunnels(), 12, "end of the tunnel")
        expect(time.monotonic() - start < 11, f"noticed after {time.monotonic() - start:.1f} s")
        asked = time.monotonic()
        expect(status_of(c) in (502, 503) and time.monotonic() - asked < 4, "not at once")
        time.sleep(max(0.0, 30 - (time.monotonic() - start)))
    finally:
        c.lab.firewall.restore()
    back_after(c, time.monotonic(), 3.5)
    c.pair.wait_tunnel(45)  # the second one comes when its pause is over


def lossy(c, percent):
    """So many of the packets between C and E get lost, both ways."""
    for first, second in (("lan", "dmz"), ("dmz", "lan")):
        c.lab.fw.run(["nft", "-f", "-"], input=f"add rule inet fw cut iifname {first} oifname {second} "
                     f"numgen random mod 100 < {percent} drop\n")


@play.check
def lost_packets(c):
    """1 and 5 % of the packets lost: nothing is wrong; 20 %: nothing breaks for good"""
    for percent in (1, 5):
        lossy(c, percent)
        try:
            unchanged(c, MIB // 2)
            statuses = [status_of(c) for _ in range(10)]
            expect(set(statuses) == {200}, percent, statuses)
            expect(len(c.core.tunnels()) == 2, percent, c.core.tunnels())
        finally:
            c.lab.firewall.restore()
    rss = {box.name: box.rss_kib() for box in (c.edge, c.core)}
    lossy(c, 20)
    try:
        statuses = [status_of(c) for _ in range(5)]
        expect(all(s in (200, 502, 503, 504) for s in statuses), statuses)
    finally:
        c.lab.firewall.restore()
    back_after(c, time.monotonic(), 35)
    c.pair.wait_tunnel(45)
    for box in (c.edge, c.core):
        expect(box.rss_kib() < rss[box.name] + 16 * 1024, box.name, box.rss_kib() - rss[box.name])


def too_big(c):
    """How many packets the firewall sent back because they were."""
    v4 = [line.split() for line in c.lab.fw.run(["cat", "/proc/net/snmp"]).stdout.splitlines() if line.startswith("Ip:")]
    v6 = dict(line.split() for line in c.lab.fw.run(["cat", "/proc/net/snmp6"]).stdout.splitlines())
    return int(v4[1][v4[0].index("FragFails")]) + int(v6["Ip6InTooBigErrors"])


@play.check
def small_packets(c):
    """a way of 1,280 bytes: big bodies pass unchanged"""
    # on the routes: an interface would drop what comes in, and tell nobody
    routes = (("10.20.0.0/24", "lan"), ("fd00:20::/64", "lan"), ("203.0.113.0/24", "dmz"), ("2001:db8:3::/64", "dmz"))

    def mtu(n):
        for prefix, interface in routes:
            c.lab.fw.run(["ip", "route", "replace", prefix, "dev", interface, "mtu", "lock", str(n)])
    before = too_big(c)
    mtu(1280)
    try:
        for row in c.core.tunnels():  # one after the other, new ones that know nothing of the way
            c.core.ctl("disconnect", row["id"])
        c.core.wait(lambda: not {r["id"] for r in c.core.tunnels()} & {row["id"]}, 10, "the end of the old ones")
        c.pair.wait_tunnel(30)
        unchanged(c, 2 * MIB)
        expect(too_big(c) > before, "nothing was too big")
    finally:
        mtu(1500)
    expect(len(c.core.tunnels()) == 2, c.core.tunnels())


@play.check
def another_address(c):
    """C gets another address: the tunnel is back without a hand, in the time that it takes to notice and 5 s"""
    addresses = (("10.20.0.10/24", "10.20.0.11/24"), ("fd00:20::10/64", "fd00:20::11/64"))

    def change(old, new):
        gateway = "fd00:20::1" if ":" in new else "10.20.0.1"
        c.lab.lan.run(["ip", "addr", "del", old, "dev", "eth0"])
        c.lab.lan.run(["ip", "addr", "add", new, "dev", "eth0", *(("nodad",) if ":" in new else ())])
        c.lab.lan.run(["ip", "route", "replace", "default", "via", gateway])
    ids = {row["id"] for row in c.core.tunnels()}
    start = time.monotonic()
    for old, new in addresses:
        change(old, new)
    try:
        c.until(lambda: not ids & {row["id"] for row in c.core.tunnels()}, 20, "end of the old connections")
        back_after(c, start, 15)
        c.pair.wait_tunnel(45)
        expect(all(".11:" in row["local"] or "::11]" in row["local"] for row in c.core.tunnels()), c.core.tunnels())
    finally:
        for old, new in addresses:
            change(new, old)
    c.until(lambda: all(".10:" in row["local"] or "::10]" in row["local"] for row in c.core.tunnels()) and
            len(c.core.tunnels()) == 2, 30, "the old address again")
    c.pair.wait_tunnel(20)


@play.check
def nothing_came_in(c):
    """the firewall dropped nothing from E to C: E never tried"""
    c.firewall_is_clean()


if __name__ == "__main__":
    sys.exit(play.run(stage))

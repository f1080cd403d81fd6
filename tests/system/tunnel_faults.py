#!/usr/bin/env python3
"""What may go wrong with the tunnel between C and E, and what web users notice of it."""

import glob
import os
import pathlib
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from lab.mra_client import check_cookie
from lab.pair import Box
from lab.play import Play, expect
from lab.recorder import pattern
from lab.webcast import WebCast
from lab.webclient import BadAnswer, NoAnswer, through

play = Play()
ORIGIN = "https://origin.example.com"
N_REQUESTS = int(os.environ.get("TURNPIKE_RELOAD_REQUESTS", "10000"))
N_RELOADS = 100
FAKETIME = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
# AddressSanitizer wants to come first, and works all the same
FAKED = {"LD_PRELOAD": "".join(FAKETIME[:1]), "ASAN_OPTIONS": "verify_asan_link_order=0"}


def stage(lab):
    c = WebCast(lab, origins=("nginx",), core_tunnel="retry-max = 2s",
                edge_web_more="idle-timeout = 100s")
    c.alice = c.client("alice")
    return c


def local_port(row):
    return int(row["local"].rpartition(":")[2])


def outcome(c, url, **more):
    """Status, or how it ended without one."""
    client = c.client("alice", signed_in=False)
    try:
        answer = client.ask_config()
        if answer.status != 200:
            return answer.status
        client.web.fields = [("Cookie", f"X-Auth={check_cookie(answer)}")]
        return client.get(url, **more).status
    except (NoAnswer, BadAnswer, OSError) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        client.web.close()


def under_way(c, url, n):
    """n requests in threads of their own, begun when this returns; join() gives the outcomes."""
    results = [None] * n

    def one(i):
        results[i] = outcome(c, url)
    threads = [threading.Thread(target=one, args=(i,), daemon=True) for i in range(n)]
    for thread in threads:
        thread.start()
    path = url.partition(".com")[2]
    c.until(lambda: len([r for r in c.origins.requests("origin") if r["target"] == path]) >= n, 20,
            "all requests inside")

    def join(deadline_s):
        give_up = time.monotonic() + deadline_s
        for thread in threads:
            thread.join(max(0.1, give_up - time.monotonic()))
        expect(None not in results, "some requests hang:", results)
        return results
    return join


@play.check
def two_connections(c):
    """two connections stand, dialled by C from its source ports, listed on both boxes with the peer's name"""
    for box, peer in ((c.core, "edge1.example.com"), (c.edge, "core1.example.com")):
        rows = box.tunnels()
        expect(len(rows) == 2 and all(peer in str(row) for row in rows), rows)
        expect(peer in str(box.ctl("tunnels")), box.ctl("tunnels"))
    expect(all(30000 <= local_port(row) <= 35999 for row in c.core.tunnels()),
           c.core.tunnels())
    c.firewall_is_clean()


@play.check
def one_connection_breaks(c):
    """a broken connection: short requests lose nothing, long ones on the other connection end well, it is back in 5 s"""
    for how in ("reset", "disconnect"):
        c.origins.forget()
        join = under_way(c, f"{ORIGIN}/trickle?n=6&{how}", 8)
        with c.load(f"{ORIGIN}/static/1024", 6) as load:
            load.wait_more(200)
            row = c.core.tunnels()[0]
            if how == "reset":
                c.lab.firewall.cut_port(local_port(row))
            else:
                c.core.ctl("disconnect", row["id"])
            try:
                load.wait_more(500)
            finally:
                c.lab.firewall.restore()
        expect(not load.failures, how, f"{len(load.failures)} of {load.n_done}:", load.failures[:5])
        outcomes = join(30)
        expect(outcomes.count(200) >= 2, how, "nothing survived on the other connection:", outcomes)
        for box in (c.core, c.edge):
            box.wait(lambda b=box: len(b.tunnels()) == 2, 8, "two connections again")
        ended = [r for r in c.core.connections(ended=True) if r["kind"] == "tunnel"]
        expect(ended and ended[-1]["reason"], "no reason for the end")


@play.check
def full_loss(c):
    """silence on all connections: what is under way ends with 502 or 504, new requests are refused with a reason, nothing hangs; back in 5 s"""
    c.origins.forget()
    join = under_way(c, f"{ORIGIN}/trickle?n=60", 4)
    c.lab.firewall.cut()
    try:
        start = time.monotonic()
        fresh = outcome(c, f"{ORIGIN}/static/1024")
        expect(fresh in (502, 503, 504) and time.monotonic() - start < 20, fresh)
        outcomes = join(30)
        expect(200 not in outcomes, outcomes)
        c.edge.wait(lambda: not c.edge.tunnels(), 15, "end of the tunnel")
        start = time.monotonic()
        fresh = outcome_signed(c, f"{ORIGIN}/static/1024")
        expect(fresh in (502, 503) and time.monotonic() - start < 2, fresh, time.monotonic() - start)
        expect(c.edge.traces("http.tunnel.") or c.edge.traces("http.signin.unavailable"), "no trace")
        for box in (c.edge, c.core):
            box.wait(lambda b=box: b.alarms("tunnel-down"), 10, "alarm tunnel-down")
    finally:
        c.lab.firewall.restore()
    start = time.monotonic()
    c.until(lambda: c.core.tunnels(), 10, "the tunnel")
    expect(time.monotonic() - start < 6, "back after", time.monotonic() - start)
    c.pair.wait_tunnel()
    c.edge.wait(lambda: outcome(c, f"{ORIGIN}/static/1024") == 200, 10, "a page again")
    for box in (c.edge, c.core):
        box.wait(lambda b=box: not b.alarms("tunnel-down"), 15, "end of the alarm")


def outcome_signed(c, url):
    """By the session that stands: no password has to be checked."""
    try:
        return c.alice.get(url).status
    except (NoAnswer, BadAnswer, OSError) as error:
        return str(error)


@play.check
def core_killed(c):
    """kill -9 of C: E answers 502 or 503 at once; C serves again within 5 s of its start; the sign-in has to be repeated at most once"""
    c.core.kill()
    c.edge.wait(lambda: not c.edge.tunnels(), 5, "end of the tunnel")
    start = time.monotonic()
    status = c.stranger().ask("GET", through(f"{ORIGIN}/static/1024"),
                              [("Cookie", f"X-Auth={c.alice.cookie}")]).status
    expect(status in (502, 503) and time.monotonic() - start < 4, status)
    c.core.start()
    start = time.monotonic()
    c.pair.wait_tunnel(10)
    c.alice = c.client("alice")
    expect(c.alice.get(f"{ORIGIN}/static/1024").status == 200)
    expect(time.monotonic() - start < 6, "serving after", time.monotonic() - start)
    c.pair.wait_link(60)


@play.check
def edge_killed(c):
    """kill -9 of E: C is back within 5 s of its return, without a hand"""
    c.edge.kill()
    c.core.wait(lambda: not c.core.tunnels(), 15, "end of the tunnel")
    c.edge.start()
    start = time.monotonic()
    c.pair.wait_tunnel(15)
    expect(time.monotonic() - start < 8, "back after", time.monotonic() - start)
    c.alice = c.client("alice")
    expect(c.alice.photo().status == 200)


@play.check
def frozen_core(c):
    """SIGSTOP of C: E notices in 12 s, says 502 to 504 until then, and is served at once when C goes on"""
    c.core.freeze()
    try:
        start = time.monotonic()
        status = outcome_signed(c, f"{ORIGIN}/static/1024")
        took = time.monotonic() - start
        expect(status in (502, 503, 504) and took < 15, status, took)
        c.edge.wait(lambda: not c.edge.tunnels(), 12, "end of the tunnel")
    finally:
        c.core.thaw()
    c.pair.wait_tunnel(20)
    c.edge.wait(lambda: outcome(c, f"{ORIGIN}/static/1024") == 200, 20, "a page again")


@play.check
def frozen_edge(c):
    """SIGSTOP of E for 15 s: C dials anew for as long as it takes, and all is well after it"""
    c.edge.freeze()
    try:
        c.core.wait(lambda: not c.core.tunnels(), 15, "end of the tunnel")
    finally:
        c.edge.thaw()
    c.pair.wait_tunnel(20)
    c.edge.wait(lambda: outcome(c, f"{ORIGIN}/static/1024") == 200, 20, "a page again")


@play.check
def taken_over(c):
    """C freezes and a second one with the same identity starts: it takes over within seconds"""
    c.core.freeze()
    spare = Box(c.lab.desk, "C", c.lab.work,
                c.core.ini.read_text().replace("core.sock", "core2.sock"), name="core2")
    try:
        start = time.monotonic()
        spare.start()
        c.edge.wait(lambda: outcome(c, f"{ORIGIN}/static/1024") == 200, 12, "a page from the second C")
        expect(time.monotonic() - start < 12, "taken over after", time.monotonic() - start)
    finally:
        spare.stop()
        c.core.thaw()
    c.pair.wait_tunnel(20)
    c.edge.wait(lambda: outcome(c, f"{ORIGIN}/static/1024") == 200, 20, "the first C again")


@play.check
def changed_keys(c):
    """E shows another host key, then C another key: refused, alarmed with the fingerprint, nothing passes; the old key heals it"""
    for name, box, other in (("edge-ssh", c.edge, c.core), ("core-ssh", c.core, c.edge)):
        saved = {end: (c.pki.folder / f"{name}{end}").read_bytes() for end in ("", ".pub")}
        box.stop()
        c.pki.make_ssh_key(name)
        strange = c.pki.fingerprint(name)
        box.start()
        if other is c.core:
            said = other.wait(lambda: c.core.alarms("tunnel-key"), 20, "alarm tunnel-key")
        else:  # anybody who reaches the port could raise an alarm there: a trace it is
            said = other.wait(lambda: c.edge.traces("tunnel.key.unknown"), 20, "trace of the key")
        expect(strange in str(said), "the fingerprint is not told:", said)
        expect(not other.tunnels(), other.tunnels())
        box.stop()
        for end, content in saved.items():
            (c.pki.folder / f"{name}{end}").write_bytes(content)
        box.start()
        c.pair.wait_link(30)
        other.wait(lambda o=other: not o.alarms("tunnel-key"), 20, "end of the alarm")
    c.alice = c.client("alice")


@play.check
def keys_with_overlap(c):
    """two fingerprints of a peer while its key changes: the new key is taken without an interruption of service"""
    old = {end: (c.pki.folder / f"core-ssh{end}").read_bytes() for end in ("", ".pub")}
    first = c.pki.fingerprint("core-ssh")
    c.pki.make_ssh_key("core-ssh")
    second = c.pki.fingerprint("core-ssh")
    c.edge.edit(f"fingerprints = {first}", f"fingerprints = {first} {second}")
    c.core.hup()
    c.edge.wait(lambda: outcome(c, f"{ORIGIN}/static/1024") == 200, 15, "a page")
    c.core.stop()
    c.core.start()
    c.pair.wait_link(30)
    for end, content in old.items():
        (c.pki.folder / f"core-ssh{end}").write_bytes(content)
    c.core.stop()
    c.core.start()
    c.pair.wait_link(30)
    c.edge.edit(f"fingerprints = {first} {second}", f"fingerprints = {first}")
    c.alice = c.client("alice")


@play.check
def reloads_under_load(c):
    """100 reloads of both boxes lose not one request"""
    c.edge.wait(lambda: outcome(c, f"{ORIGIN}/static/1024") == 200, 20, "a page")
    with c.load(f"{ORIGIN}/static/1024", 8) as load:
        load.wait(100)
        for n in range(N_RELOADS):
            c.core.edit(f"[tunnel]\nkey = {c.pki.ssh_key('core-ssh')}\nretry-max = {2 + n}s",
                        f"[tunnel]\nkey = {c.pki.ssh_key('core-ssh')}\nretry-max = {3 + n}s")
            c.edge.edit(f"idle-timeout = {100 + n}s", f"idle-timeout = {101 + n}s")
            load.wait(100 + (n + 1) * N_REQUESTS // N_RELOADS, 300)
    expect(load.n_done >= N_REQUESTS, load.n_done)
    expect(not load.failures, f"{len(load.failures)} of {load.n_done}:", load.failures[:5])


@play.check
def rekeys(c):
    """new SSH keys in the middle of a big download: the bytes are right"""
    for box in (c.edge, c.core):
        box.edit("[tunnel]\n", "[tunnel]\nrekey-bytes = 1m\n")
    for row in c.core.tunnels():
        c.core.ctl("disconnect", row["id"])
    c.core.wait(lambda: len(c.core.connections(ended=True)) > 1, 5, "the end of the old connections")
    c.pair.wait_tunnel(20)
    got, n_bytes = [], 20 << 20
    c.alice = c.client("alice")
    answer = c.alice.get(f"{ORIGIN}/static/{n_bytes}", sink=got.append)
    expect(answer.status == 200, answer)
    expect(b"".join(got) == b"".join(pattern(n_bytes)), "bytes differ")


@play.check
def steady_descriptors(c):
    """after all this: no descriptor, channel or request is left over"""
    c.alice.web.close()
    for box in (c.edge, c.core):
        box.wait(lambda b=box: not b.connections("request"), 20, "end of the requests")
        box.wait(lambda b=box: len(b.connections("channel")) <= 16, 30, "end of the channels")
    c.firewall_is_clean()


@play.check
def clocks_differ(c):
    """C is 60 s ahead: sign-in, pages and the link work, both boxes raise clock-skew; right again, it clears"""
    expect(FAKETIME, "libfaketime is missing")
    c.core.stop()
    c.core.env = {**FAKED, "FAKETIME": "+60s", "DONT_FAKE_MONOTONIC": "1",
                  "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    c.core.start()
    c.pair.wait_link(30)
    client = c.client("alice")
    expect(client.photo().status == 200)
    for box in (c.edge, c.core):
        alarm = box.wait(lambda b=box: b.alarms("clock-skew"), 20, "alarm clock-skew")
        expect("60" in str(alarm) or "59" in str(alarm) or "61" in str(alarm), alarm)
    expect(client.get(f"{ORIGIN}/echo").status == 200)
    c.core.stop()
    c.core.env = None
    c.core.start()
    c.pair.wait_link(30)
    for box in (c.edge, c.core):
        box.wait(lambda b=box: not b.alarms("clock-skew"), 30, "end of the alarm")


@play.check
def clocks_jump(c):
    """C's clock is off by 36 s (alarm), 20 s (none), an hour ahead, an hour behind, right: tunnel, session and requests go on"""
    expect(FAKETIME, "libfaketime is missing")
    clock = c.lab.work / "clock"
    clock.write_text("+0\n")
    c.core.stop()
    c.core.env = {**FAKED, "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1",
                  "DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    c.core.start()
    c.pair.wait_link(30)
    client = c.client("alice")
    ids = {row["id"] for row in c.core.tunnels()}
    for jump, alarmed in (("+36", True), ("+20", False), ("+3600", True), ("-3600", True), ("+0", False)):
        clock.write_text(f"{jump}\n")
        for box, peer in ((c.edge, "core1.example.com"), (c.core, "edge1.example.com")):
            box.wait(lambda b=box, p=peer: any(p in str(a) for a in b.alarms("clock-skew")) == alarmed, 20, f"alarm at {jump}")
        # not by TLS: certificates are not good yet an hour ago
        answer = client.get("http://cucm1.example.com:6970/jabber-config.xml")
        expect(answer.status == 200, jump, answer)
        expect(len(c.core.connections("signin")) == 1, jump, c.core.connections("signin"))
    expect({row["id"] for row in c.core.tunnels()} == ids, "other connections", c.core.tunnels())
    c.core.stop()
    c.core.env = None
    c.core.start()
    c.pair.wait_link(30)


if __name__ == "__main__":
    sys.exit(play.run(stage))

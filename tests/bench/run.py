"""Plugs turnpike into the bench harness that stands beside the repository, and prints one table.

scripts/bench [sip|media|http|turn|xmpp] [--seconds N] [--rounds N]
"""

import argparse
import json
import math
import os
import pathlib
import re
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parents[1]
OUT = TOP / "build" / "bench"
PAIR, EDGE = f"cmd:{HERE}/turnpike.json", f"cmd:{HERE}/turnpike-edge.json"

# what is measured, unit, divisor, metric of the harness; {t} is the transport or the kind of stream
SIP = (
    ("registration (401, 200), 500/s, {t}", "CPU us", 1, "{t}: CPU us per registration (500/s)"),
    ("registration, as many as go, {t}", "CPU us", 1, "{t}: CPU us per registration (max)"),
    ("registration, as many as go, {t}", "per second", 1,
     "{t}: max registrations/s (32 in flight)"),
    ("registration, 500/s, {t}", "p50 us", 1, "{t}: registration p50 us"),
    ("registration, 500/s, {t}", "p99 us", 1, "{t}: registration p99 us"),
    ("registrations failed, {t}", "number", 1, "{t}: registration failures"),
    ("connection with handshake, {t}", "CPU us", 1, "{t}: CPU us per connection (handshake)"),
    ("connect, register, close, {t}", "CPU us", 1, "{t}: CPU us per connect+register+close"),
    ("memory of a registered connection, {t}", "KiB", 1, "{t}: PSS KiB per registered connection"),
    ("memory with 1000 registered, {t}", "MiB", 1, "{t}: PSS MiB with 1000 registered"),
    ("call, 200/s, {t}", "CPU us", 1, "{t}: CPU us per call (200/s)"),
    ("calls failed, {t}", "number", 1, "{t}: call failures"),
)
MEDIA = (
    ("packet, {t}", "CPU us", 1000, "{t}: CPU ns per relayed packet"),
    ("packets lost, {t}", "%", 1, "{t}: loss %"),
    ("packets not authentic or misrouted, {t}", "number", 1,
     "{t}: packets not authentic or misrouted"),
    ("delay, {t}", "p50 us", 1, "{t}: delay p50 us"),
    ("delay, {t}", "p99 us", 1, "{t}: delay p99 us"),
    ("set-up of a stream, {t}", "CPU us", 1, "{t}: set-up CPU us per stream"),
    ("memory of a stream, {t}", "KiB", 1, "{t}: KiB per stream"),
)
WEB, WEB_DIRECT = f"cmd:{HERE}/turnpike-web.json", f"cmd:{HERE}/turnpike-web-direct.json"
HTTP = (
    ("GET {t}", "CPU us", 1, "GET {t}: CPU us per request"),
    ("GET {t}", "per second", 1, "GET {t}: requests/s"),
    ("GET {t}", "p50 us", 1, "GET {t}: p50 us"),
    ("GET {t}", "p99 us", 1, "GET {t}: p99 us"),
    ("GETs failed, {t}", "number", 1, "GET {t}: errors"),
)
HTTP_ONCE = (
    ("new TLS connection and GET 1 KiB", "CPU us", 1, "new TLS connection + GET 1 KiB: CPU us"),
    ("new TLS connection and GET 1 KiB", "per second", 1, "new TLS connection: connections/s"),
    ("new TLS connection and GET 1 KiB", "p99 us", 1, "new TLS connection: p99 us"),
    ("upload of 100 MB", "CPU ms", 1, "upload 100 MiB: CPU ms per 100 MB"),
    ("upload", "MB/s", 1, "upload 100 MiB: MB/s (Python client)"),
    ("memory growth during uploads", "MiB", 1, "peak RSS growth MiB during the uploads"),
    ("memory", "PSS MiB", 1, "PSS MiB"),
)
HTTP_IDLE = (
    ("idle TLS keep-alive connections held", "number", 1, "idle connections"),
    ("memory of an idle TLS keep-alive connection", "KiB", 1, "KiB per idle connection"),
    ("memory with all of them", "PSS MiB", 1, "PSS MiB with all of them"),
)
TURN = f"cmd:{HERE}/turnpike-turn.json"
TURN_ROWS = (
    ("allocation, {t}", "CPU us", 1, "{t}: CPU us per allocation"),
    ("memory of an allocation, {t}", "KiB", 1, "{t}: KiB per allocation"),
    ("ChannelData, 200 bytes, {t}", "CPU us", 1000, "{t} channel:200: CPU ns per relayed packet"),
    ("ChannelData, 1200 bytes, {t}", "CPU us", 1000, "{t} channel:1200: CPU ns per relayed packet"),
    ("Send and Data, 200 bytes, {t}", "CPU us", 1000, "{t} send:200: CPU ns per relayed packet"),
    ("Send and Data, 1200 bytes, {t}", "CPU us", 1000, "{t} send:1200: CPU ns per relayed packet"),
    ("ChannelData, 200 bytes, {t}, round trip", "p99 us", 1, "{t} channel:200: round trip p99 us"),
    ("ChannelData, 200 bytes, {t}, lost", "%", 1, "{t} channel:200: loss % (round trip)"),
    ("bursts of 10 x 1200 bytes, {t}", "CPU us", 1000, "{t}: CPU ns per packet of a burst"),
    ("bursts, {t}, lost", "%", 1, "{t}: loss % (round trip)"),
)
TURN_MANY = (
    ("allocations at once, udp", "number", 1, "allocations at once"),
    ("each of them", "CPU us", 1, "CPU us per allocation"),
    ("each of them", "KiB", 1, "KiB per allocation"),
)
XMPP = [f"cmd:{HERE}/turnpike-xmpp-{box}.json" for box in ("edge", "core", "core-tls")]
XMPP_ROWS = (
    ("login", "CPU us", 1, "CPU us per login"),
    ("login", "per second", 1, "logins/s"),
    ("message, 1000/s", "CPU us", 1, "CPU us per relayed message"),
    ("messages lost", "number", 1, "messages lost"),
    ("message, 1000/s", "p50 us", 1, "message delay p50 us"),
    ("message, 1000/s", "p99 us", 1, "message delay p99 us"),
    ("memory of a stream, 1 s after the login", "KiB", 1, "PSS KiB per idle connection"),
)
XMPP_IDLE = (
    ("idle streams", "number", "streams still open"),
    ("memory of one", "KiB", "{box}: KiB per idle stream"),
    ("memory with all of them", "PSS MiB", "{box}: PSS MiB with all of them"),
    ("while they are idle", "CPU %", "{box}: CPU % while idle"),
)
TRANSPORTS = ("udp", "tcp", "tls")
STREAMS = [f"{kind} {n} streams" for kind in ("rtp", "srtp") for n in (100, 500)]


def quiet(argv, **kwargs):
    done = subprocess.run([str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False, **kwargs)
    if done.returncode:
        sys.exit(f"{done.stdout}\nscripts/bench: {argv[0]} failed")
    return done.stdout


def build(harness):
    """The daemon (unless TURNPIKE_BIN names one), the load generators, the shim for sipp."""
    OUT.mkdir(parents=True, exist_ok=True)
    daemon = os.environ.get("TURNPIKE_BIN")
    if not daemon:
        quiet(["cmake", "--preset", "release"], cwd=TOP)
        quiet(["cmake", "--build", "--preset", "release", "--target", "turnpiked"], cwd=TOP)
        daemon = TOP / "build" / "release" / "turnpiked"
    quiet(["make", "-s", "-C", harness, f"BUILD={OUT}"])
    quiet(["cc", "-D_GNU_SOURCE", "-O2", "-shared", "-fPIC", HERE / "sipp_shim.c", "-o",
           OUT / "sipp_shim.so"])
    return str(pathlib.Path(daemon).resolve())


class Sipp:
    """What the sipp at hand can do: Debian's has neither TLS nor a log that can be read while it runs."""

    def __init__(self):
        self.path = os.environ.get("SIPP", "sipp")
        # sipp -v exits with 99
        text = subprocess.run([self.path, "-v"], stdout=subprocess.PIPE, text=True, check=False).stdout
        self.version = next((line.strip() for line in text.splitlines() if "SIPp v" in line), "?")
        number = re.search(r"v(\d+)\.(\d+)", self.version)
        self.has_tls = "TLS" in self.version
        self.is_old = not number or (int(number[1]), int(number[2])) < (3, 7)

    def for_media(self):
        if not self.is_old:
            return {"SIPP": self.path}
        return {"SIPP": str(HERE / "sipp"), "SIPP_REAL": self.path,
                "SIPP_SHIM": str(OUT / "sipp_shim.so")}


def rtpengine():
    """The harness names only Kamailio for the two together."""
    done = subprocess.run(["rtpengine", "--version"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False)
    return "rtpengine " + done.stdout.strip().removeprefix("Version: ")


def measure(harness, part, servers, options, env):
    """{server: {metric: [value of each round]}}; the harness's own report goes to build/bench."""
    path = OUT / f"{part}.json"
    path.unlink(missing_ok=True)
    argv = [sys.executable, harness / f"bench_{part}.py", "--json", path, *options]
    for server in servers:
        argv += ["--server", server]
    with open(OUT / f"{part}.txt", "w") as report:
        subprocess.run([str(a) for a in argv], env={**os.environ, **env}, stdout=report, check=False)
    if not path.exists():
        sys.exit(f"scripts/bench: nothing was measured for {part}")
    return json.loads(path.read_text())


def values(done, server, metric):
    return [v for v in done["results"].get(server, {}).get(metric, []) if v == v and v is not None]


def number(v):
    if abs(v) < 0.05:
        return "0"
    return f"{v:.0f}" if abs(v) >= 100 else f"{v:.1f}"


def cell(v, divisor):
    v = [x / divisor for x in v]
    if not v:
        return "-"
    spread = f" ({number(min(v))}..{number(max(v))})" if len(v) > 1 and number(min(v)) != number(max(v)) else ""
    return number(statistics.median(v)) + spread


def table(done, rows, kinds, servers):
    """Medians of the rounds with their spread; the ratio says how much of the peer's the pair needs."""
    for kind in kinds:
        for heading, unit, divisor, metric in rows:
            v = [values(done, s, metric.format(t=kind)) for s in servers]
            if not any(v):
                continue
            pair, peer = (statistics.median(x) if x else math.nan for x in (v[0], v[-1]))
            ratio = f"{pair / peer:.2f}" if peer > 0 and pair > 0 else "-"
            print(f"| {heading.format(t=kind)} | {unit} | " + " | ".join(cell(x, divisor) for x in v) +
                  f" | {ratio} |")


def idle_connections(servers, env):
    argv = [sys.executable, HERE / "idle.py"]
    for server in servers:
        argv += ["--server", server]
    done = subprocess.run([str(a) for a in argv], env={**os.environ, **env}, stdout=subprocess.PIPE, text=True,
                          check=False)
    (OUT / "idle.json").write_text(done.stdout)
    return json.loads(done.stdout) if done.returncode == 0 else {}


def web(harness, options, env):
    """HTTPS: E alone beside nginx, the pair beside nginx with OpenSSH's tunnel."""
    servers = (WEB_DIRECT, "nginx", WEB, "ssh-tunnel:via=nginx")
    done = measure(harness, "http", servers, options, env)
    for server, got in idle_connections(servers, env).items():
        done["results"].setdefault(server, {}).update(got)
    for title, pair in (("E alone, without tunnel | nginx", servers[:2]),
                        ("turnpike E+C | nginx and ssh -R", servers[2:])):
        print(f"\n| HTTPS | unit | {title} | ratio |\n|---|---|---|---|---|")
        table(done, HTTP, ("1 KiB", "100 KiB"), pair)
        table(done, HTTP_ONCE + HTTP_IDLE, ("",), pair)
    return done, servers


def turn(harness, options, env, rounds):
    """TURN on E alone: the harness's part, then bursts and many allocations."""
    servers = (TURN, "coturn")
    done = measure(harness, "turn", servers, options, env)
    argv = [sys.executable, HERE / "turn.py", "--rounds", rounds]
    for server in servers:
        argv += ["--server", server]
    more = subprocess.run([str(a) for a in argv], env={**os.environ, **env}, stdout=subprocess.PIPE, text=True,
                          check=False)
    (OUT / "turn-more.json").write_text(more.stdout)
    for server, got in (json.loads(more.stdout) if more.returncode == 0 else {}).items():
        done["results"].setdefault(server, {}).update(got)
    print("\n| TURN | unit | turnpike E | coturn | ratio |\n|---|---|---|---|---|")
    table(done, TURN_ROWS, TRANSPORTS, servers)
    table(done, TURN_MANY, ("",), servers)
    return done, servers


def xmpp_idle(env, seconds):
    argv = [sys.executable, HERE / "xmpp.py", "--inside", "PLAIN,DIRECT", "--seconds", seconds]
    done = subprocess.run([str(a) for a in argv], env={**os.environ, **env}, stdout=subprocess.PIPE, text=True,
                          check=False)
    (OUT / "xmpp-idle.json").write_text(done.stdout)
    return json.loads(done.stdout) if done.returncode == 0 else {}


def xmpp(harness, options, env):
    """Chat: each box on its own beside haproxy ending TLS; then idle streams."""
    servers = [*XMPP, "prosody", "haproxy"]
    done = measure(harness, "xmpp", servers, options, env)
    for title, server in zip(("E alone", "C alone, plain inside", "C alone, TLS inside", "Prosody itself"), servers):
        print(f"\n| chat | unit | {title} | haproxy ending TLS | ratio |\n|---|---|---|---|---|")
        table(done, XMPP_ROWS, ("",), (server, "haproxy"))
    # The idle CPU is a few ticks of the clock.
    idle = xmpp_idle(env, 60)
    columns = [(i, box) for i in idle for box in "EC"]
    print("\n| idle streams of chat | unit | " + " | ".join(f"{box}, {i.lower()} inside" for i, box in columns) +
          " |\n|---|---|" + "---|" * len(columns))
    for heading, unit, metric in XMPP_IDLE:
        print(f"| {heading} | {unit} | " +
              " | ".join(f"{idle[i][metric.format(box=box)]:.4g}" for i, box in columns) + " |")
    return done, servers, bool(idle)


def main():
    ap = argparse.ArgumentParser(prog="scripts/bench", description="turnpike beside its peers, one table")
    ap.add_argument("part", nargs="?", choices=("sip", "media", "http", "turn", "xmpp"), help="only this part")
    ap.add_argument("--seconds", type=float, default=5, help="length of each measurement")
    ap.add_argument("--rounds", type=int, default=2, help="the servers take turns in each; medians are shown")
    args = ap.parse_args()

    harness = pathlib.Path(os.environ["TURNPIKE_BENCH"])
    sipp = Sipp()
    # An address of one's own, so that two runs at a time do not meet.
    pid = os.getpid()
    env = {"BUILD": str(OUT), "TURNPIKE_BIN": build(harness), "PYTHONDONTWRITEBYTECODE": "1",
           "BENCH_IP": os.environ.get("BENCH_IP", f"127.77.{pid >> 8 & 255}.{pid & 255}")}
    options = ["--seconds", args.seconds, "--rounds", args.rounds]
    parts = {}
    if args.part in (None, "sip"):
        calls = ",".join(t for t in TRANSPORTS if t != "tls" or sipp.has_tls)
        parts["sip"] = ("kamailio", measure(harness, "sip", (PAIR, EDGE, "kamailio"), [
            *options, "--max-rates", "", "--call-transports", calls], {**env, "SIPP": sipp.path}), SIP, TRANSPORTS)
    if args.part in (None, "media"):
        parts["media"] = ("kamailio:rtpengine=1", measure(harness, "media", (
            PAIR, EDGE, "kamailio:rtpengine=1"), options, {**env, **sipp.for_media()}), MEDIA, STREAMS)

    seen = {k: v.strip() for _, done, _, _ in parts.values() for k, v in done["versions"].items()}
    print(", ".join([time.strftime("%F"), *sorted({v for k, v in seen.items() if k != EDGE}), rtpengine(),
                     sipp.version.strip("."), f"{args.rounds} x {args.seconds:g} s"]) + "\n")
    if parts:
        print("| work | unit | turnpike E+C | E alone | Kamailio, rtpengine | E+C / peer |\n|---|---|---|---|---|---|")
    complete = True
    for peer, done, rows, kinds in parts.values():
        table(done, rows, kinds, (PAIR, EDGE, peer))
        for server in (PAIR, EDGE, peer):
            rounds = max(map(len, done["results"].get(server, {}).values()), default=0)
            if rounds < args.rounds:
                complete = False
                print(f"scripts/bench: {server}: only {rounds} of {args.rounds} rounds", file=sys.stderr)
    if args.part in (None, "http"):
        done, servers = web(harness, options, env)
        parts["http"] = (None, done, HTTP, ())
        complete = complete and all(done["results"].get(s) for s in servers)
    if args.part in (None, "turn"):
        done, servers = turn(harness, options, env, args.rounds)
        parts["turn"] = (None, done, TURN_ROWS, ())
        complete = complete and all(done["results"].get(s) for s in servers)
    if args.part in (None, "xmpp"):
        done, servers, idle = xmpp(harness, options, env)
        parts["xmpp"] = (None, done, XMPP_ROWS, ())
        complete = complete and idle and all(done["results"].get(s) for s in servers)
    if "sip" in parts and not sipp.has_tls:
        print("\nNot measured: calls over TLS. This sipp has no TLS; SIPP=PATH names one that has.")
    print(f"\nEvery number of the harness: {', '.join(f'build/bench/{p}.txt' for p in parts)}")
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())

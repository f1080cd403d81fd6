"""TURN beyond the harness's own part: video-like bursts, 10,000 allocations at once, a million in turn.

python3 tests/bench/turn.py --server NAME... [--seconds S] [--rounds N] [--only bursts,many,churn]
TURNPIKE_BENCH names the harness; BUILD the folder of its load generators.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent


def build(harness, out):
    """The generator of bursts is the harness's own with another way to send."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "turn_burst"
    subprocess.run(["cc", "-O2", "-w", "-std=gnu11", f"-I{harness}/c", "-o", path, HERE / "turn_burst.c",
                    "-lssl", "-lcrypto"], check=True)
    return path


def bursts(bench, tool, server, seconds):
    out = {}
    for transport in ("udp", "tcp", "tls"):
        port = {"udp": server.udp, "tcp": server.tcp, "tls": server.tls}[transport]
        records = bench.run_load([tool, "--server", f"{server.ip}:{port}", "--transport", transport,
                                  "--user", server.user, "--pass", server.password, "--allocs", "50",
                                  "--run", "10", "--fps", "30", "--size", "1200", "--seconds", str(seconds)],
                                 server)
        r = next(r for r in records if r["barrier"] == "relay")
        n = r["peer"] + r["back"]
        out[f"{transport}: CPU ns per packet of a burst"] = r["cpu"] / n * 1e9
        out[f"{transport}: packets/s"] = n / r["secs"]
        out[f"{transport}: loss % (round trip)"] = 100 * (1 - r["back"] / r["sent"])
        out[f"{transport}: round trip p50 us"] = r["rtt_p50_us"]
        out[f"{transport}: round trip p99 us"] = r["rtt_p99_us"]
    return out


def allocate(bench, server, n):
    """n allocations that stand at the same time, then go."""
    return bench.run_load([pathlib.Path(os.environ["BUILD"]) / "turnload", "--server", f"{server.ip}:{server.udp}",
                           "--user", server.user, "--pass", server.password, "--allocs", str(n),
                           "--peer", f"{server.ip}:0"], server, timeout=300)


def many(bench, server, n):
    records = allocate(bench, server, n)
    alloc = next(r for r in records if r["barrier"] == "alloc")
    return {"allocations at once": n, "CPU us per allocation": alloc["cpu"] / n * 1e6,
            "KiB per allocation": (alloc["pss"] - records[0]["pss"]) / n}


def churn(bench, server, n):
    """n allocations in rounds of 9,000 that end; growth is between the first round and the last."""
    first = None
    for _ in range(max(2, n // 9000 + 1)):
        after = allocate(bench, server, 9000)[-1]["pss"]
        first = first or after
    return {"allocations made and ended": max(2, n // 9000 + 1) * 9000,
            "growth MiB from the first 9,000 to the last": (server.mem()["pss"] - first) / 1024}


def measure(bench, tool, spec, args):
    done = {}
    for what in args.only.split(","):
        with tempfile.TemporaryDirectory(prefix="turnpike-turn.") as work:
            os.chmod(work, 0o755)
            bench.certificate(work)
            server = bench.load_server(spec, work, "turn")
            try:
                server.start(work=work)
                done.update(bursts(bench, tool, server, args.seconds) if what == "bursts" else
                            many(bench, server, args.n_many) if what == "many" else
                            churn(bench, server, args.n_churn))
            finally:
                server.stop()
    return done


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("--server", action="append", required=True, help="as for the harness, several times")
    ap.add_argument("--seconds", type=float, default=3)
    ap.add_argument("--rounds", type=int, default=2)
    ap.add_argument("--only", default="bursts,many")
    ap.add_argument("--n-many", type=int, default=10000)
    ap.add_argument("--n-churn", type=int, default=1000000)
    args = ap.parse_args()
    harness = pathlib.Path(os.environ["TURNPIKE_BENCH"])
    sys.path.insert(0, str(harness))
    import benchlib
    tool = build(harness, pathlib.Path(os.environ["BUILD"]))
    results = {}
    for _ in range(args.rounds):
        for spec in args.server:
            for metric, value in measure(benchlib, tool, spec, args).items():
                results.setdefault(spec, {}).setdefault(metric, []).append(value)
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()

"""Chat beyond the harness's own part: many idle streams through the pair, what each box needs for them.

python3 tests/bench/xmpp.py [--streams N] [--seconds S] [--inside PLAIN,DIRECT]; TURNPIKE_BENCH names the harness,
TURNPIKE_BIN the daemon. Both boxes and the IM server are started; JSON goes to stdout.
"""

import argparse
import asyncio
import json
import os
import pathlib
import resource
import ssl
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
INSIDE = {"PLAIN": HERE / "turnpike-xmpp-core.json", "DIRECT": HERE / "turnpike-xmpp-core-tls.json"}
BOXES = ("E", "C")
AT_A_TIME = 16
WARM = 50  # streams before the first measurement: what comes with the first ones stays
# Longer than [xmpp] park-after, after which a quiet stream gives its connection of the link back, and than C keeps more
# idle ones after a rush.
SETTLE_S = 45


class Boxes:
    """CPU seconds and PSS in KiB of E and C, one by one."""

    def __init__(self, bench, server):
        self.bench, self.pids = bench, [p.pid for p in server.procs]

    def cpu(self):
        return [self.bench.cpu_seconds([pid]) for pid in self.pids]

    def pss(self):
        return [self.bench.memory_kb([pid])["pss"] for pid in self.pids]


async def login_all(module, addr, numbers):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    at_once = asyncio.Semaphore(AT_A_TIME)

    async def one(i):
        client = module.Client(i, addr, context)
        async with at_once:
            await client.login()
        return client

    return await asyncio.gather(*map(one, numbers))


async def measure(module, server, boxes, args):
    clients = await login_all(module, server.c2s_tls, range(WARM))
    await asyncio.sleep(3)
    cpu, pss, loop = boxes.cpu(), boxes.pss(), asyncio.get_running_loop()
    began = loop.time()
    clients += await login_all(module, server.c2s_tls, range(WARM, WARM + args.streams))
    took, used = loop.time() - began, boxes.cpu()
    out = {"streams": args.streams, "logins/s": args.streams / took}
    for box, before, after in zip(BOXES, cpu, used):
        out[f"{box}: CPU us per login"] = (after - before) / args.streams * 1e6
    await asyncio.sleep(SETTLE_S)
    for box, before, after in zip(BOXES, pss, boxes.pss()):
        out[f"{box}: KiB per idle stream"] = (after - before) / args.streams
        out[f"{box}: PSS MiB with all of them"] = after / 1024
    cpu, began = boxes.cpu(), loop.time()
    await asyncio.sleep(args.seconds)
    for box, before, after in zip(BOXES, cpu, boxes.cpu()):
        out[f"{box}: CPU % while idle"] = (after - before) / (loop.time() - began) * 100
    # The machine may have lost some.
    out["streams still open"] = sum(not c.r.at_eof() for c in clients) - WARM
    for client in clients:
        client.w.transport.abort()
    return out


def run(bench, module, spec, args):
    with tempfile.TemporaryDirectory(prefix="turnpike-xmpp.") as work:
        os.chmod(work, 0o755)
        bench.certificate(work)
        inside, server = module.Prosody(work), bench.load_server(f"cmd:{spec}", work, "xmpp")
        try:
            inside.start(work=work, users=WARM + args.streams)
            server.start(work=work, xmpp={"plain": inside.c2s_plain, "tls": inside.c2s_tls})
            return asyncio.run(measure(module, server, Boxes(bench, server), args))
        finally:
            server.stop()
            inside.stop()


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("--streams", type=int, default=5000)
    ap.add_argument("--seconds", type=float, default=60, help="of which the idle CPU is measured")
    ap.add_argument("--inside", default="DIRECT", help="how C reaches the IM server: PLAIN, DIRECT")
    args = ap.parse_args()
    sys.path.insert(0, os.environ["TURNPIKE_BENCH"])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 3 * args.streams + 1000)), hard))
    import bench_xmpp
    import benchlib
    print(json.dumps({i: run(benchlib, bench_xmpp, INSIDE[i], args) for i in args.inside.split(",")}, indent=1))


if __name__ == "__main__":
    main()

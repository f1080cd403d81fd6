"""Memory of idle HTTPS keep-alive connections: each has done one GET and then stays.

python3 tests/bench/idle.py --server NAME... [--connections N]; TURNPIKE_BENCH names the harness.
The client forgets its TLS state and keeps the descriptors, so that 10,000 of them cost it nothing.
"""

import argparse
import json
import os
import resource
import socket
import ssl
import sys
import tempfile
import time

# Requests before the first measurement: what the server keeps of the last ones is there then.
N_WARM = 2500
# So many connections come from one address: a port is not used twice.
PER_SOURCE = 2000
# nginx of the harness takes 4096 for each worker, those to the origin included.
PEER_MAX = 3000
SETTLE_S = 12
REQUEST = b"GET /1k HTTP/1.1\r\nHost: localhost\r\n\r\n"


def client_context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def connect(context, source, https):
    plain = socket.socket()
    plain.bind((source, 0))
    plain.settimeout(20)
    plain.connect(https)
    return context.wrap_socket(plain)


def get(tls):
    tls.sendall(REQUEST)
    answer = b""
    while b"\r\n\r\n" not in answer:
        piece = tls.recv(65536)
        if not piece:
            raise RuntimeError("closed within the answer")
        answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    while len(body) < 1024:
        body += tls.recv(65536)
    if b" 200 " not in head.split(b"\r\n")[0]:
        raise RuntimeError(head[:200])


def held_open(context, source, https):
    """The descriptor of a connection on which one page was fetched."""
    tls = connect(context, source, https)
    get(tls)
    return tls.detach()


def sources(ip, n):
    net = ip.rsplit(".", 1)[0]
    return [f"{net}.{201 + i // PER_SOURCE}" for i in range(n)]


def measure(server, n):
    """PSS before and after, in KiB, of all processes of a started server."""
    context, held = client_context(), []
    try:
        with connect(context, server.https[0], server.https) as warm:
            for _ in range(N_WARM):
                get(warm)
        for source in sources(server.https[0], 20):  # what comes with the first connections stays
            held.append(held_open(context, source, server.https))
        before = server.mem()["pss"]
        for source in sources(server.https[0], n):
            held.append(held_open(context, source, server.https))
        busy = server.mem()["pss"]
        time.sleep(SETTLE_S)
        after = server.mem()["pss"]
        for fd in held[::n // 20]:  # all of them are still there
            with socket.socket(fileno=os.dup(fd)) as s:
                s.setblocking(False)
                try:
                    gone = not s.recv(1)
                except BlockingIOError:
                    gone = False
                if gone:
                    raise RuntimeError("an idle connection was closed")
    finally:
        for fd in held:
            os.close(fd)
    return {"idle connections": n, "KiB per idle connection": (after - before) / n,
            "KiB per connection right after its answer": (busy - before) / n, "PSS MiB with all of them": after / 1024}


def run(harness, specs, n):
    """{server: {metric: [value]}}, as the harness writes it."""
    sys.path.insert(0, str(harness))
    import benchlib
    from servers.nginx import Origin
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, n + 1000)), hard))
    results = {}
    for spec in specs:
        with tempfile.TemporaryDirectory(prefix="turnpike-idle.") as work:
            os.chmod(work, 0o755)
            benchlib.certificate(work)
            origin, server = Origin(work), benchlib.load_server(spec, work, "http")
            try:
                origin.start(work)
                server.start(work=work, origin=origin.addr)
                done = measure(server, n if spec.startswith("cmd:") else min(n, PEER_MAX))
                results[spec] = {k: [v] for k, v in done.items()}
            finally:
                server.stop()
                origin.stop()
    return results


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("--server", action="append", required=True, help="as for the harness, several times")
    ap.add_argument("--connections", type=int, default=10000)
    args = ap.parse_args()
    print(json.dumps(run(os.environ["TURNPIKE_BENCH"], args.server, args.connections), indent=1))


if __name__ == "__main__":
    main()

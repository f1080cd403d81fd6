#!/usr/bin/env python3
"""What may go wrong around web requests on one box: reloads by the hundred, certificates that change, no
descriptor left, name servers that are dead, clients that vanish. Users notice none of it."""

import os
import pathlib
import resource
import shutil
import signal
import ssl
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from lab.dns import Dns
from lab.fake_uc import FakeUc
from lab.origin import Origins
from lab.outgoing import Outgoing
from lab.play import Play, expect
from lab.webcast import WebCast
from lab.webclient import BadAnswer, NoAnswer, through
from lab.websocket import TEXT

play = Play()
ORIGIN = "https://origin.example.com"
PAGE = "https://web1.example.com/pages/index.html"
N_SOCKETS = 500
N_RELOADS = 50
N_SWAPS = 100
N_STORM = int(os.environ.get("TURNPIKE_STORM_RELOADS", "240"))
NAMES = """
[allow named]
url = http://named.example.com/
[allow unnamed]
url = http://unnamed.example.com/
"""


class Stage(WebCast):
    def __init__(self, lab):
        super().__init__(lab, allow=("web1", "photos", "origin"), core_more=NAMES,
                         edge_web_more="idle-timeout = 100s")
        self.alice = self.client("alice")

    def prepare(self):
        """One more name inside, that only the name server knows."""
        self.dns = Dns(self.lab, {"pbx": "named IN A 10.20.0.65\n"}).start()
        self.uc = FakeUc(self.lab, self.pki).start()
        self.origins = Origins(self.lab, self.pki).start(("nginx",))
        self.outgoing = Outgoing(self.lab.lan)


class Newcomers:
    """Clients that each take a new TLS connection for one page, as long as the block lasts."""

    def __init__(self, c, n_threads=2):
        self.c = c
        self.n_done = 0
        self.failures = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(n_threads)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join(60)

    def _run(self):
        client = self.c.stranger()
        while not self._over.is_set():
            try:
                status = client.ask("GET", through(PAGE), [("Cookie", f"X-Auth={self.c.alice.cookie}")]).status
            except (NoAnswer, BadAnswer, OSError) as error:
                status = f"{type(error).__name__}: {error}"
            client.close()
            self.n_done += 1
            if status != 200:
                self.failures.append(status)


def served(c, url=PAGE):
    answer = c.alice.get(url)
    expect(answer.status == 200, url, answer)


def reload(box):
    """Done when it returns."""
    done = box.ctl("reload")
    expect(done.get("reloaded"), box.name, done)


@play.check
def websockets_outlive_reloads(c):
    """500 WebSockets go on through 50 reloads of both boxes: none is dropped, no byte is lost"""
    sockets = [c.alice.web.websocket(through(f"{ORIGIN}/ws")) for _ in range(N_SOCKETS)]

    def echo(some, text):
        for socket, _ in some:
            socket.send(text)
        for socket, _ in some:
            expect(socket.receive() == (TEXT, text.encode()), text)
    echo(sockets, "before")
    for n in range(N_RELOADS):
        c.edge.edit(f"idle-timeout = {100 + n}s", f"idle-timeout = {101 + n}s", reload=False)
        some = sockets[n % 10::10]
        for socket, _ in some:
            socket.send(f"during {n}")  # under way while both take their new settings
        reload(c.edge)
        reload(c.core)
        for socket, _ in some:
            expect(socket.receive() == (TEXT, f"during {n}".encode()), n)
    echo(sockets, "x" * 2000)
    for _, wire in sockets:
        wire.close()
    c.edge.edit(f"idle-timeout = {100 + N_RELOADS}s", "idle-timeout = 100s")
    for box in (c.edge, c.core):
        box.wait(lambda b=box: not b.connections("request"), 20, "end of the WebSockets")


def shown(c):
    """The certificate that a new connection sees."""
    with c.alice.web.connect() as wire:
        return wire.sock.getpeercert(binary_form=True)


@play.check
def certificates_change(c):
    """100 certificate swaps under load: no request fails, a handshake after the reload sees the new one within a second"""
    pairs, place = [], {end: c.pki.folder / f"edge-public.{end}" for end in ("crt", "key")}
    for n in range(2):
        c.pki.issue(f"swap-{n}", "public-ca", ("edge1.example.com",))
        pairs.append({end: c.pki.folder / f"swap-{n}.{end}" for end in place})
    slowest = 0.0
    with c.load(PAGE, 2) as load, Newcomers(c) as newcomers:
        load.wait(20)
        for n in range(N_SWAPS):
            pair = pairs[n % 2]
            for end, path in place.items():
                shutil.copy(pair[end], path)
            start = time.monotonic()
            c.edge.hup()
            new = ssl.PEM_cert_to_DER_cert(pair["crt"].read_text())
            while shown(c) != new:
                expect(time.monotonic() - start < 5, "swap", n, "shows the old certificate")
            slowest = max(slowest, time.monotonic() - start)
        load.wait_more(20)
    expect(not load.failures and not newcomers.failures, load.failures[:3], newcomers.failures[:3])
    expect(newcomers.n_done > N_SWAPS and slowest < 1, newcomers.n_done, f"{slowest:.2f} s")


@play.check
def bad_pairs_change_nothing(c):
    """a certificate with another one's key is refused with the reason, and the old one is shown on"""
    before, good = shown(c), c.pki.key("edge-public").read_bytes()
    shutil.copy(c.pki.key("edge-pair"), c.pki.key("edge-public"))
    try:
        c.edge.hup()
        alarm = c.edge.wait(lambda: c.edge.alarms("config-rejected"), 10, "alarm config-rejected")
        expect("key" in str(alarm), alarm)
        expect(shown(c) == before, "another certificate")
        served(c)
    finally:
        c.pki.key("edge-public").write_bytes(good)
    reload(c.edge)
    c.edge.wait(lambda: not c.edge.alarms("config-rejected"), 10, "end of the alarm")


@play.check
def storm_of_reloads(c):
    """hundreds of reloads, half of them of a broken file: each is refused with its line, no request fails, memory stands still"""
    good = {box.name: box.ini.read_text() for box in (c.edge, c.core)}
    rss = {}
    with c.load(PAGE, 4) as load, Newcomers(c, 1) as newcomers:
        load.wait(50)
        for n in range(N_STORM // 2):
            box = (c.edge, c.core)[n % 2]
            box.ini.write_text(good[box.name] + "[allow\nnonsense = 1\n")
            refused = box.netns.run([*ctl(box), "reload"], check=False)
            expect(refused.returncode == 1 and str(box.ini.name) in refused.stdout + refused.stderr,
                   n, refused.returncode, refused.stdout, refused.stderr)
            box.ini.write_text(good[box.name].replace("log-level = debug", f"log-level = {('debug', 'info')[n // 2 % 2]}"))
            reload(box)
            if n == N_STORM // 8:  # warm by now
                rss = {b.name: b.rss_kib() for b in (c.edge, c.core)}
        load.wait_more(50)
    grown = {b.name: b.rss_kib() - rss[b.name] for b in (c.edge, c.core)}
    for box in (c.edge, c.core):
        box.ini.write_text(good[box.name])
        reload(box)
        expect(not box.alarms("config-rejected"), box.alarms())
    expect(not load.failures and not newcomers.failures, load.failures[:3], newcomers.failures[:3])
    if not c.edge.sanitized():
        expect(all(kib < 4096 for kib in grown.values()), grown)


def ctl(box):
    from lab.pair import build
    return [build() / "turnpikectl", "--socket", box.socket]


def cpu_s(box):
    """Processor time so far."""
    words = pathlib.Path(f"/proc/{box.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


class FewDescriptors:
    """A box may open only so many more."""

    def __init__(self, box, n_more):
        self.pid = box.process.pid
        self.limit = max(int(fd) for fd in os.listdir(f"/proc/{self.pid}/fd")) + 1 + n_more
        self.old = None

    def __enter__(self):
        self.old = resource.prlimit(self.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (self.limit, self.old[1]))

    def __exit__(self, *_):
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, self.old)


@play.check
def edge_without_descriptors(c):
    """no descriptor left on E: it stops accepting without spinning and says so; who is connected is served; it recovers"""
    served(c)
    held = []
    with FewDescriptors(c.edge, 30):
        try:
            for _ in range(200):
                sock = c.lab.inet.socket()
                sock.settimeout(2)
                sock.connect((c.lab.dmz.v4, 8443))
                held.append(sock)
            start, cpu = time.monotonic(), cpu_s(c.edge)
            while time.monotonic() - start < 2:
                served(c)  # on the connection that she keeps
                time.sleep(0.1)
            spent = cpu_s(c.edge) - cpu
            expect(spent < 1, f"{spent:.1f} s of processor time in 2 s")
            expect(c.edge.alarms("no-descriptors"), c.edge.alarms())
        finally:
            for sock in held:
                sock.close()
    c.edge.wait(lambda: c.client("bob").get(PAGE).status == 200, 15, "a new client")
    c.edge.wait(lambda: not c.edge.alarms("no-descriptors"), 15, "end of the alarm")
    expect(len(c.edge.tunnels()) == 2, c.edge.tunnels())


@play.check
def core_without_descriptors(c):
    """no descriptor left on C: requests that need one get 502 to 504, the tunnel stands; then all is well"""
    with FewDescriptors(c.core, 0):
        clients = [c.client("alice", signed_in=False) for _ in range(4)]
        for client in clients:
            client.web.fields = [("Cookie", f"X-Auth={c.alice.cookie}")]
            status = client.get("http://named.example.com/echo").status
            expect(status in (200, 502, 503, 504), status)
        statuses = [client.get(f"{ORIGIN}/echo?{n}").status for n, client in enumerate(clients)]
        expect(set(statuses) <= {200, 502, 503, 504}, statuses)
        expect(len(c.edge.tunnels()) == 2, c.edge.tunnels())
    for url in ("http://named.example.com/echo", f"{ORIGIN}/echo", "https://photos.example.com/bob.jpg"):
        c.core.wait(lambda u=url: c.alice.get(u).status == 200, 20, url)
    c.core.wait(lambda: len(c.core.tunnels()) == 2, 5, "the tunnel")


@play.check
def dead_name_server(c):
    """name servers that are silent, then gone: known names work on by the old answer, with an alarm; unknown ones are 502 or 504 by limit; others wait for nothing"""
    named = c.dns.servers[1]  # the one inside
    url = "http://named.example.com/echo"
    served(c, url)
    os.kill(named.process.pid, signal.SIGSTOP)
    try:
        time.sleep(5.5)  # the answer's own life
        outcome = []

        def ask_unknown():
            client = c.client("alice", signed_in=False)
            client.web.fields = [("Cookie", f"X-Auth={c.alice.cookie}")]
            client.web.options = (*client.web.options[:4], 60.0, True)
            start = time.monotonic()
            outcome.append((client.get("http://unnamed.example.com/").status, time.monotonic() - start))
        thread = threading.Thread(target=ask_unknown, daemon=True)
        thread.start()
        slowest = 0.0
        while thread.is_alive():
            start = time.monotonic()
            served(c)
            slowest = max(slowest, time.monotonic() - start)
            time.sleep(0.05)
        expect(outcome and outcome[0][0] in (502, 504) and outcome[0][1] < 30, outcome)
        expect(slowest < 4, f"another page took {slowest:.2f} s")
        served(c, url)
        c.core.wait(lambda: c.core.alarms("dns-dead"), 10, "alarm dns-dead")
    finally:
        os.kill(named.process.pid, signal.SIGCONT)
    named.stop()
    c.core.wait(lambda: c.alice.get(url).status == 200, 10, "the page without a name server")
    named.start()
    named.wait_ready()
    c.core.wait(lambda: c.alice.get(url).status == 200 and not c.core.alarms("dns-dead"), 60, "end of the alarm")


@play.check
def half_open_clients(c):
    """clients that vanish without FIN or RST, in every state: their limits end them, descriptors go back"""
    c.alice.web.close()
    c.edge.edit("idle-timeout = 100s", "idle-timeout = 5s\nhead-timeout = 3s\nmin-rate-time = 3s\nhandshake-timeout = 3s",
                reload=False)
    reload(c.edge)
    for box in (c.edge, c.core):
        box.wait(lambda b=box: not b.connections("request"), 20, "rest")
    before = {box.name: box.n_descriptors() for box in (c.edge, c.core)}
    c.lab.inet.run(["nft", "-f", "-"], input="table inet mute { chain o { type filter hook output priority 0;\n"
                   f"ip daddr {c.lab.dmz.v4} tcp dport 8443 tcp flags & (fin | rst) != 0 drop\n}}\n}}\n")
    try:
        head = f"POST {through(f'{ORIGIN}/upload')} HTTP/1.1\r\nHost: edge1.example.com\r\nCookie: X-Auth={c.alice.cookie}\r\n"
        for sent in (b"", b"GET / HT", head.encode(), (head + "Content-Length: 1000\r\n\r\nhalf").encode(),
                     head.replace("POST", "GET").encode() + b"\r\n"):
            for _ in range(10):
                wire = c.alice.web.connect()
                wire.send(sent or b"")
                wire.close()
        for _ in range(10):
            c.lab.inet.connect((c.lab.dmz.v4, 8443)).close()
        for box in (c.edge, c.core):
            box.wait(lambda b=box: b.n_descriptors() <= before[b.name] + 2 and not b.connections("request"), 30,
                     f"descriptors ({before[box.name]} before)")
    finally:
        c.lab.inet.run(["nft", "delete table inet mute"])
        c.edge.edit("idle-timeout = 5s\nhead-timeout = 3s\nmin-rate-time = 3s\nhandshake-timeout = 3s", "idle-timeout = 100s")


@play.check
def churn(c):
    """thousands of connections, one request each: descriptors and memory stand still"""
    with Newcomers(c, 6) as newcomers:
        c.until(lambda: newcomers.n_done > 400, 60, "warm")
        rss = {box.name: box.rss_kib() for box in (c.edge, c.core)}
        c.until(lambda: newcomers.n_done > 2000, 120, "2,000 connections")
        grown = {box.name: box.rss_kib() - rss[box.name] for box in (c.edge, c.core)}
    expect(not newcomers.failures, newcomers.failures[:3])
    if not c.edge.sanitized():
        expect(all(kib < 4096 for kib in grown.values()), grown)
    c.edge.wait(lambda: not c.edge.connections("request") and len(c.edge.connections("http")) <= 2, 20,
                "end of the connections")


@play.check
def nothing_came_in(c):
    """the firewall dropped nothing from E to C: E never tried"""
    c.firewall_is_clean()


if __name__ == "__main__":
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8192)), hard))
    sys.exit(play.run(Stage))

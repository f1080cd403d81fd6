"""turnpike itself in the lab: E in the dmz namespace, C in the lan one."""

import json
import os
import pathlib
import signal
import time

from .netns import end

TOP = pathlib.Path(__file__).resolve().parents[2]

EDGE = """
[system]
role = E
name = edge1.example.com
log-level = debug
control-socket = {work}/edge.sock

[tls public]
certificate = {public_cert}
key = {public_key}

[tls pair]
certificate = {pki}/{edge_cert}.crt
key = {pki}/{edge_cert}.key
ca = {pki}/pair-ca.crt

[sip]
tls = public
tls-port = 5061
tcp-port = 5060
udp-port = 5060
{edge_sip}

[zone to-core]
type = uc-traversal
port = 7001
tls = pair
verify-name = core1.example.com
username = pair1
password = {edge_password}

[domain example.com]
sip = zone:to-core

[media]
ports = 36002-59999
{edge_media}
"""

CORE = """
[system]
role = C
name = core1.example.com
log-level = debug
control-socket = {work}/core.sock

[tls pair]
certificate = {pki}/{core_cert}.crt
key = {pki}/{core_cert}.key
ca = {pki}/pair-ca.crt

[sip]
tls-port = 0
tcp-port = 5060
udp-port = 5060

[zone to-edge]
type = uc-traversal
peers = {peers}
port = 7001
tls = pair
username = pair1
password = {core_password}
retry-max = 2s

[zone pbx]
type = neighbour
peers = pbx.example.com
transport = {pbx_transport}
port = 5060
media-encryption = unencrypted
{pbx_zone}

[domain example.com]
sip = zone:pbx

[search-rule to-pbx]
priority = 45
source = any
mode = alias-pattern
pattern-type = regex
pattern = (.+)@example\\.com
on-match = stop
target = pbx

[media]
ports = 36000-59999
"""


class Box:
    """One daemon: `box.ctl("calls")` returns the JSON of turnpikectl."""

    def __init__(self, netns, role, work, text):
        self.netns = netns
        self.role = role
        self.name = "edge" if role == "E" else "core"
        self.ini = work / f"{self.name}.ini"
        self.socket = work / f"{self.name}.sock"
        self.log = f"{self.name}.log"
        self.process = None
        self.ini.write_text(text)

    def start(self, deadline_s=10.0):
        self.process = self.netns.popen([build() / "turnpiked", "-c", self.ini], log=self.log)
        self.wait(lambda: self.status_or_none() is not None, deadline_s, "answers on its socket")
        return self

    def status_or_none(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.name} ended with {self.process.returncode}: "
                               f"{self.log_text()[-2000:]}")
        try:
            return self.ctl("status")
        except RuntimeError:
            return None

    def ctl(self, *args, check=True):
        done = self.netns.run([build() / "turnpikectl", "--socket", self.socket, "--json", *args],
                              check=False)
        if done.returncode and check:
            raise RuntimeError(f"turnpikectl {' '.join(args)}: {done.stdout}{done.stderr}")
        return json.loads(done.stdout) if done.stdout.strip() else {}

    def text(self, *args):
        """What a person sees."""
        return self.netns.run([build() / "turnpikectl", "--socket", self.socket, *args],
                              check=False).stdout

    def edit(self, old, new, reload=True):
        text = self.ini.read_text()
        assert old in text, old
        self.ini.write_text(text.replace(old, new))
        if reload:
            self.hup()

    def hup(self):
        os.kill(self.process.pid, signal.SIGHUP)

    def stop(self):
        if self.process:
            code = end(self.process, 40.0)
            self.process = None
            return code
        return None

    def kill(self):
        self.process.kill()
        self.process.wait()

    def log_text(self):
        path = self.netns.work / self.log
        return path.read_text(errors="replace") if path.exists() else ""

    def wait(self, condition, deadline_s=10.0, what="the condition"):
        give_up = time.monotonic() + deadline_s
        while not (value := condition()):
            if time.monotonic() > give_up:
                raise TimeoutError(f"{self.name}: {what} did not come true in {deadline_s} s")
            time.sleep(0.05)
        return value

    def zone(self, name):
        return next(z for z in self.ctl("zones")["zones"] if z["name"] == name)

    def wait_zone(self, name, state, deadline_s=10.0):
        return self.wait(lambda: self.zone(name)["state"].startswith(state), deadline_s,
                         f"zone {name} {state}")

    def traces(self, prefix):
        return [t for t in self.ctl("trace", prefix)["trace"]]


class Pair:
    """Pair(lab, pki).start(): both boxes, link up. `edit` entries replace words of the templates:
    edge_cert, core_cert (names in the pki), edge_password, core_password, peers, pbx_transport,
    edge_sip, edge_media, pbx_zone (more lines of those sections)."""

    def __init__(self, lab, pki, **edit):
        # the public certificate is copied: tests swap it
        words = {"work": lab.work, "pki": pki.folder, "edge_cert": "edge-pair",
                 "core_cert": "core-pair", "edge_password": "pair-secret",
                 "core_password": "pair-secret", "peers": "edge1.example.com",
                 "pbx_transport": "tcp", "edge_sip": "", "edge_media": "", "pbx_zone": "",
                 "public_cert": pki.cert("edge-public"), "public_key": pki.key("edge-public"),
                 **edit}
        self.lab = lab
        self.edge = Box(lab.dmz, "E", lab.work, EDGE.format(**words))
        self.core = Box(lab.lan, "C", lab.work, CORE.format(**words))

    def start(self, wait=True):
        self.edge.start()
        self.core.start()
        if wait:
            self.wait_link()
        return self

    def wait_link(self, deadline_s=15.0):
        self.core.wait_zone("to-edge", "Active", deadline_s)
        self.edge.wait_zone("to-core", "Active", deadline_s)

    def stop(self):
        for box in (self.core, self.edge):
            box.stop()


def build():
    return pathlib.Path(os.environ.get("TURNPIKE_BUILD", TOP / "build" / "release"))

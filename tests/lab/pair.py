"""turnpike itself in the lab: E in the dmz namespace, C in the lan one."""

import json
import os
import pathlib
import signal
import subprocess
import time

from .netns import end
from .webclient import WebClient, token

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
{edge_web}
{edge_turn_sections}
{edge_more}
"""

EDGE_WEB = """
[tunnel]
key = {pki}/edge-ssh

[tunnel-peer core1.example.com]
fingerprints = {core_fingerprint}

[web]
port = 8443
tls = public
cookie-domain = .example.com
{edge_web_more}

[signin]
{edge_signin}
"""

EDGE_TURN = """
[turn]
enabled = yes
tls = public
udp-ports = 3478-3483
{edge_turn}

[turn-user bob]
password = bob-turn-secret
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
sip = {core_sip}
{core_domain}

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
{core_web}
{core_turn_sections}
"""

CORE_TURN = """
[api]
tls = api
{core_api}

[tls api]
certificate = {pki}/core-api.crt
key = {pki}/core-api.key

[admin guest]
password-hash = {admin_hash}

[turn]
credential-ttl = 8h
{core_turn}
"""

CORE_DOMAIN = """web = yes
authentication = {authentication}
{domain_more}"""

CORE_WEB = """
[tunnel]
key = {pki}/core-ssh
{core_tunnel}

[tunnel-peer edge1.example.com]
fingerprints = {edge_fingerprint}

[tls uc]
certificate = {pki}/{core_cert}.crt
key = {pki}/{core_cert}.key
ca = {pki}/uc-ca.crt

[signin]
{signin}

{clusters}
{allow}
{core_more}
"""

# two clusters of one domain, as fake_uc has them
STATIC = """
[uc-cluster main]
domains = example.com
discovery = static
call-managers = cucm1.example.com cucm2.example.com
tftp = cucm1.example.com cucm2.example.com
presence = imp1.example.com
voicemail = cuc1.example.com
verify = yes
tls = uc
sip = {uc_sip}

[uc-cluster other]
domains = example.com
discovery = static
call-managers = cucm3.example.com
tftp = cucm3.example.com
verify = yes
tls = uc
sip = {uc_sip}
"""
SRV = """
[uc-cluster main]
domains = example.com
discovery = srv
tftp = cucm1.example.com
voicemail = cuc1.example.com
verify = yes
tls = uc
sip = {uc_sip}
"""
AXL = """
[uc-cluster main]
domains = example.com
discovery = axl
publisher = cucm1.example.com
username = axl-admin
password = @{work}/axl.password
voicemail = cuc1.example.com
verify = yes
tls = uc
sip = {uc_sip}
"""
ADMIN_PASSWORD = "guest-api-secret"  # of [admin guest]
CLUSTERS = {"static": STATIC, "srv": SRV, "axl": AXL}

ALLOW = """
[allow {name}]
url = https://{host}.example.com/
match = prefix
methods = GET HEAD POST PUT DELETE OPTIONS
tls = uc
"""


class Box:
    """One daemon: `box.ctl("calls")` returns the JSON of turnpikectl."""

    def __init__(self, netns, role, work, text, name=None):
        self.netns = netns
        self.role = role
        self.name = name or ("edge" if role == "E" else "core")
        self.ini = work / f"{self.name}.ini"
        self.socket = work / f"{self.name}.sock"
        self.log = f"{self.name}.log"
        self.process = None
        self.env = None  # more environment, such as that of libfaketime
        self.ini.write_text(text)

    def start(self, deadline_s=10.0):
        self.process = self.netns.popen([build() / "turnpiked", "-c", self.ini], log=self.log,
                                        env={**os.environ, **self.env} if self.env else None)
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

    def freeze(self):
        """It is there and says nothing, until thaw()."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self):
        os.kill(self.process.pid, signal.SIGCONT)

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

    def connections(self, kind=None, ended=False):
        rows = self.ctl("connections", *(["--ended"] if ended else []))["connections"]
        return [row for row in rows if kind in (None, row["kind"])]

    def tunnels(self):
        """The SSH connections that stand, control channel and all."""
        return [row for row in self.connections("tunnel") if row["state"] == "up"]

    def alarms(self, id_=None):
        return [a for a in self.ctl("alarms")["alarms"] if id_ in (None, a["id"])]

    def allows(self, url, method="GET"):
        """The answer of allow-check."""
        return self.ctl("allow-check", url, method, check=False)  # exit 1: refused

    def rss_kib(self):
        """Resident memory of the daemon."""
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in text.splitlines() if line.startswith("VmRSS")))

    def sanitized(self):
        """With AddressSanitizer, which keeps what was freed: memory then tells nothing."""
        return "libasan" in pathlib.Path(f"/proc/{self.process.pid}/maps").read_text()

    def memory_has(self, *secrets):
        """Which of these bytes are anywhere in the daemon's memory."""
        found = set()
        pid = self.process.pid
        with open(f"/proc/{pid}/mem", "rb", 0) as memory:
            for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines():
                first, _, last = line.split()[0].partition("-")
                # more than there can be is the shadow of AddressSanitizer
                if "w" not in line.split()[1] or int(last, 16) - int(first, 16) > 1 << 33:
                    continue
                found |= _found_in(memory, int(first, 16), int(last, 16), secrets)
        return found

    def n_descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def rewrite(self, change, reload=True):
        """change(text) returns the new configuration."""
        self.ini.write_text(change(self.ini.read_text()))
        if reload:
            self.hup()

    def zone(self, name):
        return next(z for z in self.ctl("zones")["zones"] if z["name"] == name)

    def wait_zone(self, name, state, deadline_s=10.0):
        return self.wait(lambda: self.zone(name)["state"].startswith(state), deadline_s,
                         f"zone {name} {state}")

    def traces(self, prefix):
        return [t for t in self.ctl("trace", prefix)["trace"]]


def _found_in(memory, at, end, secrets):
    """Piece by piece; the pieces overlap by the longest secret."""
    found, overlap = set(), max(map(len, secrets))
    while at < end:
        try:
            data = os.pread(memory.fileno(), min(end - at, 16 << 20), at)
        except OSError:  # a page that nobody may read
            at += 4096
            continue
        found |= {secret for secret in secrets if secret in data}
        if len(data) <= overlap:
            break
        at += len(data) if at + len(data) >= end else len(data) - overlap
    return found


class Pair:
    """Pair(lab, pki).start(): both boxes, link up. `edit` entries replace words of the templates:
    edge_cert, core_cert (names in the pki), edge_password, core_password, peers, pbx_transport,
    edge_sip, edge_media, pbx_zone (more lines of those sections), edge_more (sections to add).

    web=True adds the tunnel, the edge service and what C needs for it. More words then: discovery
    (static, srv or axl) or clusters (the sections themselves), uc_sip (yes: zones to the call
    managers), authentication, allow (names of
    origins: web1, web2, web3, photos, origin), core_sip, signin, edge_signin, edge_web_more, domain_more,
    core_tunnel, core_more (lines or sections to add), edge_fingerprint, core_fingerprint.

    turn=True adds the TURN server on E, with the user bob, and, with web=True, the API on C, with
    the administrator guest. More words: edge_turn, core_turn, core_api (lines of [turn] and [api]),
    api_domain (lines of C's [domain])."""

    def __init__(self, lab, pki, web=False, turn=False, **edit):
        # the public certificate is copied: tests swap it
        words = {"work": lab.work, "pki": pki.folder, "edge_cert": "edge-pair",
                 "core_cert": "core-pair", "edge_password": "pair-secret",
                 "core_password": "pair-secret", "peers": "edge1.example.com",
                 "pbx_transport": "tcp", "edge_sip": "", "edge_media": "", "pbx_zone": "",
                 "public_cert": pki.cert("edge-public"), "public_key": pki.key("edge-public"),
                 "core_sip": "zone:pbx", "edge_web": "", "core_domain": "", "core_web": "",
                 "edge_turn_sections": "", "core_turn_sections": "", "edge_more": "", **edit}
        if web:
            _add_web(words, lab, pki)
        if turn:
            _add_turn(words, pki, web)
        self.web = web
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
        if self.web:
            self.wait_tunnel(deadline_s)

    def wait_tunnel(self, deadline_s=15.0):
        """Both connections stand, and E has heard which domains C serves."""
        for box in (self.core, self.edge):
            box.wait(lambda b=box: len(b.tunnels()) >= 2, deadline_s, "two tunnels")
        client = WebClient(self.lab.inet, (self.lab.dmz.v4, 8443))
        target = f"/{token('example.com')}/get_edge_config"
        self.edge.wait(lambda: client.ask("GET", target).status == 401, deadline_s,
                       "401 of the edge service")

    def stop(self):
        for box in (self.core, self.edge):
            box.stop()


def _add_web(words, lab, pki):
    """Fills the optional parts of the templates."""
    words.setdefault("uc_sip", "no")
    clusters = CLUSTERS[words.get("discovery", "static")].format(**words)
    secret = lab.work / "axl.password"
    secret.touch(0o600)
    secret.write_text("axl-secret\n")
    allow = words.get("allow", ("web1", "web2", "web3", "photos", "origin"))
    words.update({
        "authentication": "uds",
        # one address and one user sign in hundreds of times in a test
        "signin": "rate = 0", "edge_signin": "source-failures = 0", "edge_web_more": "", "domain_more": "",
        "core_tunnel": "", "core_more": "", "clusters": clusters,
        "edge_fingerprint": pki.fingerprint("edge-ssh"),
        "core_fingerprint": pki.fingerprint("core-ssh"), **words})
    words["allow"] = "".join(ALLOW.format(name=name, host=name) for name in allow)
    words.update(edge_web=EDGE_WEB.format(**words), core_web=CORE_WEB.format(**words),
                 core_domain=CORE_DOMAIN.format(**words))


def _add_turn(words, pki, web):
    for word, value in {"edge_turn": "", "core_turn": "", "core_api": "", "api_domain": "guest = yes",
                        "admin_hash": password_hash(ADMIN_PASSWORD)}.items():
        words.setdefault(word, value)
    words["edge_turn_sections"] = EDGE_TURN.format(**words)
    if web:
        pki.issue("core-api", "pair-ca", ("core1.example.com",))
        words["core_domain"] += "\n" + words["api_domain"]
        words["core_turn_sections"] = CORE_TURN.format(**words)


def password_hash(password):
    """For [web-user] and [admin] sections: argon2id, cheap, because a lab signs in often."""
    done = subprocess.run(["argon2", "lab-salt-16bytes", "-id", "-t", "1", "-m", "12", "-p", "1", "-e"],
                          input=password.encode(), capture_output=True, check=True)
    return done.stdout.decode().strip()


def build():
    return pathlib.Path(os.environ.get("TURNPIKE_BUILD", TOP / "build" / "release"))
